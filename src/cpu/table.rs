//! The table of kernels of one instruction set, and the choice of one.

use std::fmt;
use std::sync::OnceLock;

use super::attention::{self, HeadPages, PART, Query, Room};
use super::bf16::{self, Bf16, Piece};
use super::kv::{self, Cache, KvType, MAX_HEAD_DIM, PAGE};
use super::panel::{self, Panel, Round};
use super::quantized::{self, Format};
#[cfg(target_arch = "x86_64")]
use super::scalar::Scalar;
use super::tile::Tile;
use super::vector::Simd;
use super::{float, glu, math, norm};
#[cfg(target_arch = "x86_64")]
use super::{
    quantized::Lanes,
    stream::{self, Streamed},
    tile::{self, Fill},
    unpack::Unpack,
};
use crate::quant::{GgmlType, for_each_format};

type QuantizedFn = unsafe fn(&quantized::Product, usize, usize, &mut Tile);
type GluFn = unsafe fn(&glu::Glu, usize, usize, &mut Tile);
pub(super) type FloatFn = unsafe fn(&float::Product, usize, usize, &mut Tile);
type LayerNormFn = unsafe fn(&[f32], &[f32], &[f32], f32, &mut [f32]);
type RoundBf16Fn = unsafe fn(&[f32], bool, &mut [Piece]);
type QuantizeFn = unsafe fn(&[f32], usize, bool, &mut [Panel<4>]);

/// The kernels of one instruction set. A `&'static Kernels` exists only where the CPU has the instructions.
pub struct Kernels {
    name: &'static str,
    formats: &'static [(GgmlType, Format)],
    pub(super) product: QuantizedFn,
    pub(super) glu: GluFn,
    float: [FloatFn; 3],
    pub(super) quantize: QuantizeFn,
    pub(super) round: unsafe fn(Round),
    pub(super) round_bf16: RoundBf16Fn,
    /// What thirty-two columns take then.
    pub(super) bf16_pieces: usize,
    rms_norm: unsafe fn(&[f32], &[f32], f32, &mut [f32]),
    layer_norm: LayerNormFn,
    swiglu: unsafe fn(&[f32], &[f32], &mut [f32]),
    gelu: unsafe fn(&mut [f32]),
    merge_part: unsafe fn(&mut [f32], &[f32]),
    /// By type of cache, in the order of [`KvType::ALL`].
    kv: [KvKernels; KvType::ALL.len()],
}

/// The kernels for one type of cache.
#[derive(Clone, Copy)]
struct KvKernels {
    store: unsafe fn(&mut [u8], usize, &[f32], &[f32]),
    attend: unsafe fn(&HeadPages, &mut [Query], &mut Room),
}

/// Compiles every kernel for one implementation of the lanes, which `$s` makes under the features `$features`.
macro_rules! kernels {
    ({ $name:literal, $s:expr, $product:ident, $glu:ident, $float:ident, $lanes:ident $(, $features:literal)? } $($format:ident $Block:ident,)*) => {{
        // SAFETY (all functions below): their callers go through a table that is handed out only where the features
        // were detected, and pass on the contract of the kernel called.
        $(#[target_feature(enable = $features)])?
        unsafe fn quantize(x: &[f32], cols: usize, fine: bool, panels: &mut [Panel<4>]) {
            // SAFETY: see above.
            panel::quantize(unsafe { $s }, x, cols, fine, panels)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn round(task: Round) {
            // SAFETY: see above.
            Simd::call(unsafe { $s }, task)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn round_bf16(x: &[f32], fine: bool, places: &mut [Piece]) {
            // SAFETY: see above.
            bf16::round::<_, 2>(unsafe { $s }, x, fine, places)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
            // SAFETY: see above.
            norm::rms_norm(unsafe { $s }, x, weight, eps, out)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
            // SAFETY: see above.
            norm::layer_norm(unsafe { $s }, x, weight, bias, eps, out)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
            // SAFETY: see above.
            math::swiglu(unsafe { $s }, gate, up, out)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn gelu(x: &mut [f32]) {
            // SAFETY: see above.
            math::gelu(unsafe { $s }, x)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn store<K: Cache>(part: &mut [u8], position: usize, key: &[f32], value: &[f32]) {
            // SAFETY: see above.
            K::store(unsafe { $s }, part, position, key, value)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn attend<K: Cache>(head: &HeadPages, queries: &mut [Query], room: &mut Room) {
            // SAFETY: see above.
            attention::attend::<_, K>(unsafe { $s }, head, queries, room)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn merge_part(so_far: &mut [f32], part: &[f32]) {
            // SAFETY: see above.
            attention::merge_part(unsafe { $s }, so_far, part)
        }
        Kernels {
            name: $name,
            formats: &[$((
                GgmlType::$format,
                Format { scalar: quantized::scalar::<crate::quant::$Block>, lanes: $lanes!(crate::quant::$Block) },
            )),*],
            product: $product,
            glu: $glu,
            float: [$float::<float::F32>, $float::<float::F16>, $float::<Bf16>],
            quantize,
            round,
            round_bf16,
            bf16_pieces: 2,
            rms_norm,
            layer_norm,
            swiglu,
            gelu,
            merge_part,
            kv: [
                KvKernels { store: store::<u16>, attend: attend::<u16> },
                KvKernels { store: store::<f32>, attend: attend::<f32> },
                KvKernels { store: store::<kv::Q8_0>, attend: attend::<kv::Q8_0> },
            ],
        }
    }};
}

/// The kernels that only tables with vectors have, and `lanes!`, a format's code: compiled for one implementation of the
/// lanes under the features `$features`.
#[cfg(target_arch = "x86_64")]
macro_rules! lanes_of {
    ($Lanes:ident, $features:literal) => {
        // SAFETY (all functions below): the table is handed out only where the features were detected; the contract of
        // the kernel called is passed on.
        #[target_feature(enable = $features)]
        unsafe fn product(p: &quantized::Product, first: usize, last: usize, tile: &mut Tile) {
            // SAFETY: see above.
            unsafe { quantized::simd($Lanes::assume(), p, first, last, tile) }
        }
        #[target_feature(enable = $features)]
        unsafe fn glu(p: &glu::Glu, first: usize, last: usize, tile: &mut Tile) {
            // SAFETY: see above.
            unsafe { glu::simd($Lanes::assume(), p, first, last, tile) }
        }
        #[target_feature(enable = $features)]
        unsafe fn float<W: float::Float<$Lanes> + float::Float<Scalar>>(
            p: &float::Product,
            first: usize,
            last: usize,
            tile: &mut Tile,
        ) {
            // SAFETY: see above.
            unsafe { float::simd::<_, W>($Lanes::assume(), p, first, last, tile) }
        }
        #[target_feature(enable = $features)]
        unsafe fn streamed<U: Unpack, const NT: usize>(p: Streamed<NT>) {
            // SAFETY: see above.
            unsafe { stream::streamed::<_, U, NT>($Lanes::assume(), p) }
        }
        #[target_feature(enable = $features)]
        unsafe fn fill<U: Unpack>(p: Fill) {
            // SAFETY: see above.
            unsafe { tile::fill::<_, U>($Lanes::assume(), p) }
        }
        macro_rules! lanes {
            ($Block:ty) => {
                Some(Lanes::new::<$Lanes, $Block>(streamed::<$Block, 1>, streamed::<$Block, 2>, fill::<$Block>))
            };
        }
    };
}

/// The scalar table, with the plain products.
static SCALAR: Kernels = {
    use super::scalar::Scalar;
    use float::scalar as plain_float;
    use glu::plain as plain_glu;
    use quantized::plain;
    macro_rules! no_lanes {
        ($Block:ty) => {
            None
        };
    }
    #[allow(unused_unsafe)] // the lanes of the other tables take an unsafe block to make
    {
        for_each_format!([kernels] "scalar", Scalar, plain, plain_glu, plain_float, no_lanes)
    }
};

#[cfg(target_arch = "x86_64")]
static AVX2: Kernels = {
    use super::x86_64::Avx2;
    lanes_of!(Avx2, "avx2,fma,f16c");
    for_each_format!([kernels] "avx2", Avx2::assume(), product, glu, float, lanes, "avx2,fma,f16c")
};

#[cfg(target_arch = "x86_64")]
static AVX512: Kernels = {
    use super::x86_64::Avx512;
    lanes_of!(Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c");
    for_each_format!([kernels]
        "avx512vnni", Avx512::assume(), product, glu, float, lanes,
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
};

/// The same, with an instruction for pairs of bfloat16.
#[cfg(target_arch = "x86_64")]
static AVX512BF16: Kernels = {
    use super::x86_64::{Avx512, PairsOfBf16};
    // SAFETY (both): the table is handed out only where the features were detected; the contract of the kernel called is
    // passed on.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn round_bf16(x: &[f32], fine: bool, places: &mut [Piece]) {
        // SAFETY: see above.
        bf16::round::<_, 1>(unsafe { Avx512::assume() }, x, fine, places)
    }
    #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn float(p: &float::Product, first: usize, last: usize, tile: &mut Tile) {
        // SAFETY: see above.
        unsafe { float::simd::<_, PairsOfBf16>(Avx512::assume(), p, first, last, tile) }
    }
    let [f32, f16, _] = AVX512.float;
    Kernels { name: "avx512bf16", float: [f32, f16, float], round_bf16, bf16_pieces: 1, ..AVX512 }
};

/// The tables that this CPU can run, the scalar one first, the fastest last.
fn available() -> &'static [&'static Kernels] {
    static AVAILABLE: OnceLock<Vec<&'static Kernels>> = OnceLock::new();
    AVAILABLE.get_or_init(|| {
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
        let mut tables = vec![&SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            tables.extend(super::x86_64::Avx2::detect().map(|_| &AVX2));
            tables.extend(super::x86_64::Avx512::detect().map(|_| &AVX512));
            tables.extend(super::x86_64::PairsOfBf16::detect().map(|_| &AVX512BF16));
        }
        tables
    })
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernels").field(&self.name).finish()
    }
}

impl Kernels {
    /// The fastest table for this CPU.
    pub fn best() -> &'static Kernels {
        available().last().expect("the scalar table is always there")
    }

    /// All tables that this CPU can run; the scalar one is always among them.
    pub fn available() -> impl Iterator<Item = &'static Kernels> {
        available().iter().copied()
    }

    /// "scalar", "avx2", "avx512vnni" or "avx512bf16".
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The code for a quantized type.
    pub(super) fn format(&self, ty: GgmlType) -> Option<&'static Format> {
        self.formats.iter().find(|(t, _)| *t == ty).map(|(_, format)| format)
    }

    /// The kernel for a float type.
    pub(super) fn float(&self, ty: GgmlType) -> Option<FloatFn> {
        match ty {
            GgmlType::F32 => Some(self.float[0]),
            GgmlType::F16 => Some(self.float[1]),
            GgmlType::BF16 => Some(self.float[2]),
            _ => None,
        }
    }

    /// out = x / sqrt(mean(x^2) + eps) * weight. All three have one length.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        assert!(x.len() == weight.len() && x.len() == out.len());
        // SAFETY: `self` was handed out by `available`, which saw the features; the kernel itself is safe code.
        unsafe { (self.rms_norm)(x, weight, eps, out) }
    }

    /// out = (x - mean) / sqrt(variance + eps) * weight + bias. All four have one length.
    pub fn layer_norm(&self, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        assert!(x.len() == weight.len() && x.len() == bias.len() && x.len() == out.len());
        // SAFETY: as in `rms_norm`.
        unsafe { (self.layer_norm)(x, weight, bias, eps, out) }
    }

    /// out = SiLU(gate) * up. All three have one length.
    pub fn swiglu(&self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        assert!(gate.len() == up.len() && gate.len() == out.len());
        // SAFETY: as in `rms_norm`.
        unsafe { (self.swiglu)(gate, up, out) }
    }

    /// x = GELU(x), in the tanh form.
    pub fn gelu(&self, x: &mut [f32]) {
        // SAFETY: as in `rms_norm`.
        unsafe { (self.gelu)(x) }
    }

    /// Writes one position's key and value into its page's part for one head, [`KvType::part_bytes`] bytes.
    pub fn store(&self, ty: KvType, part: &mut [u8], position: usize, key: &[f32], value: &[f32]) {
        assert!(key.len() == value.len() && part.len() == ty.part_bytes(key.len()));
        // SAFETY: as in `rms_norm`.
        unsafe { (self.kv[ty as usize].store)(part, position, key, value) }
    }

    /// Computes each query's attention over the positions that it sees (at least one). What it takes of `room`, it
    /// leaves there.
    pub fn attend(&self, head: &HeadPages, queries: &mut [Query], room: &mut Room) {
        assert!(head.head_dim <= MAX_HEAD_DIM);
        for query in queries.iter() {
            let (sees, out) = (&query.sees, query.out.len());
            assert!(sees.start < sees.end && sees.end <= head.pages.len() * PAGE);
            let one_page = sees.start / PAGE == (sees.end - 1) / PAGE;
            assert!(query.q.len() == head.head_dim);
            assert!(out == head.head_dim || out == head.head_dim + PART && one_page);
        }
        // SAFETY: as in `rms_norm`.
        unsafe { (self.kv[head.ty as usize].attend)(head, queries, room) }
    }

    /// Puts the parts of a query's pages together, in order, and gives what [`Kernels::attend`] gives for all of them.
    /// Before the first of them, `so_far` is the part of no position: zeros, but for the greatest score, which is
    /// negative infinity.
    pub fn merge<'a>(&self, so_far: &mut [f32], parts: impl Iterator<Item = &'a [f32]>) {
        for part in parts {
            assert!(so_far.len() >= PART && part.len() == so_far.len());
            // SAFETY: as in `rms_norm`.
            unsafe { (self.merge_part)(so_far, part) }
        }
    }
}
