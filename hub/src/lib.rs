//! The hub: a self-hosted server that Hugging Face's clients understand, and a client for hubs.
//!
//! `xet/` holds Xet's formats and arithmetic, for server and client alike: files become chunks, chunks
//! become xorbs, shards say which chunks of which xorbs make which file. It touches neither disk nor
//! network.

pub mod xet;
