//! Xet's formats alone, without the server and what it brings, to be held against those of Hugging
//! Face's crates in `tests/`.

#[path = "../../src/xet/mod.rs"]
pub mod xet;
