//! Normalization of one token's vector.

use super::math::padded;
use super::vector::Simd;

/// out = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich, 2019, arXiv:1910.07467).
#[inline(always)]
pub(super) fn rms_norm<S: Simd>(s: S, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let squares = sum_of(s, x, |x, acc| s.fma(x, x, acc));
    let scale = 1.0 / (squares / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * scale) * w;
    }
}

/// out = (x - mean) / sqrt(variance + eps) * weight + bias (Ba et al., 2016, arXiv:1607.06450).
#[inline(always)]
pub(super) fn layer_norm<S: Simd>(s: S, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum_of(s, x, |x, acc| s.add(acc, x)) / n;
    for (out, x) in out.iter_mut().zip(x) {
        *out = x - mean;
    }
    let squares = sum_of(s, out, |x, acc| s.fma(x, x, acc));
    let scale = 1.0 / (squares / n + eps).sqrt();
    for ((out, w), b) in out.iter_mut().zip(weight).zip(bias) {
        *out = (*out * scale) * w + b;
    }
}

/// Sixteen lanes by index mod 16, the last elements padded with zeros, then the fixed tree.
#[inline(always)]
fn sum_of<S: Simd>(s: S, x: &[f32], f: impl Fn(S::F, S::F) -> S::F) -> f32 {
    let (whole, rest) = x.as_chunks::<16>();
    let mut acc = s.splat(0.0);
    for x in whole {
        acc = f(s.load(x), acc);
    }
    acc = f(s.load(&padded(rest)), acc);
    s.sum(acc)
}
