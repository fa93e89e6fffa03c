//! Our chunks, hashes, xorbs and shards beside those of Hugging Face's crates.
