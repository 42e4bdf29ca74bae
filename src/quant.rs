//! The quantized block formats, scalar and from each format's definition: what every kernel is measured against.

mod block;
mod dequantize;
mod formats;
mod ggml_type;
mod iq4;
mod k_quants;
mod legacy;
mod mxfp4;
mod quantize;

pub use block::Block;
pub use dequantize::dequantize;
pub use formats::is_supported;
pub use ggml_type::GgmlType;
pub use iq4::{BlockIQ4_NL, BlockIQ4_XS, IQ4_VALUES};
pub use k_quants::{BlockQ2_K, BlockQ3_K, BlockQ4_K, BlockQ5_K, BlockQ6_K, scales_and_mins};
pub use legacy::{BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ8_0};
pub use mxfp4::{BlockMXFP4, MXFP4_VALUES};
pub use quantize::quantize;

pub(crate) use formats::{for_each_format, match_format, match_format_arms, supported_types};
