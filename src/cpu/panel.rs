//! Activations as integers: what quantized weights are multiplied with.
//!
//! Thirty-two values share an f32 scale, the greatest magnitude over 127, or zero if that magnitude is below 2^-88;
//! each is the nearest integer (ties to even) of value / scale. A [`Panel`] holds the same thirty-two positions of
//! several tokens side by side, in the order in which a matmul reads them, with the sums that weights with an offset or
//! a minimum need.
//!
//! A token that is to be fine, to sixteen bits, has two places: what the rounding of the first leaves is rounded once more
//! in the second, with a scale of its own. Each is multiplied as if it were a token, and the two results are added.

use super::math::MAGIC;
use super::vector::Simd;

/// 2^-88: thirty-two values that are all smaller count as zeros. The products of their scale with those of weights,
/// 2^-24 at least, or with a 64th of them ([`super::unpack::TwoBits`]), could be subnormal numbers, which are less
/// exact, and cost a fused multiply-add tens of cycles; a SwiGLU makes many of them of large gates.
const TINY: f32 = f32::from_bits((127 - 88) << 23);

/// What integers of weights have too much where instructions want one factor unsigned: enough for those of any format.
pub(super) const MOVED: i32 = 128;

/// Values that share a scale.
pub(super) const BLOCK: usize = 32;

/// How activations are rounded that meet quantized weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activations {
    /// To sixteen bits where most is lost otherwise, which are the products that make keys, values and logits; to eight bits
    /// elsewhere.
    #[default]
    Mixed,
    /// To eight bits everywhere.
    Int8,
}

impl Activations {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Mixed, Self::Int8];

    /// "mixed" or "int8".
    pub fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Int8 => "int8",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The magnitude of every lane.
#[inline(always)]
pub(super) fn size<S: Simd>(s: S, x: S::F) -> S::F {
    s.max(x, s.sub(s.splat(0.0), x))
}

/// The nearest integer to x * inverse, below 2^22 in magnitude, ties to even: in the low byte, under [`MAGIC`]'s bits.
#[inline(always)]
pub(super) fn nearest<S: Simd>(s: S, x: S::F, inverse: f32) -> S::I {
    s.as_i32(s.fma(x, s.splat(inverse), s.splat(MAGIC)))
}

/// Positions `32 b..32 b + 32` of `NT` tokens.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Panel<const NT: usize> {
    /// By token.
    pub scale: [f32; NT],
    /// What dot products start from, so that they are exact in the end, with integers of which each is [`MOVED`] too much:
    /// -[`MOVED`] times the sum of these. Of all thirty-two, then by half; by token.
    pub start: [[i32; NT]; 3],
    /// scale * sum of the integers, by token.
    pub scaled_sum: [f32; NT],
    /// scale * sum of the half's integers, by half, then token.
    pub scaled_half: [[f32; NT]; 2],
    /// The integers, by token, in groups of four.
    pub q: [[[i8; 4]; 8]; NT],
}

impl<const NT: usize> Panel<NT> {
    pub(super) const ZERO: Self = Self {
        scale: [0.0; NT],
        start: [[0; NT]; 3],
        scaled_sum: [0.0; NT],
        scaled_half: [[0.0; NT]; 2],
        q: [[[0; 4]; 8]; NT],
    };

    /// Fills in place `t` from its thirty-two values, but for what [`Panel::finish`] does; gives the integers, as numbers.
    #[inline(always)]
    pub(super) fn set<S: Simd>(&mut self, s: S, t: usize, x: [S::F; 2]) -> [S::F; 2] {
        let greatest = s.greatest(s.max(size(s, x[0]), size(s, x[1])));
        self.scale[t] = if greatest < TINY { 0.0 } else { greatest / 127.0 };
        let inverse = if greatest >= TINY { 127.0 / greatest } else { 0.0 };
        // The low byte is the integer, rounded to nearest even; what is not finite gives some integer.
        let mut integers = x;
        for half in 0..2 {
            let bits = nearest(s, x[half], inverse);
            integers[half] = s.sub(s.as_f32(bits), s.splat(MAGIC));
            let q = s.to_i8(bits);
            self.q[t].as_flattened_mut()[16 * half..][..16].copy_from_slice(&q);
            // The magic constant's own bits, sixteen times, wrap around in the sum.
            let sum = s.sum_i(bits).wrapping_sub((MAGIC.to_bits() as i32).wrapping_mul(16));
            self.start[1 + half][t] = sum.wrapping_mul(-MOVED);
        }
        self.start[0][t] = self.start[1][t].wrapping_add(self.start[2][t]);
        integers
    }

    /// The sums as minimums are multiplied with them, of all places at once: one by one, each would wait for its sums to go
    /// through memory.
    #[inline(always)]
    pub(super) fn finish(&mut self) {
        for t in 0..NT {
            for half in 0..2 {
                self.scaled_half[half][t] = self.scale[t] * self.sum(1 + half, t) as f32;
            }
            self.scaled_sum[t] = self.scale[t] * self.sum(0, t) as f32;
        }
    }

    /// The sum of place `t`'s integers: of all thirty-two (`part` 0), or of one half (1 or 2).
    #[inline(always)]
    pub(super) fn sum(&self, part: usize, t: usize) -> i32 {
        -(self.start[part][t] >> MOVED.ilog2())
    }

    /// Fills in places `t` and `t + 1`: the values, and what is left of them.
    #[inline(always)]
    fn set_fine<S: Simd>(&mut self, s: S, t: usize, x: [S::F; 2]) {
        let integers = self.set(s, t, x);
        let scale = s.splat(-self.scale[t]);
        let rest = [s.fma(integers[0], scale, x[0]), s.fma(integers[1], scale, x[1])];
        self.set(s, t + 1, rest);
    }
}

/// Thirty-two values.
#[inline(always)]
pub(super) fn load_block<S: Simd>(s: S, x: &[f32; BLOCK]) -> [S::F; 2] {
    let (x, _) = x.as_chunks::<16>();
    [s.load(&x[0]), s.load(&x[1])]
}

/// Quantizes as many tokens as have `NT` places, each `cols` values of `x`, into one panel for every thirty-two columns.
#[inline(always)]
pub(super) fn quantize<S: Simd, const NT: usize>(s: S, x: &[f32], cols: usize, fine: bool, panels: &mut [Panel<NT>]) {
    for (t, x) in x.chunks_exact(cols).enumerate() {
        let (blocks, _) = x.as_chunks::<BLOCK>();
        for (panel, x) in panels.iter_mut().zip(blocks) {
            let x = load_block(s, x);
            if fine {
                panel.set_fine(s, 2 * t, x);
            } else {
                panel.set(s, t, x);
            }
        }
    }
    for panel in panels {
        panel.finish();
    }
}

/// Tokens of a matmul, quantized: one place or two in a group of their own, more in groups of four.
///
/// A group that is not full keeps whatever it held before in its free places; their results are not stored.
#[derive(Default)]
pub(super) struct Panels {
    /// One for each token, or two if tokens are fine.
    pub places: usize,
    pub cols: usize,
    pub fine: bool,
    pub fours: Vec<Panel<4>>,
    pub two: Vec<Panel<2>>,
    pub one: Vec<Panel<1>>,
}

impl Panels {
    /// How many panels of each kind so many places have.
    fn sizes(places: usize, cols: usize) -> [usize; 3] {
        let blocks = cols / BLOCK;
        match places {
            0 => [0; 3],
            1 => [0, 0, blocks],
            2 => [0, blocks, 0],
            _ => [places.div_ceil(4).saturating_mul(blocks), 0, 0],
        }
    }

    /// Makes room for `tokens` of `cols` values.
    pub(super) fn resize(&mut self, tokens: usize, cols: usize, fine: bool) {
        let places = if fine { 2 * tokens } else { tokens };
        (self.places, self.cols, self.fine) = (places, cols, fine);
        let [fours, two, one] = Self::sizes(places, cols);
        self.fours.resize(fours, Panel::ZERO);
        self.two.resize(two, Panel::ZERO);
        self.one.resize(one, Panel::ZERO);
    }

    /// The most panels of each kind that products of up to so many places and columns take.
    fn most(places: usize, cols: usize) -> [usize; 3] {
        std::array::from_fn(|i| Self::sizes(places.min([usize::MAX, 2, 1][i]), cols)[i])
    }

    /// Takes the memory for that, or says how many bytes could not be had.
    pub(super) fn reserve(&mut self, places: usize, cols: usize) -> Result<(), usize> {
        fn room<const NT: usize>(panels: &mut Vec<Panel<NT>>, len: usize) -> Result<(), usize> {
            let more = len.saturating_sub(panels.len());
            panels.try_reserve_exact(more).map_err(|_| len.saturating_mul(size_of::<Panel<NT>>()))
        }
        let [fours, two, one] = Self::most(places, cols);
        room(&mut self.fours, fours)?;
        room(&mut self.two, two)?;
        room(&mut self.one, one)
    }

    /// Bytes of that.
    pub(super) fn bytes(places: usize, cols: usize) -> usize {
        let [fours, two, one] = Self::most(places, cols);
        let sizes = [(fours, size_of::<Panel<4>>()), (two, size_of::<Panel<2>>()), (one, size_of::<Panel<1>>())];
        sizes.into_iter().fold(0, |sum, (n, size)| sum.saturating_add(n.saturating_mul(size)))
    }

    /// Bytes taken.
    pub(super) fn taken(&self) -> usize {
        self.fours.capacity() * size_of::<Panel<4>>()
            + self.two.capacity() * size_of::<Panel<2>>()
            + self.one.capacity() * size_of::<Panel<1>>()
    }

    /// The integers, scale and sum of block `b` of place `t`: the view of the scalar code.
    pub(super) fn block(&self, t: usize, b: usize) -> (&[[i8; 4]; 8], f32, [i32; 2]) {
        fn view<const NT: usize>(p: &Panel<NT>, t: usize) -> (&[[i8; 4]; 8], f32, [i32; 2]) {
            (&p.q[t], p.scale[t], [p.sum(1, t), p.sum(2, t)])
        }
        match self.places {
            1 => view(&self.one[b], t),
            2 => view(&self.two[b], t),
            _ => view(&self.fours[t / 4 * (self.cols / BLOCK) + b], t % 4),
        }
    }
}
