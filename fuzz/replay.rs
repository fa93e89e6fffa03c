//! Replays what fuzzing once found: every file of `fuzz/regressions/<target>/`. Included by the tests
//! of each crate that has targets.

use std::path::Path;

/// The name of a target, and what takes its input.
pub(crate) type Target<'a> = (&'a str, fn(&[u8]));

/// Gives each target the inputs that are kept for it.
pub(crate) fn replay(targets: &[Target<'_>]) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/regressions");
    for (name, target) in targets {
        // Git keeps no empty folders: a target without findings has none.
        let Ok(folder) = std::fs::read_dir(kept.join(name)) else {
            continue;
        };
        for file in folder {
            let file = file.unwrap().path();
            println!("{}", file.display());
            target(&std::fs::read(&file).unwrap());
        }
    }
}
