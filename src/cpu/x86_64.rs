//! x86-64: AVX2, and AVX-512 with VNNI.

mod avx2;
mod avx512;

pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;
