//! A client for hubs: this one, and any other that speaks Hugging Face's protocol.
//!
//! Blocking, with threads of its own. `http.rs` has the one way in which requests are made, tried again
//! and refused; `xet/` moves files to and from a hub's chunk store.

mod error;
mod http;
pub mod xet;

pub use error::{ClientError, ClientResult};
pub use http::{Http, HttpOptions};
