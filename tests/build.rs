//! Lets the tests find libmujoco where `scripts/setup` put it.
fn main() {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rustc-link-arg=-Wl,-rpath,{manifest}/../third_party/lib");
    println!("cargo:rerun-if-changed=build.rs");
}
