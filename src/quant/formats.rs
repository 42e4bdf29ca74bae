//! The one list of block formats, and the macros that instantiate code for each of them.

use super::{Block, GgmlType};

/// `for_each_format!([then] arguments)` is `then! { { arguments } TYPE BlockType, ... }`, with every block
/// format in the order of the type ids; `then` is a macro's path.
macro_rules! for_each_format {
    ([$($then:tt)+] $($arguments:tt)*) => {
        $($then)+! {
            { $($arguments)* }
            Q4_0 BlockQ4_0,
            Q4_1 BlockQ4_1,
            Q5_0 BlockQ5_0,
            Q5_1 BlockQ5_1,
            Q8_0 BlockQ8_0,
            Q2_K BlockQ2_K,
            Q3_K BlockQ3_K,
            Q4_K BlockQ4_K,
            Q5_K BlockQ5_K,
            Q6_K BlockQ6_K,
            IQ4_NL BlockIQ4_NL,
            IQ4_XS BlockIQ4_XS,
            MXFP4 BlockMXFP4,
        }
    };
}

/// `match_format!(ty, B => expression, _ => otherwise)`: the expression with `B` as the block type of `ty`.
macro_rules! match_format {
    ($($arguments:tt)*) => {
        $crate::quant::for_each_format!([$crate::quant::match_format_arms] $($arguments)*)
    };
}

/// The second half of [`match_format`]: its arguments with the list of formats.
macro_rules! match_format_arms {
    ({ $ty:expr, $block:ident => $then:expr, _ => $otherwise:expr } $($format:ident $Format:ident,)*) => {
        match $ty {
            $($crate::quant::GgmlType::$format => {
                type $block = $crate::quant::$Format;
                $then
            })*
            _ => $otherwise,
        }
    };
}

pub(crate) use {for_each_format, match_format, match_format_arms};

/// Whether this library reads tensors of this type: F32, F16, BF16 and every type with a [`Block`].
pub fn is_supported(ty: GgmlType) -> bool {
    matches!(ty, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16) || match_format!(ty, B => B::TYPE == ty, _ => false)
}

/// The names of the types that [`is_supported`] accepts, for messages: `F32, F16, Q4_0, ...`.
pub(crate) fn supported_types() -> String {
    GgmlType::all().filter(|ty| is_supported(*ty)).map(GgmlType::name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_fits_the_table<B: Block>(ty: GgmlType) {
        assert_eq!(B::TYPE, ty);
        assert_eq!(B::LEN, ty.block_len(), "{ty}");
        assert_eq!(size_of::<B>(), ty.block_bytes(), "{ty}");
        assert_eq!(align_of::<B>(), 1, "{ty}: files do not promise alignment");
        assert!(B::LEN.is_multiple_of(B::GROUP), "{ty}");
    }

    macro_rules! assert_all {
        ({} $($format:ident $Format:ident,)*) => {
            $(assert_fits_the_table::<crate::quant::$Format>(GgmlType::$format);)*
        };
    }

    #[test]
    fn every_block_agrees_with_the_size_table() {
        for_each_format!([assert_all]);
    }

    #[test]
    fn sixteen_types_are_supported() {
        assert_eq!(
            supported_types(),
            "F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, BF16, MXFP4"
        );
    }
}
