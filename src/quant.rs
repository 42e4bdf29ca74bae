//! The quantized block formats, scalar and from each format's definition: what every kernel is measured against.

mod block;
mod ggml_type;

pub use block::Block;
pub use ggml_type::GgmlType;
