//! Lets this package's tests and examples find libmujoco where the set-up script put it, without
//! `LD_LIBRARY_PATH`.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    let Some(manifest) = std::env::var_os("CARGO_MANIFEST_DIR") else {
        return;
    };
    let Some(root) = Path::new(&manifest).parent() else {
        return;
    };
    let lib = root.join("third_party/lib");
    println!(
        "cargo::rerun-if-changed={}",
        lib.join("libmujoco.so").display()
    );
    if !lib.join("libmujoco.so").exists() {
        println!("cargo::warning=libmujoco.so is not in third_party/lib; run scripts/setup");
    }
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
}
