//! What fuzzing found in parsers that are public, replayed without the fuzzer; `sinew-datasets` and
//! `sinew-hub` do the same for their own.
#![allow(missing_docs, reason = "tests")]

#[path = "../../fuzz/src/parsers.rs"]
#[allow(
    unreachable_pub,
    reason = "the fuzz targets call them from another crate"
)]
mod parsers;
#[path = "../../fuzz/replay.rs"]
mod replay;

#[test]
fn what_fuzzing_found_stays_mended() {
    replay::replay(&[
        ("blueprint", parsers::blueprint),
        ("calibration", parsers::calibration),
        ("manifest", parsers::manifest),
        ("metadata", parsers::metadata),
        ("onnx", parsers::onnx),
        ("safetensors", parsers::safetensors),
        ("policy_config", parsers::policy_config),
        ("processors", parsers::processors),
        ("names", parsers::names),
        ("package", parsers::package),
        ("feetech", parsers::feetech),
        ("cdr", parsers::cdr),
    ]);
}

#[test]
fn every_target_is_replayed_somewhere() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/targets");
    let sources = [
        include_str!("fuzz_regressions.rs"),
        include_str!("../../datasets/src/fuzz.rs"),
        include_str!("../../hub/src/fuzz.rs"),
    ];
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let entry = format!("(\"{}\", ", file.file_stem().unwrap().to_str().unwrap());
        assert!(
            sources.iter().any(|source| source.contains(&entry)),
            "{entry}"
        );
    }
}
