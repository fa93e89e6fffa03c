//! `sinew dataset pack`: few large files from many small ones.

use super::args::Pack;
use super::check_folder;
use crate::commands::dataset_edit::tell;
use anyhow::Result;
use sinew_datasets::edit;

/// Runs the command.
pub(super) fn run(args: &Pack) -> Result<()> {
    check_folder(&args.path)?;
    let packed = edit::pack(&args.path, None, &args.result.target());
    tell(packed, args.result.json)
}
