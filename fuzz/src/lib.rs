//! What the fuzz targets share. A target is one line: the function that takes a stranger's bytes.
//!
//! Parsers that are public are in [`parsers`]; those inside `sinew-datasets` and `sinew-hub` in
//! their modules `fuzz`.

pub mod parsers;

/// Makes a libFuzzer target of a function that takes bytes.
#[macro_export]
macro_rules! target {
    ($parse:path) => {
        libfuzzer_sys::fuzz_target!(init: $crate::tolerate_foreign_panics(), |data: &[u8]| $parse(data));
    };
}

/// Lets panics of libraries unwind, because the product catches those of decoders and makes errors
/// of them; one that nobody catches still ends the run. A panic in our own code always does.
pub fn tolerate_foreign_panics() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |place| place.file());
        let foreign = file.contains("/registry/src/") || file.contains("/rustc/");
        if !foreign || std::env::var_os("RUST_BACKTRACE").is_some() {
            abort(panic);
        }
    }));
}
