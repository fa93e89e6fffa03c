//! Replays what fuzzing once found: every file of `fuzz/regressions/<target>/`. Included by the tests
//! of each crate that has targets.

use std::path::Path;

/// Gives each target the inputs that are kept for it.
pub(crate) fn replay(targets: &[(&str, fn(&[u8]))]) {
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
