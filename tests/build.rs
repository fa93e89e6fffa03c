//! Lets the tests find libmujoco where `scripts/setup` put it.
fn main() {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let lib = format!("{manifest}/../third_party/lib");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    println!("cargo:rerun-if-changed=build.rs");
    // A checkout elsewhere that shares the target folder has its own.
    println!("cargo:rerun-if-changed={lib}/libmujoco.so");
}
