//! The operators, one method each on [`GraphBuilder`](super::GraphBuilder), by kind.

mod arithmetic;
mod convolution;
mod dynamic;
mod layout;
mod linear;
mod norm;
mod reduce;

pub use convolution::{ConvOptions, PoolOptions};
pub use linear::GemmOptions;
