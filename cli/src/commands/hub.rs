//! `sinew hub`: everything is in the hub's own crate.

use crate::hub::as_error;
use anyhow::Result;
use sinew_hub::command::Hub;

/// Runs the command.
pub(super) fn hub(args: &Hub) -> Result<()> {
    if args.may_end_with_reader() {
        crate::pipe::end_with_reader();
    }
    args.run().map_err(as_error)
}
