//! The exponential, and what is made of it.

use super::vector::Simd;

/// 1.5 * 2^23: added to a number of at most 2^22, it leaves the nearest integer in the low bits.
pub(super) const MAGIC: f32 = 12_582_912.0;

/// e to the power of `x`, for `x` clamped to -87..=88: at most 1 unit in the last place off over that range.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2, then a polynomial for e^r (S. L. Moshier, Cephes `expf`) and 2^n by exponent
/// bits. Every step is one IEEE operation, so all CPUs agree to the last bit; the platform's own `exp` would not.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let magic = s.splat(MAGIC);
    let x = s.min(s.max(x, s.splat(-87.0)), s.splat(88.0));
    let t = s.fma(x, s.splat(std::f32::consts::LOG2_E), magic);
    let n = s.sub(t, magic);
    // ln 2 in two parts; the first has few enough bits that n times it is exact.
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = s.fma(p, r, s.splat(c));
    }
    let y = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
    // The magic constant's own bits leave the register in the shift, so only n is left in the exponent's place.
    let power = s.add_i(s.shl::<23>(s.as_i32(t)), s.splat_i(0x3f80_0000));
    s.mul(y, s.as_f32(power))
}

/// 2 to the power of `x`, for `x` from -100 on, at most 127; of all below, 2^-100. At most 2 units in the last place off.
///
/// x = n + r with |r| <= 1/2, both exact, then a polynomial for 2^r (S. L. Moshier, Cephes `exp2f`), in whose exponent
/// bits n is added.
#[inline(always)]
pub(super) fn exp2<S: Simd>(s: S, x: S::F) -> S::F {
    let magic = s.splat(MAGIC);
    let x = s.max(x, s.splat(-100.0));
    let t = s.add(x, magic);
    let r = s.sub(x, s.sub(t, magic));
    let mut p = s.splat(1.535_336_2e-4);
    for c in [1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, std::f32::consts::LN_2, 1.0] {
        p = s.fma(p, r, s.splat(c));
    }
    // The magic constant's own bits leave the register in the shift, so only n is left in the exponent's place.
    s.as_f32(s.add_i(s.as_i32(p), s.shl::<23>(s.as_i32(t))))
}

/// x / (1 + e^-z): SiLU for z = x.
#[inline(always)]
fn gated<S: Simd>(s: S, x: S::F, z: S::F) -> S::F {
    let e = exp(s, s.sub(s.splat(0.0), z));
    s.div(x, s.add(s.splat(1.0), e))
}

/// SiLU(gate) * up.
#[inline(always)]
pub(super) fn swiglu_lanes<S: Simd>(s: S, gate: S::F, up: S::F) -> S::F {
    s.mul(gated(s, gate, gate), up)
}

/// out = SiLU(gate) * up.
#[inline(always)]
pub(super) fn swiglu<S: Simd>(s: S, gate: &[f32], up: &[f32], out: &mut [f32]) {
    let (whole, rest) = out.as_chunks_mut::<16>();
    let ((gates, gate_rest), (ups, up_rest)) = (gate.as_chunks::<16>(), up.as_chunks::<16>());
    for ((out, g), u) in whole.iter_mut().zip(gates).zip(ups) {
        *out = s.to_array(swiglu_lanes(s, s.load(g), s.load(u)));
    }
    let last = s.to_array(swiglu_lanes(s, s.load(&padded(gate_rest)), s.load(&padded(up_rest))));
    rest.copy_from_slice(&last[..rest.len()]);
}

/// x = GELU(x) in its tanh form, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is x / (1 + e^-2z).
#[inline(always)]
pub(super) fn gelu<S: Simd>(s: S, x: &mut [f32]) {
    let (whole, rest) = x.as_chunks_mut::<16>();
    for x in whole {
        *x = gelu_lanes(s, x);
    }
    let last = gelu_lanes(s, &padded(rest));
    rest.copy_from_slice(&last[..rest.len()]);
}

#[inline(always)]
fn gelu_lanes<S: Simd>(s: S, x: &[f32; 16]) -> [f32; 16] {
    let x = s.load(x);
    let cubic = s.fma(s.mul(s.mul(x, x), x), s.splat(0.044_715), x);
    s.to_array(gated(s, x, s.mul(cubic, s.splat(2.0 * 0.797_884_6))))
}

/// Fewer than sixteen elements, then zeros.
#[inline(always)]
pub(super) fn padded<T: Copy + Default>(rest: &[T]) -> [T; 16] {
    let mut all = [T::default(); 16];
    all[..rest.len()].copy_from_slice(rest);
    all
}
