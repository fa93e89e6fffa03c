//! `sinew hub`: everything is in the hub's own crate.

use crate::failure::{Usage, Verdict};
use anyhow::Result;
use sinew_hub::command::{Failure, Hub};

/// Runs the command.
pub(super) fn hub(args: &Hub) -> Result<()> {
    if args.may_end_with_reader() {
        crate::pipe::end_with_reader();
    }
    args.run().map_err(|failure| match failure {
        Failure::Usage(words) => Usage(words).into(),
        Failure::Failed(words) => anyhow::Error::msg(words),
        Failure::Verdict(code) => Verdict(code).into(),
    })
}
