//! Where the files are that `scripts/setup` fetches.

#[cfg(feature = "sim")]
use crate::failure::usage;
#[cfg(feature = "sim")]
use anyhow::Result;
use std::path::PathBuf;

/// `third_party`, looked for at `$SINEW_THIRD_PARTY`, in this folder and above it, beside and above
/// the program, and in the checkout that it was built from.
pub(crate) fn third_party() -> Option<PathBuf> {
    let named = std::env::var_os("SINEW_THIRD_PARTY").map(PathBuf::from);
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let built = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    let above = [here, program, built].into_iter().flatten();
    let above = above.flat_map(|p| {
        p.ancestors()
            .map(|a| a.join("third_party"))
            .collect::<Vec<_>>()
    });
    named
        .into_iter()
        .chain(above)
        .find(|folder| folder.is_dir())
}

/// The folder of fetched models.
#[cfg(feature = "sim")]
pub(crate) fn models() -> Result<PathBuf> {
    let folder = third_party()
        .map(|folder| folder.join("models"))
        .filter(|folder| folder.is_dir());
    folder.ok_or_else(|| {
        usage("the fetched models are not here; run `scripts/setup` in the checkout, or set SINEW_THIRD_PARTY to its third_party folder")
    })
}
