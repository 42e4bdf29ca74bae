//! Activations as integers: what quantized weights are multiplied with.
//!
//! Thirty-two values share an f32 scale, the greatest magnitude over 127, or zero if that magnitude is below 2^-88;
//! each is the nearest integer (ties to even) of value / scale. A [`Panel`] holds the same thirty-two positions of
//! several tokens side by side, in the order in which a matmul reads them, with the sums that weights with an offset or
//! a minimum need.
//!
//! A token that is to be fine, to sixteen bits, has two places: what the rounding of the first leaves is rounded once more
//! in the second, with a scale of its own. Each is multiplied as if it were a token, and the two results are added.

use std::ops::Range;

use super::math::MAGIC;
use super::vector::{Simd, Task, prefetch_write};

/// 2^-88: thirty-two values that are all smaller count as zeros. The products of their scale with those of weights,
/// 2^-24 at least, or with a 64th of them ([`super::unpack::TwoBits`]), could be subnormal numbers, which are less
/// exact, and cost a fused multiply-add tens of cycles; a SwiGLU makes many of them of large gates.
const TINY: f32 = f32::from_bits((127 - 88) << 23);

/// What integers of weights have too much where instructions want one factor unsigned: enough for those of any format.
pub(super) const MOVED: i32 = 128;

/// Values that share a scale.
pub(super) const BLOCK: usize = 32;

/// How activations are rounded that meet quantized weights, or bfloat16.
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

    /// Fills in place `t` from place `i` of another panel.
    #[inline(always)]
    pub(super) fn set(&mut self, t: usize, from: &Panel<4>, i: usize) {
        self.scale[t] = from.scale[i];
        for part in 0..3 {
            self.start[part][t] = from.start[part][i];
        }
        self.scaled_sum[t] = from.scaled_sum[i];
        for half in 0..2 {
            self.scaled_half[half][t] = from.scaled_half[half][i];
        }
        self.q[t] = from.q[i];
    }

    /// The sum of place `t`'s integers: of all thirty-two (`part` 0), or of one half (1 or 2).
    #[inline(always)]
    pub(super) fn sum(&self, part: usize, t: usize) -> i32 {
        -(self.start[part][t] >> MOVED.ilog2())
    }
}

/// Rounds up to four times thirty-two values, and leaves in `x` what that loses. One after the other, each would wait for
/// its greatest magnitude, for two divisions and for its sums.
#[inline(always)]
pub(super) fn round<S: Simd, const N: usize>(s: S, x: &mut [[S::F; 2]; N]) -> Panel<N> {
    const { assert!(N <= 4) };
    let mut sizes = [s.splat(0.0); 4];
    for i in 0..N {
        sizes[i] = s.max(size(s, x[i][0]), size(s, x[i][1]));
    }
    let greatest = s.greatest4(sizes);
    let (mut panel, mut inverse) = (Panel::ZERO, [0.0; N]);
    for i in 0..N {
        panel.scale[i] = if greatest[i] < TINY { 0.0 } else { greatest[i] / 127.0 };
        inverse[i] = if greatest[i] >= TINY { 127.0 / greatest[i] } else { 0.0 };
    }
    let mut sums = [[0; N]; 2];
    for first in (0..N).step_by(2) {
        let two = N.min(first + 2) - first;
        // The low byte is the integer, rounded to nearest even; what is not finite gives some integer.
        let mut bits = [s.splat_i(0); 4];
        for k in 0..2 * two {
            let (i, half) = (first + k / 2, k % 2);
            bits[k] = nearest(s, x[i][half], inverse[i]);
            let integers = s.sub(s.as_f32(bits[k]), s.splat(MAGIC));
            x[i][half] = s.fma(integers, s.splat(-panel.scale[i]), x[i][half]);
        }
        let (q, of) = s.low_bytes(bits);
        let q: [[[i8; 4]; 8]; 2] = bytemuck::cast(q);
        for i in 0..two {
            panel.q[first + i] = q[i];
            (sums[0][first + i], sums[1][first + i]) = (of[2 * i], of[2 * i + 1]);
        }
    }
    for i in 0..N {
        for half in 0..2 {
            panel.start[1 + half][i] = sums[half][i] * -MOVED;
            panel.scaled_half[half][i] = panel.scale[i] * sums[half][i] as f32;
        }
        let sum = sums[0][i] + sums[1][i];
        panel.start[0][i] = sum * -MOVED;
        panel.scaled_sum[i] = panel.scale[i] * sum as f32;
    }
    panel
}

/// Thirty-two values.
#[inline(always)]
pub(super) fn load_block<S: Simd>(s: S, x: &[f32; BLOCK]) -> [S::F; 2] {
    let (x, _) = x.as_chunks::<16>();
    [s.load(&x[0]), s.load(&x[1])]
}

/// Four times thirty-two values, which need not follow each other.
pub(super) type Four<'a> = [&'a [f32; BLOCK]; 4];

#[inline(always)]
fn load_four<S: Simd>(s: S, x: Four) -> [[S::F; 2]; 4] {
    let mut values = [[s.splat(0.0); 2]; 4];
    for i in 0..4 {
        values[i] = load_block(s, x[i]);
    }
    values
}

/// [`round`] in a function of its own, for those who are not in a hurry; if `fine`, of what that leaves, too.
pub(super) struct Round<'a> {
    pub x: Four<'a>,
    pub fine: bool,
    pub panels: &'a mut [Panel<4>; 2],
}

impl<S: Simd> Task<S> for Round<'_> {
    #[inline(always)]
    fn run(self, s: S) {
        let mut values = load_four(s, self.x);
        for panel in &mut self.panels[..if self.fine { 2 } else { 1 }] {
            *panel = round(s, &mut values);
        }
    }
}

/// Where four times thirty-two values are from, and where they go: those of some tokens that share a panel, of as many
/// blocks of columns as that makes four.
#[derive(Clone, Copy)]
struct Spread<'a> {
    x: &'a [f32],
    cols: usize,
    /// The last token and the last block.
    last: [usize; 2],
    /// The logarithm of how many tokens share a panel: dividing by these would take longer than all else.
    shift: u32,
    /// The first block.
    first: usize,
}

impl<'a> Spread<'a> {
    #[inline(always)]
    fn new(x: &'a [f32], cols: usize, together: usize) -> Self {
        // (Of no tokens, there is nothing to spread.)
        let last = [(x.len() / cols).saturating_sub(1), (cols / BLOCK).saturating_sub(1)];
        Self { x, cols, last, shift: together.ilog2(), first: 0 }
    }

    /// Block and token. What is past the end is the last once more.
    #[inline(always)]
    fn at(self, i: usize) -> (usize, usize) {
        ((self.first + (i >> self.shift)).min(self.last[1]), i & ((1 << self.shift) - 1))
    }

    #[inline(always)]
    fn block(self, i: usize) -> &'a [f32; BLOCK] {
        let (block, token) = self.at(i);
        let token = token.min(self.last[0]);
        self.x[token * self.cols + block * BLOCK..][..BLOCK].try_into().expect("a block")
    }

    /// Fills in one of the `places` that each of the tokens has.
    #[inline(always)]
    fn put<const NT: usize>(self, rounded: &Panel<4>, panels: &mut [Panel<NT>], places: usize, place: usize) {
        for i in 0..4 {
            let (block, token) = self.at(i);
            panels[block].set(places * token + place, rounded, i);
        }
    }

    #[inline(always)]
    fn four(self) -> Four<'a> {
        [self.block(0), self.block(1), self.block(2), self.block(3)]
    }
}

/// Steps that a panel is asked for before it is written.
const AHEAD: usize = 4;

/// Quantizes as many tokens as have four places, each `cols` values of `x`, into one panel for every thirty-two columns.
/// Places that are left have those of the last token.
#[inline(always)]
pub(super) fn quantize<S: Simd>(s: S, x: &[f32], cols: usize, fine: bool, panels: &mut [Panel<4>]) {
    let places = if fine { 2 } else { 1 };
    let (spread, some) = (Spread::new(x, cols, 4 / places), places);
    for first in (0..panels.len()).step_by(some) {
        for panel in 0..some {
            // What was in it before, other threads have read.
            prefetch_write(panels.as_ptr().wrapping_add(first + AHEAD * some + panel));
        }
        let from = Spread { first, ..spread };
        let mut values = load_four(s, from.four());
        for place in 0..places {
            let rounded = round(s, &mut values);
            from.put(&rounded, panels, places, place);
        }
    }
}

/// The same of one place or two, by a function that runs [`Round`].
pub(super) fn quantize_few<const NT: usize>(
    x: &[f32],
    cols: usize,
    fine: bool,
    panels: &mut [Panel<NT>],
    round: impl Fn(Round),
) {
    let places = if fine { 2 } else { 1 };
    let together = (NT / places).max(1);
    let spread = Spread::new(x, cols, together);
    let mut rounded = [Panel::ZERO; 2];
    for first in (0..panels.len()).step_by(4 / together) {
        let from = Spread { first, ..spread };
        round(Round { x: from.four(), fine, panels: &mut rounded });
        for place in 0..places {
            from.put(&rounded[place], panels, places, place);
        }
    }
}

/// Tokens of a matmul, quantized: one place or two in a group of their own, more in groups of four.
///
/// The results of the free places of a group that is not full are not stored.
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
            super::room(panels, len).map_err(|_| len.saturating_mul(size_of::<Panel<NT>>()))
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

    /// Some tokens: whole groups of four, or all that are left.
    pub(super) fn tokens(&self, tokens: Range<usize>) -> Places<'_> {
        let each = if self.fine { 2 } else { 1 };
        let (places, blocks) = (each * tokens.len(), self.cols / BLOCK);
        let first = each * tokens.start / 4 * blocks;
        let [fours, two, one] = match self.places {
            0..=2 => [0, self.two.len(), self.one.len()],
            _ => [places.div_ceil(4) * blocks, 0, 0],
        };
        let fours = &self.fours[first..][..fours];
        Places { places, cols: self.cols, fine: self.fine, fours, two: &self.two[..two], one: &self.one[..one] }
    }
}

/// Some of the tokens of [`Panels`], as those have them.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub places: usize,
    pub cols: usize,
    pub fine: bool,
    pub fours: &'a [Panel<4>],
    pub two: &'a [Panel<2>],
    pub one: &'a [Panel<1>],
}

impl Places<'_> {
    /// The integers, scale and sum of block `b` of place `t`: the view of the scalar code.
    #[inline(never)] // once, not in each format's
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
