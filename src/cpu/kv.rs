//! What the cache holds keys and values as, and how they lie in a page.
//!
//! A page holds [`PAGE`] positions. Of each key-value head it has a part of [`KvType::part_bytes`] bytes: its keys, then
//! its values. Keys lie in tiles of sixteen positions with the positions side by side, so that a score is one chain over
//! the dimensions with the keys in the lanes. Values lie position by position, so that an output is one chain over
//! positions with the dimensions in the lanes.
//!
//! | | keys | values |
//! |---|---|---|
//! | f16, f32 | `[tile][dim][16]` | `[position][dim]`, the dimensions padded to 16 |
//! | Q8_0 | `[tile][dim / 4][16][4]`, then their scales, `[tile][dim / 32][16]` | `[position][dim]`, then `[dim / 32][position]` |
//!
//! Q8_0's integers are i8, its scales f16, its dimensions padded to 32.

use std::ops::Range;

use super::math::padded;
use super::panel::{BLOCK, Panel, Round, load_block, nearest, size};
use super::quantized::{Wide, step};
use super::unpack::Columns;
use super::vector::Simd;

/// Positions in a page.
pub const PAGE: usize = 128;

/// What the cache holds keys and values as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KvType {
    /// Half precision: what is lost is small beside what quantized weights lose.
    #[default]
    F16,
    /// As they are computed, in twice the memory.
    F32,
    /// Integers of eight bits with a scale for thirty-two of them, in about half of the memory. Scores are then products
    /// of integers, four times as fast.
    Q8_0,
}

impl KvType {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::F16, Self::F32, Self::Q8_0];

    /// "f16", "f32" or "q8_0".
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.name() == name)
    }

    /// Bytes that one head's keys and values take in a page: a multiple of 64, as far as they must be aligned.
    pub fn part_bytes(self, head_dim: usize) -> usize {
        match self {
            Self::F16 => floats_bytes::<u16>(head_dim),
            Self::F32 => floats_bytes::<f32>(head_dim),
            Self::Q8_0 => Parts::of(head_dim).end,
        }
    }

    /// Where in a head's part a position's key lies: its pieces, in the order of its elements. Q8_0's are those of the
    /// format's blocks: a scale, then thirty-two integers.
    pub fn key(self, head_dim: usize, position: usize, mut piece: impl FnMut(Range<usize>)) {
        let (tile, lane) = (position % PAGE / 16, position % 16);
        let mut float = |size: usize| {
            for d in 0..head_dim {
                let at = ((tile * head_dim + d) * 16 + lane) * size;
                piece(at..at + size);
            }
        };
        match self {
            Self::F16 => float(2),
            Self::F32 => float(4),
            Self::Q8_0 => {
                let parts = Parts::of(head_dim);
                for block in 0..parts.blocks {
                    let at = parts.key_scales + 2 * parts.key_scale(position, block);
                    piece(at..at + 2);
                    for g in 0..8 {
                        let at = 4 * parts.key_group(position, 8 * block + g);
                        piece(at..at + 4);
                    }
                }
            }
        }
    }

    /// The same of its value.
    pub fn value(self, head_dim: usize, position: usize, mut piece: impl FnMut(Range<usize>)) {
        let slot = position % PAGE;
        let mut float = |size: usize| {
            let at = (PAGE * head_dim + slot * head_dim.next_multiple_of(16)) * size;
            piece(at..at + head_dim * size);
        };
        match self {
            Self::F16 => float(2),
            Self::F32 => float(4),
            Self::Q8_0 => {
                let parts = Parts::of(head_dim);
                for block in 0..parts.blocks {
                    let at = parts.value_scales + 2 * parts.value_scale(position, block);
                    piece(at..at + 2);
                    let at = parts.values + slot * parts.dim + BLOCK * block;
                    piece(at..at + BLOCK);
                }
            }
        }
    }

    /// Bytes of all pieces of a key and a value.
    pub fn position_bytes(self, head_dim: usize) -> usize {
        match self {
            Self::F16 => 2 * 2 * head_dim,
            Self::F32 => 2 * 4 * head_dim,
            Self::Q8_0 => 2 * (2 + BLOCK) * Parts::of(head_dim).blocks,
        }
    }
}

/// The greatest head_dim that the kernels take.
pub const MAX_HEAD_DIM: usize = 256;

/// Blocks of thirty-two in a head's query at most.
const MAX_BLOCKS: usize = MAX_HEAD_DIM / BLOCK;

/// Queries as scores of integers take them: a panel for every thirty-two dimensions.
pub(super) type Panels<const N: usize> = [Panel<N>; MAX_BLOCKS];

/// The values of a page.
#[derive(Clone, Copy)]
pub(super) struct Values<'a, V> {
    /// `[position][register]`
    pub all: &'a [[V; 16]],
    /// Registers' worth of a position's.
    pub registers: usize,
    /// Where what is wanted of them begins.
    pub first: usize,
}

impl<'a, V> Values<'a, V> {
    /// One position's.
    #[inline(always)]
    pub fn of(&self, position: usize) -> &'a [[V; 16]] {
        &self.all[position * self.registers..][self.first..self.registers]
    }
}

/// Queries that wait for memory.
pub(super) const FEW: usize = 4;

/// Asks for the lines of so many bytes.
#[inline(always)]
pub(super) fn fetch<S: Simd>(s: S, at: *const u8, bytes: usize) {
    s.prefetch_lines(at, bytes / 64, false);
}

/// One type of cache, as the attention kernels see a head's part of a page.
pub(super) trait Cache {
    /// Whether there is code for four queries and for one only: each number of them takes twenty kilobytes, and who keeps
    /// f32 is after the last bit, not speed.
    const FEW: bool;

    /// An element of a value.
    type Value: Copy;

    /// Whether many queries share numbers that were widened, so that each is widened once. (Where registers are few, they share
    /// values that are [`Cache::SCALED`], too.)
    const WIDENED: bool;

    /// Whether values have scales, which the positions' weights are multiplied with.
    const SCALED: bool;

    /// Writes one position's key and value, `head_dim` each.
    fn store<S: Simd>(s: S, part: &mut [u8], position: usize, key: &[f32], value: &[f32]);

    /// What `scores` takes besides the queries themselves.
    fn panels<S: Simd, const N: usize>(s: S, queries: [&[f32]; N], panels: &mut Panels<N>);

    /// The scores of two neighbouring tiles of keys. A few queries wait for memory, not for arithmetic: meanwhile the
    /// next keys, and the values in the same places, are asked for.
    fn scores<S: Simd, const N: usize>(
        s: S,
        part: &[u8],
        tile: usize,
        queries: [&[f32]; N],
        panels: &Panels<N>,
    ) -> [[S::F; 2]; N];

    /// The keys of two neighbouring tiles of floats, `[2][head_dim]`.
    fn keys(_part: &[u8], _head_dim: usize, _tile: usize) -> &[[Self::Value; 16]] {
        &[]
    }

    fn values(part: &[u8], head_dim: usize) -> Values<'_, Self::Value>;

    /// The scales of the sixteen values of block `block` from position `16 * tile` on.
    fn value_scales<S: Simd>(s: S, part: &[u8], head_dim: usize, block: usize, tile: usize) -> S::F;

    fn load<S: Simd>(s: S, value: &[Self::Value; 16]) -> S::F;
}

/// A type of number that a cache of floats can hold.
pub(super) trait Float: bytemuck::Pod {
    const FEW: bool;
    const WIDENED: bool;
    fn load<S: Simd>(s: S, x: &[Self; 16]) -> S::F;
    fn round<S: Simd>(s: S, x: S::F) -> [Self; 16];
}

/// f16, by its bits.
impl Float for u16 {
    const FEW: bool = false;
    const WIDENED: bool = true;

    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[u16; 16]) -> S::F {
        s.load_f16(x)
    }
    #[inline(always)]
    fn round<S: Simd>(s: S, x: S::F) -> [u16; 16] {
        s.to_f16(x)
    }
}

impl Float for f32 {
    const FEW: bool = true;
    const WIDENED: bool = false;

    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[f32; 16]) -> S::F {
        s.load(x)
    }
    #[inline(always)]
    fn round<S: Simd>(s: S, x: S::F) -> [f32; 16] {
        s.to_array(x)
    }
}

const fn floats_bytes<T>(head_dim: usize) -> usize {
    PAGE * (head_dim + head_dim.next_multiple_of(16)) * size_of::<T>()
}

impl<T: Float> Cache for T {
    const FEW: bool = T::FEW;
    type Value = T;
    const WIDENED: bool = T::WIDENED;
    const SCALED: bool = false;

    #[inline(always)]
    fn store<S: Simd>(s: S, part: &mut [u8], position: usize, key: &[f32], value: &[f32]) {
        let (dim, padded_dim) = (key.len(), key.len().next_multiple_of(16));
        let (tile, lane, slot) = (position % PAGE / 16, position % 16, position % PAGE);
        let (keys, values) = bytemuck::cast_slice_mut::<u8, T>(part).split_at_mut(PAGE * dim);
        let keys = keys.as_chunks_mut::<16>().0;
        for d in (0..dim).step_by(16) {
            let n = 16.min(dim - d);
            let key = T::round(s, s.load(&padded(&key[d..d + n])));
            for i in 0..n {
                keys[tile * dim + d + i][lane] = key[i];
            }
            let value = T::round(s, s.load(&padded(&value[d..d + n])));
            values[slot * padded_dim + d..][..16].copy_from_slice(&value);
        }
    }

    #[inline(always)]
    fn panels<S: Simd, const N: usize>(_: S, _: [&[f32]; N], _: &mut Panels<N>) {}

    #[inline(always)]
    fn scores<S: Simd, const N: usize>(
        s: S,
        part: &[u8],
        tile: usize,
        queries: [&[f32]; N],
        _: &Panels<N>,
    ) -> [[S::F; 2]; N] {
        let dim = queries[0].len();
        let keys = <Self as Cache>::keys(part, dim, tile);
        let values = part.as_ptr().wrapping_add((PAGE + 16 * tile) * dim * size_of::<T>());
        chains(s, keys, queries, Some([keys.as_ptr_range().end.cast(), values]))
    }

    #[inline(always)]
    fn keys(part: &[u8], head_dim: usize, tile: usize) -> &[[T; 16]] {
        &bytemuck::cast_slice::<u8, T>(part).as_chunks().0[tile * head_dim..][..2 * head_dim]
    }

    #[inline(always)]
    fn values(part: &[u8], head_dim: usize) -> Values<'_, T> {
        let values = &bytemuck::cast_slice::<u8, T>(part)[PAGE * head_dim..];
        Values { all: values.as_chunks().0, registers: head_dim.div_ceil(16), first: 0 }
    }

    #[inline(always)]
    fn value_scales<S: Simd>(s: S, _: &[u8], _: usize, _: usize, _: usize) -> S::F {
        s.splat(1.0)
    }

    #[inline(always)]
    fn load<S: Simd>(s: S, value: &[T; 16]) -> S::F {
        T::load(s, value)
    }
}

/// The scores of two neighbouring tiles of keys, `[2][head_dim]`: each is one chain over head_dim. A few queries ask
/// for what lies at `next` meanwhile, as many bytes.
#[inline(always)]
pub(super) fn chains<S: Simd, T: Float, const N: usize>(
    s: S,
    keys: &[[T; 16]],
    queries: [&[f32]; N],
    next: Option<[*const u8; 2]>,
) -> [[S::F; 2]; N] {
    let dim = queries[0].len();
    let (a, b) = (&keys[..dim], &keys[dim..2 * dim]);
    let mut q = queries;
    for q in &mut q {
        *q = &q[..dim];
    }
    let mut acc = [[s.splat(0.0); 2]; N];
    for d in 0..dim {
        if let (true, Some(next)) = (N <= FEW, next) {
            let bytes = 2 * 16 * size_of::<T>();
            fetch(s, next[0].wrapping_add(d * bytes), bytes);
            fetch(s, next[1].wrapping_add(d * bytes), bytes);
        }
        let (a, b) = (T::load(s, &a[d]), T::load(s, &b[d]));
        for i in 0..N {
            let q = s.splat(q[i][d]);
            acc[i][0] = s.fma(q, a, acc[i][0]);
            acc[i][1] = s.fma(q, b, acc[i][1]);
        }
    }
    acc
}

/// A head's part in a cache of Q8_0: where its parts begin, in bytes.
#[derive(Clone, Copy)]
struct Parts {
    /// The dimensions, padded to whole blocks.
    dim: usize,
    /// Blocks of a key and of a value.
    blocks: usize,
    key_scales: usize,
    values: usize,
    value_scales: usize,
    end: usize,
}

impl Parts {
    #[inline(always)]
    const fn of(head_dim: usize) -> Self {
        let blocks = head_dim.div_ceil(BLOCK);
        let (dim, key_scales) = (blocks * BLOCK, PAGE * blocks * BLOCK);
        let values = key_scales + 2 * PAGE * blocks;
        let value_scales = values + PAGE * dim;
        Self { dim, blocks, key_scales, values, value_scales, end: value_scales + 2 * PAGE * blocks }
    }

    /// The number of four dimensions of a key, among all such groups.
    #[inline(always)]
    fn key_group(self, position: usize, group: usize) -> usize {
        (position % PAGE / 16 * self.dim / 4 + group) * 16 + position % 16
    }

    /// The number of a key's scale.
    #[inline(always)]
    fn key_scale(self, position: usize, block: usize) -> usize {
        (position % PAGE / 16 * self.blocks + block) * 16 + position % 16
    }

    /// The number of a value's scale.
    #[inline(always)]
    fn value_scale(self, position: usize, block: usize) -> usize {
        block * PAGE + position % PAGE
    }
}

/// The cache of Q8_0.
pub(super) struct Q8_0;

impl Cache for Q8_0 {
    const FEW: bool = false;
    type Value = i8;
    const WIDENED: bool = false;
    const SCALED: bool = true;

    #[inline(always)]
    fn store<S: Simd>(s: S, part: &mut [u8], position: usize, key: &[f32], value: &[f32]) {
        let parts = Parts::of(key.len());
        let slot = position % PAGE;
        for block in 0..parts.blocks {
            let d = BLOCK * block..key.len().min(BLOCK * (block + 1));
            let (scale, q) = quantize(s, &key[d.clone()]);
            for (g, four) in q.as_chunks::<4>().0.iter().enumerate() {
                part[4 * parts.key_group(position, 8 * block + g)..][..4].copy_from_slice(&four.map(|q| q as u8));
            }
            let at = parts.key_scales + 2 * parts.key_scale(position, block);
            part[at..at + 2].copy_from_slice(&scale.to_le_bytes());
            let (scale, q) = quantize(s, &value[d]);
            let at = parts.values + slot * parts.dim + BLOCK * block;
            part[at..at + BLOCK].copy_from_slice(bytemuck::cast_slice(&q));
            let at = parts.value_scales + 2 * parts.value_scale(position, block);
            part[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }

    #[inline(always)]
    fn panels<S: Simd, const N: usize>(s: S, queries: [&[f32]; N], panels: &mut Panels<N>) {
        for (block, panel) in panels.iter_mut().enumerate().take(queries[0].len().div_ceil(BLOCK)) {
            for first in (0..N).step_by(4) {
                let mut x = [[0.0; BLOCK]; 4];
                for i in 0..4 {
                    let q = &queries[(first + i).min(N - 1)][BLOCK * block..];
                    x[i].iter_mut().zip(q).for_each(|(x, q)| *x = *q);
                }
                let mut rounded = [Panel::ZERO; 2];
                s.call(Round { x: x.each_ref(), fine: false, panels: &mut rounded });
                for i in 0..4.min(N - first) {
                    panel.set(first + i, &rounded[0], i);
                }
            }
        }
    }

    /// A chain over blocks of thirty-two dimensions, as in a product with weights.
    #[inline(always)]
    fn scores<S: Simd, const N: usize>(
        s: S,
        part: &[u8],
        tile: usize,
        queries: [&[f32]; N],
        panels: &Panels<N>,
    ) -> [[S::F; 2]; N] {
        let parts = Parts::of(queries[0].len());
        let keys = bytemuck::cast_slice::<u8, u32>(&part[..parts.key_scales]).as_chunks::<16>().0.as_chunks::<8>().0;
        let scales = bytemuck::cast_slice::<u8, u16>(&part[parts.key_scales..parts.values]).as_chunks::<16>().0;
        let mut scores = [[s.splat(0.0); 2]; N];
        for i in 0..2 {
            let first = (tile + i) * parts.blocks;
            let (keys, scales) = (&keys[first..][..parts.blocks], &scales[first..][..parts.blocks]);
            let values = part.as_ptr().wrapping_add(parts.values + 16 * (tile + i) * parts.dim);
            let mut acc = [s.splat(0.0); N];
            for (block, ((keys, scale), panel)) in keys.iter().zip(scales).zip(panels).enumerate() {
                if N <= FEW {
                    let bytes = size_of_val(keys);
                    fetch(s, keys.as_ptr().cast::<u8>().wrapping_add(2 * parts.blocks * bytes), bytes);
                    fetch(s, values.wrapping_add(block * bytes), bytes);
                }
                let mut q = [s.splat_i(0); 8];
                for g in 0..8 {
                    q[g] = s.wide(s.load_i(&keys[g]));
                }
                let scale = s.load_f16(scale);
                acc = step::<S, Wide, N>(
                    s,
                    acc,
                    Columns { q, scale: [scale; 2], min: [scale; 2] },
                    panel,
                    S::WIDE_OFFSET,
                );
            }
            for t in 0..N {
                scores[t][i] = acc[t];
            }
        }
        scores
    }

    #[inline(always)]
    fn values(part: &[u8], head_dim: usize) -> Values<'_, i8> {
        let parts = Parts::of(head_dim);
        let values = bytemuck::cast_slice::<u8, i8>(&part[parts.values..parts.value_scales]);
        Values { all: values.as_chunks().0, registers: parts.dim / 16, first: 0 }
    }

    #[inline(always)]
    fn value_scales<S: Simd>(s: S, part: &[u8], head_dim: usize, block: usize, tile: usize) -> S::F {
        let parts = Parts::of(head_dim);
        let scales = bytemuck::cast_slice::<u8, u16>(&part[parts.value_scales..parts.end]).as_chunks::<16>().0;
        s.load_f16(&scales[block * (PAGE / 16) + tile])
    }

    #[inline(always)]
    fn load<S: Simd>(s: S, value: &[i8; 16]) -> S::F {
        s.to_f32(s.load_i8(value))
    }
}

/// At most thirty-two values as integers, and their scale as the bits of an f16: the greatest magnitude over 127.
#[inline(always)]
fn quantize<S: Simd>(s: S, x: &[f32]) -> (u16, [i8; BLOCK]) {
    let mut all = [0.0; BLOCK];
    all[..x.len()].copy_from_slice(x);
    let x = load_block(s, &all);
    let greatest = s.greatest(s.max(size(s, x[0]), size(s, x[1])));
    let scale = s.to_f16(s.splat(greatest / 127.0));
    // As it will be read: rounded. A tiny one can be rounded so far down that the integers must be held in.
    let rounded = s.to_array(s.load_f16(&scale))[0];
    let inverse = if rounded > 0.0 { 1.0 / rounded } else { 0.0 };
    let limit = s.splat(127.0 * rounded);
    let mut q = [0; BLOCK];
    for (half, x) in x.into_iter().enumerate() {
        let x = s.min(s.max(x, s.sub(s.splat(0.0), limit)), limit);
        q[16 * half..][..16].copy_from_slice(&s.to_i8(nearest(s, x, inverse)));
    }
    (scale[0], q)
}
