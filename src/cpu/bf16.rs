//! Products with bfloat16 weights: activations are rounded to bfloat16 too, so that weights and activations meet in pairs of
//! columns, as the instructions that some CPUs have for it multiply them.
//!
//! Column `c` belongs to chain `c / 2 mod 16`. Of two neighbours, the second goes first:
//!
//! ```text
//! chain = fma(w[2i + 1], x[2i + 1], chain)
//! chain = fma(w[2i], x[2i], chain)
//! ```
//!
//! That is what Intel's manual says of VDPBF16PS (Software Developer's Manual, volume 2), and what AMD's Zen 4 does; and
//! [`super::x86_64`] uses it only on a CPU that it has seen do so. What the instruction does besides, taking subnormal numbers
//! for zeros, is done here in the open, so that all CPUs have the same bits: subnormal weights are zeros; activations are
//! multiplied by 2^72, and are zeros if they are below 2^14 then. So all products and sums are multiples of 2^-126, none is
//! subnormal, and none overflows that is below 2^55 in the end.
//!
//! A token that is to be fine, to sixteen bits, has two places: its values rounded, and what that leaves rounded. Each is
//! multiplied as if it were a token, and the two results are added.

use bytemuck::{Pod, Zeroable};

use super::float::{Float, Lines, Product, meet, near_places};
use super::room;
use super::tile::Tile;
use super::vector::Simd;

/// What activations are multiplied by, and results by the inverse of.
pub(super) const SCALE: f32 = f32::from_bits((127 + 72) << 23);

/// The bits of 2^14: activations below are zeros.
const LEAST: i32 = (127 + 14) << 23;

/// Columns of a step.
pub(super) const COLUMNS: usize = 32;

/// A part of a token, as much as a register holds: a cache line, so that no load takes two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Piece(pub [u32; 16]);

/// bfloat16 weights where there is no instruction for pairs: both are widened to f32, which is exact. Tokens are widened when
/// they are rounded: of every thirty-two columns, the odd ones are in a first piece, the even ones in a second.
pub(super) struct Bf16;

impl<S: Simd> Float<S> for Bf16 {
    type Weights = [u8; 2 * COLUMNS];
    type Activations = [Piece; 2];
    const FINE: bool = true;
    const PARTS: usize = 2;

    #[inline(always)]
    fn weights(s: S, w: &[u8; 2 * COLUMNS], part: usize) -> S::F {
        let w = s.normal_bf16(s.load_i(&bytemuck::cast(*w)));
        s.as_f32(if part == 0 { s.and(w, s.splat_i(0xffff << 16)) } else { s.shl::<16>(w) })
    }
    #[inline(always)]
    fn activations(s: S, x: &[Piece; 2], part: usize) -> S::F {
        s.as_f32(s.load_i(&x[part].0))
    }

    #[inline(always)]
    fn many(s: S, p: &Product, starts: [usize; 2], tile: &mut Tile) {
        if S::PAIRS { many_apart::<S, 4, 4>(s, p, starts, tile) } else { many_apart::<S, 2, 3>(s, p, starts, tile) }
    }
}

/// The odd columns of thirty-two, or the even ones, as a token has them.
struct Apart;

impl<S: Simd> Float<S> for Apart {
    type Weights = [u16; 16];
    type Activations = Piece;

    #[inline(always)]
    fn weights(s: S, w: &[u16; 16], _: usize) -> S::F {
        s.load_bf16(w)
    }
    #[inline(always)]
    fn activations(s: S, x: &Piece, _: usize) -> S::F {
        s.as_f32(s.load_i(&x.0))
    }
}

/// Sixteens of a row's odd columns and of its even ones.
pub(super) const fn halves(cols: usize) -> usize {
    2 * cols.div_ceil(COLUMNS)
}

/// All places times twice sixteen rows, whose pairs are taken apart before they meet the places. They stay as small as they
/// are: widened to f32, two of them and three places are more than the nearest cache holds, and AVX2 takes half as long
/// again. Taken apart where they meet, they would need more registers than AVX2 has, and AVX-512 takes a tenth longer.
#[inline(always)]
fn many_apart<S: Simd, const R: usize, const T: usize>(s: S, p: &Product, starts: [usize; 2], tile: &mut Tile) {
    let halves = halves(p.row_bytes / 2);
    let (sums, apart) = tile.sums_and_halves(p.x.count, 32 * halves);
    for (i, out) in apart.chunks_exact_mut(halves).enumerate() {
        let row = &p.weights[(starts[i / 16] + i % 16) * p.row_bytes..][..p.row_bytes];
        for (w, [odd, even]) in row.chunks(2 * COLUMNS).zip(out.as_chunks_mut().0) {
            let mut pairs = [0; 2 * COLUMNS];
            pairs[..w.len()].copy_from_slice(w);
            let pairs = s.to_array_i(s.normal_bf16(s.load_i(&bytemuck::cast(pairs))));
            (*odd, *even) = (pairs.map(|pair| (pair >> 16) as u16), pairs.map(|pair| pair as u16));
        }
    }
    for places in near_places::<T>(p) {
        for i in (0..32).step_by(R) {
            let rows = Lines::of_32(i, halves * size_of::<[u16; 16]>(), |i| apart[i * halves..].as_ptr().cast());
            // SAFETY: these rows have as many halves as the places have pieces.
            unsafe { meet::<S, Apart, R, T>(s, p, rows, i, places.clone(), sums) };
        }
    }
}

/// Rounds a token into its place, or the two that it has if it is `fine`. `N` pieces hold thirty-two columns: two as [`Bf16`]
/// has them, or one that has the pairs as they are.
#[inline(always)]
pub(super) fn round<S: Simd, const N: usize>(s: S, x: &[f32], fine: bool, places: &mut [Piece]) {
    let (first, second) = places.split_at_mut(if fine { places.len() / 2 } else { places.len() });
    let (first, second) = (first.as_chunks_mut::<N>().0, second.as_chunks_mut::<N>().0);
    let scale = s.splat(SCALE);
    for (step, (x, first)) in x.chunks(COLUMNS).zip(first).enumerate() {
        let mut values = [0.0; COLUMNS];
        values[..x.len()].copy_from_slice(x);
        let [a, b] = bytemuck::cast_ref::<_, [[f32; 16]; 2]>(&values);
        let x = [s.mul(s.load(a), scale), s.mul(s.load(b), scale)];
        let rounded = [nearest(s, x[0]), nearest(s, x[1])];
        *first = pieces(s, rounded);
        if let Some(second) = second.get_mut(step) {
            let left = [s.sub(x[0], s.as_f32(rounded[0])), s.sub(x[1], s.as_f32(rounded[1]))];
            *second = pieces(s, [nearest(s, left[0]), nearest(s, left[1])]);
        }
    }
}

/// The nearest bfloat16, ties to even, or zero: in the high half of each lane. What is not a number becomes some number, or
/// none.
#[inline(always)]
fn nearest<S: Simd>(s: S, x: S::F) -> S::I {
    let x = s.as_i32(x);
    let even = s.and(s.shr::<16>(x), s.splat_i(1));
    let rounded = s.and(s.add_i(s.add_i(x, s.splat_i(0x7fff)), even), s.splat_i(0xffff << 16));
    let size = s.and(rounded, s.splat_i(i32::MAX));
    // All bits but where the difference is negative.
    let large = s.add_i(s.shr::<31>(s.add_i(size, s.splat_i(-LEAST))), s.splat_i(-1));
    s.and(rounded, large)
}

/// Thirty-two numbers, which are the high halves of lanes.
#[inline(always)]
fn pieces<S: Simd, const N: usize>(s: S, x: [S::I; 2]) -> [Piece; N] {
    const { assert!(N == 1 || N == 2) };
    let x: [u32; COLUMNS] = bytemuck::cast([s.to_array_i(x[0]), s.to_array_i(x[1])]);
    let mut pieces = [Piece::zeroed(); N];
    for pair in 0..16 {
        let (even, odd) = (x[2 * pair], x[2 * pair + 1]);
        if N == 1 {
            pieces[0].0[pair] = even >> 16 | odd;
        } else {
            (pieces[0].0[pair], pieces[1].0[pair]) = (odd, even);
        }
    }
    pieces
}

/// The tokens of products with bfloat16 weights.
#[derive(Default)]
pub(super) struct Rounded {
    /// By token, then place.
    pub pieces: Vec<Piece>,
    /// Pieces of a place.
    pub place: usize,
    /// Pieces of a token, which has two places if any product wants it fine.
    pub token: usize,
}

impl Rounded {
    /// Makes room for `tokens` of `cols` values, of which [`COLUMNS`] take so many pieces.
    pub fn resize(&mut self, tokens: usize, cols: usize, pieces: usize, fine: bool) {
        self.place = cols.div_ceil(COLUMNS) * pieces;
        self.token = if fine { 2 * self.place } else { self.place };
        self.pieces.resize(tokens * self.token, Piece::zeroed());
    }

    /// The most pieces of so many tokens, `cols` values in all places of each.
    fn most(tokens: usize, cols: usize) -> usize {
        // (Each place may end in a piece that is not full.)
        let pieces = if cols == 0 { 0 } else { 2 * (cols.div_ceil(COLUMNS) + 1) };
        tokens.saturating_mul(pieces)
    }

    /// Takes the memory for them, or says how many bytes could not be had.
    pub fn reserve(&mut self, tokens: usize, cols: usize) -> Result<(), usize> {
        room(&mut self.pieces, Self::most(tokens, cols)).map_err(|_| Self::bytes(tokens, cols))
    }

    /// Bytes of that.
    pub fn bytes(tokens: usize, cols: usize) -> usize {
        Self::most(tokens, cols).saturating_mul(size_of::<Piece>())
    }

    /// Bytes taken.
    pub fn taken(&self) -> usize {
        self.pieces.capacity() * size_of::<Piece>()
    }
}
