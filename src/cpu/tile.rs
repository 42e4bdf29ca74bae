//! Products of many tokens: thirty-two rows are unpacked, some columns at a time, into a tile that stays in the nearest
//! cache while all tokens pass over it, four at a time.
//!
//! Thirty-two rows by four tokens are eight chains, as many as keep two dot products a cycle going, and every load of an
//! activation serves two of them. (Sixteen by eight, which load each activation for one dot product, reach half of the
//! peak on Zen 5, where two loads a cycle are as many as dot products.) What follows a group's dot products, conversion,
//! scale and sum, is done for one chain after the other between the dot products of the next group: all at once, it would
//! hold them up. So three quarters of the peak are reached there, where four fifths are possible; all at once, three
//! fifths. (On Emerald Rapids: all of what [`super::quantized`] says is possible.)

use std::collections::TryReserveError;
use std::marker::PhantomData;
use std::ops::Range;

use super::bf16::halves;
use super::panel::{BLOCK, MOVED, Panel, Places};
use super::quantized::{
    Halves3, Halves6, HalvesMin2, Kind, KindOf, Lanes, Whole4, Whole5, WholeMin4, WholeMin5, Wide, add, dot4, dots,
    fetch, offset, splat, start,
};
use super::unpack::{Columns, Rows, Sink, Unpack, kept, unpack};
use super::vector::{Simd, Task};

/// Places that pass over the tile together.
pub(super) const TOGETHER: usize = 4;

/// Thirty-twos of columns that a tile has room for: with the places that pass over it, it fits into 32 kB.
const COLUMNS: usize = 16;

/// Half of them: as many are taken together with AVX2, where the nearest cache has to hold what each place has as numbers
/// of sixteen bits, too (3 % faster on Zen 4, for all formats), and by few places, of whose time unpacking is much (2 to 9 %
/// faster with AVX-512).
const HALF: usize = COLUMNS / 2;

/// Those that are taken together.
const fn together<S: Simd>(places: usize) -> usize {
    if S::PAIRS && places > 16 { COLUMNS } else { HALF }
}

/// Thirty-two columns of sixteen rows, unpacked.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct TileBlock {
    q: [[u32; 16]; 8],
    scale: [[f32; 16]; 2],
    min: [[f32; 16]; 2],
}

impl TileBlock {
    /// Adds nothing to any chain, not even to -0.
    const NOTHING: Self = Self { q: [[0; 16]; 8], scale: [[-0.0; 16]; 2], min: [[-0.0; 16]; 2] };
}

/// Thirty-two rows' sums for some places: `[sixteen rows][place]`.
pub(super) type Sums = [[[f32; 16]; TOGETHER]; 2];

/// One thread's room.
#[derive(Default)]
pub(super) struct Tile {
    /// By thirty-two columns, for both sixteens of rows.
    blocks: Vec<[TileBlock; 2]>,
    /// By group of places: what they have from the columns so far.
    sums: Vec<Sums>,
    /// What other rows came to, which are to be taken together with these.
    first_half: Vec<Sums>,
    /// Rows of bfloat16 whose pairs were taken apart.
    halves: Vec<[u16; 16]>,
}

/// Bytes behind each part of a tile that nobody uses. A CPU that sees a thread go through memory fetches what comes next,
/// tens of kilobytes further if its steps are long. If a tile of another thread is there, that one's core has to get it
/// back, again and again: four tokens take a third longer on Zen 4, sixty-four a tenth.
const APART: usize = 32 << 10;

/// So many elements, and those behind them.
const fn apart<T>(len: usize) -> usize {
    len.saturating_add(APART.div_ceil(size_of::<T>()))
}

/// Makes a part as long, and keeps room behind it.
fn resize<T: Clone>(part: &mut Vec<T>, len: usize, value: T) {
    part.reserve(apart::<T>(len).saturating_sub(part.len()));
    part.resize(len, value);
}

impl Tile {
    /// Takes the memory for products of so many places and columns, and of so many with bfloat16, or says how many bytes could
    /// not be had.
    pub fn reserve(&mut self, places: usize, cols: usize, bf16_cols: usize) -> Result<(), usize> {
        fn room<T>(part: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
            super::room(part, apart::<T>(len))
        }
        let no_memory = |_| Self::bytes(places, cols, bf16_cols);
        let groups = places.div_ceil(TOGETHER);
        room(&mut self.blocks, COLUMNS.min(cols / BLOCK)).map_err(no_memory)?;
        room(&mut self.sums, groups).map_err(no_memory)?;
        room(&mut self.first_half, groups).map_err(no_memory)?;
        room(&mut self.halves, 32 * halves(bf16_cols)).map_err(no_memory)
    }

    /// Bytes of that.
    pub fn bytes(places: usize, cols: usize, bf16_cols: usize) -> usize {
        let sums = apart::<Sums>(places.div_ceil(TOGETHER)).saturating_mul(size_of::<Sums>());
        let blocks = apart::<[TileBlock; 2]>(COLUMNS.min(cols / BLOCK)) * size_of::<[TileBlock; 2]>();
        let halves = apart::<[u16; 16]>(halves(bf16_cols).saturating_mul(32)).saturating_mul(size_of::<[u16; 16]>());
        sums.saturating_mul(2).saturating_add(blocks).saturating_add(halves)
    }

    /// Bytes taken.
    pub fn taken(&self) -> usize {
        self.blocks.capacity() * size_of::<[TileBlock; 2]>()
            + (self.sums.capacity() + self.first_half.capacity()) * size_of::<Sums>()
            + self.halves.capacity() * size_of::<[u16; 16]>()
    }

    /// The results of a place for both sixteens of rows, once they were multiplied.
    pub fn results(&self, place: usize) -> [&[f32; 16]; 2] {
        self.sums[place / TOGETHER].each_ref().map(|sixteen| &sixteen[place % TOGETHER])
    }

    /// Room for the results of so many places, by groups of them.
    pub fn sums(&mut self, places: usize) -> &mut [Sums] {
        resize(&mut self.sums, places.div_ceil(TOGETHER), [[[0.0; 16]; TOGETHER]; 2]);
        &mut self.sums
    }

    /// The same, and room for so many halves.
    pub fn sums_and_halves(&mut self, places: usize, halves: usize) -> (&mut [Sums], &mut [[u16; 16]]) {
        self.sums(places);
        resize(&mut self.halves, halves, [0; 16]);
        (&mut self.sums, &mut self.halves)
    }

    /// Keeps the results while other rows are multiplied.
    pub fn keep_first_half(&mut self) {
        std::mem::swap(&mut self.sums, &mut self.first_half);
    }

    /// The results that were kept, and those of the rows since.
    pub fn both_halves(&self) -> (&[Sums], &[Sums]) {
        (&self.first_half, &self.sums)
    }

    /// Multiplies all places of `x` with twice sixteen rows. Meanwhile the bytes at `ahead` are asked for, as many as are
    /// used here.
    ///
    /// # Safety
    /// The rows have `blocks` blocks of the format.
    #[inline(always)]
    pub unsafe fn multiply<S: Simd>(
        &mut self,
        s: S,
        lanes: &Lanes,
        rows: [Rows; 2],
        blocks: usize,
        ahead: [*const u8; 2],
        x: Places,
    ) {
        let (per_block, offset) = (lanes.block_len / 32, lanes.offset);
        resize(&mut self.blocks, COLUMNS.min(blocks * per_block), [TileBlock::NOTHING; 2]);
        self.sums(x.places);
        let together = together::<S>(x.places) / per_block;
        for first in (0..blocks).step_by(together) {
            let some = first..(first + together).min(blocks);
            let columns = some.start * per_block..some.end * per_block;
            for (i, (rows, ahead)) in rows.into_iter().zip(ahead).enumerate() {
                // SAFETY: the caller's contract.
                unsafe { (lanes.fill)(Fill { tile: &mut self.blocks, i, rows, blocks: some.clone(), ahead }) };
            }
            let tile = &self.blocks[..columns.len()];
            let sums = &mut self.sums[..];
            macro_rules! pass {
                ($Kind:ident) => {
                    s.call(Pass::<$Kind> { tile, columns, x, offset, sums, kind: PhantomData })
                };
            }
            // What bits there are makes a difference only where sums of pairs may not fit.
            match lanes.kind {
                KindOf::Whole4 if !S::DOTS => pass!(Whole4),
                KindOf::Whole5 if !S::DOTS => pass!(Whole5),
                KindOf::Whole4 | KindOf::Whole5 | KindOf::Wide => pass!(Wide),
                KindOf::WholeMin4 if !S::DOTS => pass!(WholeMin4),
                KindOf::WholeMin4 | KindOf::WholeMin5 => pass!(WholeMin5),
                KindOf::Halves3 if !S::DOTS => pass!(Halves3),
                KindOf::Halves3 | KindOf::Halves6 => pass!(Halves6),
                KindOf::HalvesMin2 => pass!(HalvesMin2),
            }
        }
    }
}

/// One half of a tile, and the blocks of sixteen rows that it is to hold.
pub(super) struct Fill<'a> {
    tile: &'a mut [[TileBlock; 2]],
    /// Which of the two sixteens.
    i: usize,
    rows: Rows,
    blocks: Range<usize>,
    /// What is asked for meanwhile, as many bytes as are used here.
    ahead: *const u8,
}

/// Unpacks them.
///
/// # Safety
/// The rows have these blocks of the format, and are still borrowed.
#[inline(always)]
pub(super) unsafe fn fill<S: Simd, U: Unpack>(s: S, p: Fill) {
    let Fill { tile, i, rows, blocks, ahead } = p;
    let mut keep = Keep::<S, U> { s, tile, i, first: blocks.start * (U::LEN / 32), ahead, format: PhantomData };
    for block in blocks {
        // SAFETY: the caller's contract.
        unsafe { unpack::<S, U>(s, rows, block, &mut keep) };
    }
}

/// Keeps columns of sixteen rows. Meanwhile the bytes at `ahead` are asked for.
struct Keep<'a, S, U> {
    s: S,
    tile: &'a mut [[TileBlock; 2]],
    /// Which of the two sixteens.
    i: usize,
    /// The number of the tile's first columns among all thirty-twos.
    first: usize,
    ahead: *const u8,
    format: PhantomData<U>,
}

impl<S: Simd, U: Unpack> Sink<S> for Keep<'_, S, U> {
    #[inline(always)]
    fn take(&mut self, at: usize, columns: Columns<S>) {
        let s = self.s;
        fetch::<S, U>(s, self.ahead, at, false);
        let to = &mut self.tile[at - self.first][self.i];
        // What `pairs` takes.
        let more = if S::PAIRS && !U::HAS_MIN { const { MOVED - offset::<S, U>() } } else { 0 };
        for g in 0..8 {
            to.q[g] = s.to_array_i(s.add_i(columns.q[g], s.splat_i(more * 0x0101_0101)));
        }
        for i in 0..32 / U::GROUP {
            to.scale[i] = s.to_array(columns.scale[i]);
            if U::HAS_MIN {
                to.min[i] = s.to_array(columns.min[i]);
            }
        }
    }
}

/// All places pass over a tile. It is the same code for all formats of a kind.
struct Pass<'a, K> {
    tile: &'a [[TileBlock; 2]],
    /// Which thirty-twos of columns it holds.
    columns: Range<usize>,
    x: Places<'a>,
    /// What the integers have too much, if not [`MOVED`].
    offset: i32,
    sums: &'a mut [Sums],
    kind: PhantomData<K>,
}

impl<S: Simd, K: Kind> Task<S> for Pass<'_, K> {
    #[inline(always)]
    fn run(self, s: S) {
        let Self { tile, columns, x, offset, sums, .. } = self;
        let mut met = [Met::NOTHING; HALF];
        for (sums, panels) in sums.iter_mut().zip(x.fours.chunks_exact(x.cols / 32)) {
            if columns.start == 0 {
                *sums = [[[0.0; 16]; TOGETHER]; 2];
            }
            let ahead = panels[columns.start..].as_ptr().wrapping_add(panels.len());
            let panels = &panels[columns.clone()];
            if S::PAIRS {
                pairs::<S, K>(s, tile, panels, ahead, sums);
            } else {
                for (met, panel) in met.iter_mut().zip(panels) {
                    met.set::<S, K>(s, panel, offset);
                }
                for i in 0..2 {
                    single::<S, K>(s, tile, i, panels, ahead, &met, sums);
                }
            }
        }
    }
}

/// Four places by twice sixteen rows, whose integers are [`MOVED`] too much if there is no minimum. Meanwhile the
/// panels at `ahead` are asked for, which the next places have in the same columns.
#[inline(always)]
fn pairs<S: Simd, K: Kind>(
    s: S,
    tile: &[[TileBlock; 2]],
    panels: &[Panel<TOGETHER>],
    ahead: *const Panel<TOGETHER>,
    sums: &mut Sums,
) {
    let mut acc = [[s.splat(0.0); TOGETHER]; 2];
    for r in 0..2 {
        for t in 0..TOGETHER {
            acc[r][t] = s.load(&sums[r][t]);
        }
    }
    let steps = 8 / K::GROUPS;
    let mut done = Done::<S> { dots: [[s.splat_i(0); TOGETHER]; 2], block: &NOTHING, panel: &Panel::ZERO };
    for (index, (block, panel)) in tile.iter().zip(panels).enumerate() {
        prefetch_panel(s, ahead.wrapping_add(index));
        let mut dots = [[s.splat_i(0); TOGETHER]; 2];
        // The order is fixed, so that few registers are enough, and what is ready does not hold up the dot products, of
        // which each waits for the one before: left to itself, LLVM converts all of the last group's at once. (A macro,
        // not a loop, which would not be unrolled for what `settled` is.)
        macro_rules! columns {
            ($($k:literal)*) => {$({
                let (group, step) = ($k / steps, $k % steps);
                if step == 0 {
                    for t in 0..TOGETHER {
                        let start = s.splat_i(start::<K, _>(panel, group, t, MOVED));
                        for dots in &mut dots {
                            dots[t] = start;
                        }
                    }
                }
                let w = [s.load_i(&block[0].q[$k]), s.load_i(&block[1].q[$k])];
                for t in 0..TOGETHER {
                    for r in 0..2 {
                        dots[r][t] = dot4::<S, K>(s, dots[r][t], w[r], splat(s, panel.q[t][$k]));
                    }
                }
                dots[1][TOGETHER - 1] = s.settled(dots[1][TOGETHER - 1]);
                let chains = 2 * TOGETHER / steps;
                let before = (group + K::GROUPS - 1) % K::GROUPS;
                done.add::<K>(s, &mut acc, before, step * chains..(step + 1) * chains);
                if step + 1 == steps {
                    done = Done { dots, block: kept(block), panel: kept(panel) };
                }
            })*};
        }
        columns!(0 1 2 3 4 5 6 7);
    }
    done.add::<K>(s, &mut acc, K::GROUPS - 1, 0..2 * TOGETHER);
    for r in 0..2 {
        for t in 0..TOGETHER {
            sums[r][t] = s.to_array(acc[r][t]);
        }
    }
}

/// Asks for a panel, which is not in the nearest cache: there is room for a tile and the panels of four places.
#[inline(always)]
fn prefetch_panel<S: Simd>(s: S, at: *const Panel<TOGETHER>) {
    s.prefetch_lines(at.cast(), size_of::<Panel<TOGETHER>>().div_ceil(64), true);
}

/// What four places have of thirty-two columns besides their panel, where they are not [`pairs`]. It is little work, if
/// all of them are done at once: in the passes themselves, it would be done for each sixteen rows, one place after the
/// other.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Met {
    /// For weights of eight bits: the integers as i16, by two places, the even ones and then the odd, eight lanes of
    /// each place.
    sixteen_bits: [[[u32; 16]; 2]; TOGETHER / 2],
    /// For others: what dot products start from, by group and place, see [`start`].
    starts: [[i32; TOGETHER]; 2],
}

impl Met {
    const NOTHING: Self = Self { sixteen_bits: [[[0; 16]; 2]; TOGETHER / 2], starts: [[0; TOGETHER]; 2] };

    #[inline(always)]
    fn set<S: Simd, K: Kind>(&mut self, s: S, panel: &Panel<TOGETHER>, offset: i32) {
        if K::WIDE {
            let bytes: &[[u32; 16]; TOGETHER / 2] = bytemuck::cast_ref(&panel.q);
            for (to, bytes) in self.sixteen_bits.iter_mut().zip(bytes) {
                let [even, odd] = s.even_odd(s.load_i(bytes));
                *to = [s.to_array_i(even), s.to_array_i(odd)];
            }
        } else if !K::HAS_MIN {
            for (g, starts) in self.starts[..K::GROUPS].iter_mut().enumerate() {
                for (t, to) in starts.iter_mut().enumerate() {
                    *to = start::<K, _>(panel, g, t, offset);
                }
            }
        }
    }
}

/// Four places by the `i`th sixteen rows: for instruction sets with half as many registers of half the length. Meanwhile the
/// panels at `ahead` are asked for, which the next places have in the same columns.
#[inline(always)]
fn single<S: Simd, K: Kind>(
    s: S,
    tile: &[[TileBlock; 2]],
    i: usize,
    panels: &[Panel<TOGETHER>],
    ahead: *const Panel<TOGETHER>,
    met: &[Met; HALF],
    sums: &mut Sums,
) {
    let mut acc = [s.splat(0.0); TOGETHER];
    for t in 0..TOGETHER {
        acc[t] = s.load(&sums[i][t]);
    }
    for (index, ((block, panel), met)) in tile.iter().zip(panels).zip(met).enumerate() {
        if i == 0 {
            prefetch_panel(s, ahead.wrapping_add(index));
        }
        acc = group::<S, K>(s, acc, &block[i], panel, met, 0);
        if K::GROUPS == 2 {
            acc = group::<S, K>(s, acc, &block[i], panel, met, 1);
        }
    }
    for t in 0..TOGETHER {
        sums[i][t] = s.to_array(acc[t]);
    }
}

/// The chains' next steps, for group `g`.
#[inline(always)]
fn group<S: Simd, K: Kind>(
    s: S,
    mut acc: [S::F; TOGETHER],
    block: &TileBlock,
    panel: &Panel<TOGETHER>,
    met: &Met,
    g: usize,
) -> [S::F; TOGETHER] {
    let dot = if K::WIDE {
        sixteen_bits(s, block, met)
    } else {
        let start = |t: usize| s.splat_i(if K::HAS_MIN { 0 } else { met.starts[g][t] });
        let x = |t: usize, k: usize| splat(s, panel.q[t][k]);
        dots::<S, K, TOGETHER, true>(s, g, 0, start, |k| s.load_i(&block.q[k]), x)
    };
    let factors = [s.load(&block.scale[g]), s.load(&block.min[g])];
    for t in 0..TOGETHER {
        acc[t] = add::<S, K, _>(s, acc[t], dot[t], factors, panel, g, t);
    }
    acc
}

/// The dot products of integers of eight bits, as numbers of sixteen. As bytes, one factor would have to take its sign
/// from the other, and an i16 has room for the sum of two products only: as many instructions, but half as many again
/// that need a port which multiplies. That takes a tenth longer on Zen 4.
#[inline(always)]
fn sixteen_bits<S: Simd>(s: S, block: &TileBlock, met: &Met) -> [S::I; TOGETHER] {
    const { assert!(S::PAIRS || S::WIDE_OFFSET == 0) };
    let mut dots = [s.splat_i(0); TOGETHER];
    // (A macro, not a loop, which would not be unrolled for what `pinned` is.)
    macro_rules! columns {
        ($($k:literal)*) => {$({
            let w = s.even_odd(s.load_i(&block.q[$k]));
            for odd in 0..2 {
                for t in 0..TOGETHER {
                    let x = met.sixteen_bits[t / 2][odd][t % 2 * 8 + $k];
                    dots[t] = s.pinned(s.dot2(dots[t], w[odd], s.splat_i(x as i32)));
                }
            }
        })*};
    }
    columns!(0 1 2 3 4 5 6 7);
    dots
}

static NOTHING: [TileBlock; 2] = [TileBlock::NOTHING; 2];

/// A group whose dot products are done, but not yet in the chains.
struct Done<'a, S: Simd> {
    dots: [[S::I; TOGETHER]; 2],
    block: &'a [TileBlock; 2],
    panel: &'a Panel<TOGETHER>,
}

impl<S: Simd> Done<'_, S> {
    /// Adds group `group` of the columns to some of the chains, which are numbered by row, then place.
    #[inline(always)]
    fn add<K: Kind>(&self, s: S, acc: &mut [[S::F; TOGETHER]; 2], group: usize, chains: Range<usize>) {
        for chain in chains {
            let (r, t) = (chain / TOGETHER, chain % TOGETHER);
            let block = &self.block[r];
            let factors = [s.load(&block.scale[group]), s.load(&block.min[group])];
            acc[r][t] = add::<S, K, _>(s, acc[r][t], s.settled(self.dots[r][t]), factors, self.panel, group, t);
        }
    }
}
