//! Each quantized format as SIMD code, straight from the file's bytes.
//!
//! This is all that a format needs to have fast kernels on every instruction set. One function turns a block of sixteen
//! rows into integers with the rows in the lanes, and hands them on in pieces of thirty-two columns; what then happens
//! to them (mostly a tile kept for many tokens) is the [`Sink`]'s business, in `tile` and `stream`. For one token there
//! are a row's integers as they lie, and the scales of sixteen rows with the rows in the lanes: see `stream::sixteen`
//! and `stream::in_turn`. A format that is [`Eight`] also has a function for eight rows and two groups of columns,
//! which one token reads from memory faster on CPUs with a large nearest cache; one that has [`TwoBits`] has sixteen
//! rows' integers where they are in their bytes. The scalar twin, and the picture of each format's bits, is its `Block`
//! in `quant`.

mod k_quants;
mod legacy;

use std::ops::Range;

use super::quantized::Kind;
use super::stream::{self, Order, SixteenFactors, Streamed};
use super::vector::{Simd, offset};
use crate::quant::Block;

/// Sixteen consecutive rows of a matrix, or copies of fewer.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// The first byte of the first row.
    base: *const u8,
    /// Bytes from one row to the next.
    stride: usize,
}

impl Rows {
    /// The sixteen rows at the start of `bytes`, `stride` bytes each.
    pub(super) fn new(bytes: &[u8], stride: usize) -> Self {
        assert!(bytes.len() >= 16 * stride, "sixteen rows of {stride} bytes do not fit in {}", bytes.len());
        Self { base: bytes.as_ptr(), stride }
    }

    /// Block `index` of every row, `bytes` long.
    ///
    /// # Safety
    /// `(index + 1) * bytes <= stride`, and what `new` was given stays borrowed as long as the result is used.
    #[inline(always)]
    pub(super) unsafe fn block(self, index: usize, bytes: usize) -> BlockRows {
        // SAFETY: the caller's contract.
        let base = opaque(unsafe { self.base.add(index * bytes) });
        BlockRows { base, strides: [self.stride, 2 * self.stride, 4 * self.stride], bytes }
    }

    /// Bytes from one row to the next.
    #[inline(always)]
    pub(super) fn stride(self) -> usize {
        self.stride
    }

    /// The first byte of a row.
    #[inline(always)]
    pub(super) fn row(self, row: usize) -> *const u8 {
        self.base.wrapping_add(row * self.stride)
    }

    /// Block `block`, `bytes` long, of rows `row..row + 8`, and the next one if it is used.
    ///
    /// # Safety
    /// As for [`Rows::block`], of the last block and row.
    #[inline(always)]
    pub(super) unsafe fn eight(self, row: usize, block: usize, bytes: usize) -> BlockRows {
        let base = opaque(self.row(row).wrapping_add(block * bytes));
        BlockRows { base, strides: [bytes, self.stride, 2 * self.stride], bytes }
    }

    /// Block `block`, `bytes` long, of row `row`, and the next three if they are used.
    ///
    /// # Safety
    /// As for [`Rows::block`], of the last block and row.
    #[inline(always)]
    pub(super) unsafe fn one(self, row: usize, block: usize, bytes: usize) -> BlockRows {
        let base = opaque(self.row(row).wrapping_add(block * bytes));
        BlockRows { base, strides: [0, 0, bytes], bytes }
    }

    /// These blocks of rows `row..row + R`, at most `N`, and zeros behind them.
    ///
    /// # Safety
    /// As for [`Rows::block`], of the last row.
    pub(super) unsafe fn last<U: Unpack, const N: usize, const R: usize>(
        self,
        row: usize,
        blocks: Range<usize>,
    ) -> [[U; N]; R] {
        let mut copies = [[U::zeroed(); N]; R];
        for (r, copies) in copies.iter_mut().enumerate() {
            for (to, block) in copies.iter_mut().zip(blocks.clone()) {
                // SAFETY: the caller's contract; any bytes are a block.
                *to = unsafe { self.row(row + r).cast::<U>().wrapping_add(block).read_unaligned() };
            }
        }
        copies
    }

    /// The rows of such copies.
    #[inline(always)]
    pub(super) fn of<U, const N: usize, const R: usize>(copies: &[[U; N]; R]) -> Self {
        Self { base: copies.as_ptr().cast(), stride: size_of::<[U; N]>() }
    }
}

/// The same reference, about which the compiler knows nothing: it keeps it, instead of finding it again.
#[inline(always)]
pub(super) fn kept<T>(x: &T) -> &T {
    // SAFETY: it is a reference's pointer.
    unsafe { &*opaque(x) }
}

/// The same pointer, about which the compiler knows nothing: from one block to the next it would otherwise keep sixteen
/// pointers or offsets, one for every row, more than there are registers; now it keeps the stride.
#[inline(always)]
fn opaque<T>(pointer: *const T) -> *const T {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut same = pointer;
    // SAFETY: nothing is done.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) same, options(pure, readonly, nostack, preserves_flags));
    }
    same
}

/// One block of each of sixteen rows, one or two of each of eight, or four of one row or of each of four.
#[derive(Clone, Copy)]
pub(super) struct BlockRows {
    base: *const u8,
    /// As [`Simd::load_rows`] takes them.
    strides: [usize; 3],
    /// The length of a block.
    bytes: usize,
}

impl BlockRows {
    /// The blocks of the rows from this one of sixteen on.
    #[inline(always)]
    pub(super) fn rows_from(self, row: usize) -> Self {
        Self { base: self.base.wrapping_add(offset(self.strides, row)), ..self }
    }

    /// Asks for so many bytes behind the same number of each of four rows to come from the second-level cache into the
    /// first.
    #[inline(always)]
    pub(super) fn fetch_next<S: Simd>(self, s: S, bytes: usize) {
        for row in 0..4 {
            let next = self.base.wrapping_add(offset(self.strides, row) + bytes);
            s.prefetch_lines(next, bytes.div_ceil(64), true);
        }
    }

    /// The `n`th block from here of each row.
    #[inline(always)]
    pub(super) fn next(self, n: usize) -> Self {
        Self { base: self.base.wrapping_add(n * self.bytes), ..self }
    }

    /// Of row `row` of four, sixteen bytes of its block from each of these places on.
    #[inline(always)]
    fn quarters<S: Simd>(self, s: S, row: usize, at: [usize; 4]) -> S::I {
        for at in at {
            assert!(at + 16 <= self.bytes, "within the block"); // as below
        }
        // SAFETY: as in `load`.
        unsafe { s.load_quarters(self.base.add(offset(self.strides, row)), at) }
    }

    /// Of bytes `at..at + 64` of its block, see [`Simd::load_halves_twice`].
    #[inline(always)]
    fn halves_twice<S: Simd>(self, s: S, row: usize, at: usize, second: bool) -> S::I {
        assert!(at + 64 <= self.bytes, "within the block"); // as below
        // SAFETY: as in `load`.
        unsafe { s.load_halves_twice(self.base.add(offset(self.strides, row)), at, second) }
    }

    /// The same bytes of each of its four blocks.
    #[inline(always)]
    fn blocks<S: Simd>(self, s: S, row: usize, at: usize) -> S::I {
        assert!(at + 16 <= self.bytes, "within the block"); // as below
        let bytes = self.bytes;
        // SAFETY: as in `load`.
        unsafe {
            s.load_quarters(self.base.add(offset(self.strides, row)), [at, at + bytes, at + 2 * bytes, at + 3 * bytes])
        }
    }

    /// Bytes `at..at + 4` of each of them.
    #[inline(always)]
    fn dwords(self, row: usize, at: usize) -> [u32; 4] {
        assert!(at + 4 <= self.bytes, "within the block"); // as below
        let mut dwords = [0; 4];
        for (block, dword) in dwords.iter_mut().enumerate() {
            let at = offset(self.strides, row) + block * self.bytes + at;
            // SAFETY: as in `load`.
            *dword = u32::from_le_bytes(unsafe { self.base.add(at).cast::<[u8; 4]>().read() });
        }
        dwords
    }

    /// Bytes `at..at + 16` of the block in every row, transposed: see [`Simd::load_rows`].
    #[inline(always)]
    fn load<S: Simd>(self, s: S, at: usize) -> [S::I; 4] {
        assert!(at + 16 <= self.bytes, "within the block"); // constants: the check is gone when compiled
        // SAFETY: `Rows::new` saw sixteen strides of bytes, and whatever made this was promised that its blocks are there.
        unsafe { s.load_rows(self.base.add(at), self.strides) }
    }

    /// Bytes `at..at + 4` of each block.
    #[inline(always)]
    fn dword<S: Simd>(self, s: S, at: usize) -> S::I {
        let last = at + 16 > self.bytes;
        assert!(at + 4 <= self.bytes && (!last || at >= 12), "within the block"); // as above
        // SAFETY: as in `load`.
        unsafe { s.load_dwords(self.base.add(at), self.strides, last) }
    }

    /// The IEEE half at bytes `at` and `at + 1` of each block.
    #[inline(always)]
    fn half<S: Simd>(self, s: S, at: usize) -> S::F {
        let last = at + 16 > self.bytes;
        assert!(at + 2 <= self.bytes && (!last || at >= 14), "within the block"); // as above
        // SAFETY: as in `load`.
        unsafe { s.load_halves(self.base.add(at), self.strides, last) }
    }

    /// The IEEE half at the start of each block and of the next three.
    #[inline(always)]
    fn four_halves<S: Simd>(self, s: S) -> [S::F; 4] {
        // SAFETY: as in `load`.
        unsafe { s.load_four_halves(self.base, self.strides, self.bytes) }
    }

    /// Of eight rows, the first of the two blocks, once for each even lane and once for the next.
    #[inline(always)]
    fn twice(self) -> Self {
        let [_, middle, far] = self.strides;
        Self { strides: [0, middle, far], ..self }
    }

    /// Of eight rows, bytes `at..at + 16` of the first of the two blocks in the even lanes, `at + 16..at + 32` in the
    /// others.
    #[inline(always)]
    fn halves<S: Simd>(self, s: S, at: usize) -> [S::I; 4] {
        assert!(at + 32 <= self.bytes, "within the block"); // as above
        let [_, middle, far] = self.strides;
        Self { strides: [16, middle, far], ..self }.load(s, at)
    }

    /// Bytes `at..at + 32` of each block, transposed likewise.
    #[inline(always)]
    fn load32<S: Simd>(self, s: S, at: usize) -> [S::I; 8] {
        let (a, b) = (self.load(s, at), self.load(s, at + 16));
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
    }
}

/// Thirty-two columns of sixteen rows. Lane `r` of `q[g]` holds the integers of columns `4g..4g + 4` of row `r`.
#[derive(Clone, Copy)]
pub(super) struct Columns<S: Simd> {
    /// Integers with the format's offset still in them, or in the wide form.
    pub q: [S::I; 8],
    /// The scale of each group; the second is used by formats with groups of sixteen.
    pub scale: [S::F; 2],
    /// The minimum of each group; used by formats that have them.
    pub min: [S::F; 2],
}

/// Takes unpacked columns, in order.
pub(super) trait Sink<S: Simd> {
    /// Columns `32 at..32 at + 32`.
    fn take(&mut self, at: usize, columns: Columns<S>);
}

/// Takes two groups of each of eight rows, which are neighbours in the rows' chains: one in the even lanes, the next in
/// the odd ones, in order. With them come scales and minimums, if the format has them, in the same lanes.
pub(super) trait Meet<S: Simd> {
    /// Columns `64 at..64 at + 64`: thirty-two in each group.
    fn wholes(&mut self, at: usize, q: [S::I; 8], scale: S::F, min: S::F);
    /// The same, but the lanes of `first` hold the two halves of the first group, those of `second` of the second.
    fn divided(&mut self, at: usize, first: [S::I; 4], second: [S::I; 4], scale: S::F, min: S::F);
    /// The `i`th thirty-two of these columns: sixteen in each group.
    fn halves(&mut self, at: usize, i: usize, q: [S::I; 4], scale: S::F, min: S::F);
}

/// A format's SIMD twin.
pub(super) trait Unpack: Block {
    /// What the integers of [`Columns`] have too much, where they are not wide.
    const OFFSET: i32;
    /// What sets its chain apart.
    type Kind: Kind;

    /// Unpacks `rows`, which are block `index` of their rows.
    fn unpack_rows<S: Simd>(s: S, rows: BlockRows, index: usize, sink: &mut impl Sink<S>);

    /// The scales and minimums of sixteen rows: of a super-block's groups, or of four blocks of thirty-two columns.
    /// What there is less of, may be anything.
    fn factors_sixteen<S: Simd>(s: S, rows: BlockRows) -> SixteenFactors<S>;

    /// The `i`th sixty-four integers of one of these rows, with [`Unpack::OFFSET`], or wide. If sixteen columns are a
    /// group, they are those of four groups, in order; if thirty-two are, of four groups the first half of each (`i`
    /// even) or the second.
    fn integers<S: Simd>(s: S, rows: BlockRows, row: usize, i: usize) -> S::I;

    /// How activations are arranged, for eight rows if the format is [`Eight`]; `None` if they are not, for rows side
    /// by side.
    fn order<S: Simd>() -> Option<Order> {
        Some(Order::Quarters)
    }

    /// Multiplies sixteen rows with one place or two.
    ///
    /// # Safety
    /// As for [`stream::streamed`].
    #[inline(always)]
    unsafe fn streamed<S: Simd, const NT: usize>(s: S, p: Streamed<NT>) {
        // SAFETY: the caller's contract.
        unsafe { stream::in_order::<S, Self, NT>(s, p) }
    }
}

/// [`Unpack::order`] and [`Unpack::streamed`] for a format that is [`Eight`].
macro_rules! eight_rows {
    ($order:ident) => {
        fn order<S: Simd>() -> Option<$crate::cpu::stream::Order> {
            Some($crate::cpu::stream::Order::$order)
        }

        #[inline(always)]
        unsafe fn streamed<S: Simd, const NT: usize>(s: S, p: $crate::cpu::stream::Streamed<NT>) {
            // SAFETY: the caller's contract.
            unsafe { $crate::cpu::stream::eight::<S, Self, NT>(s, p) }
        }
    };
}
use eight_rows;

/// [`Unpack::order`] and [`Unpack::streamed`] for a format that has [`TwoBits`].
macro_rules! side_by_side {
    () => {
        fn order<S: Simd>() -> Option<$crate::cpu::stream::Order> {
            if S::DOTS || Self::ALWAYS { None } else { Some($crate::cpu::stream::Order::Quarters) }
        }

        #[inline(always)]
        unsafe fn streamed<S: Simd, const NT: usize>(s: S, p: $crate::cpu::stream::Streamed<NT>) {
            // SAFETY: the caller's contract.
            unsafe {
                match Self::order::<S>() {
                    None => $crate::cpu::stream::side_by_side::<S, Self, NT>(s, p),
                    Some(_) => $crate::cpu::stream::in_order::<S, Self, NT>(s, p),
                }
            }
        }
    };
}
use side_by_side;

/// A format that has two bits of columns `128 h + 32 j + i` in byte `32 h + i` of some, from bit `2 j` on, and sixteen
/// columns in a group.
pub(super) trait TwoBits: Unpack {
    /// Where these bytes begin.
    const AT: usize;
    /// Whether rows are side by side also where lanes are not [`Simd::DOTS`].
    const ALWAYS: bool;

    /// The `n`th sixteen of them.
    #[inline(always)]
    fn bytes<S: Simd>(s: S, rows: BlockRows, n: usize) -> [S::I; 4] {
        rows.load(s, Self::AT + 16 * n)
    }

    /// What there is besides.
    type Rest<S: Simd>;

    /// All of it.
    fn rest<S: Simd>(s: S, rows: BlockRows) -> Self::Rest<S>;

    /// How far a group's integers are from the lowest bits of their bytes in what [`TwoBits::group`] gives: six at
    /// most, and where lanes are not [`Simd::DOTS`] no further than that they are below 128.
    fn shift<S: Simd>(group: usize) -> u32;

    /// The integers of a group, from the sixteen bytes with its two bits, and its scale and minimum, for integers that
    /// are so far.
    fn group<S: Simd>(s: S, bytes: &[S::I; 4], rest: &Self::Rest<S>, group: usize) -> ([S::I; 4], [S::F; 2]);
}

/// A format that also unpacks eight rows at a time.
pub(super) trait Eight: Unpack {
    /// Unpacks eight rows; they are block `index` of theirs, or the `index`th two blocks of thirty-two columns.
    fn unpack_eight<S: Simd>(s: S, rows: BlockRows, index: usize, to: &mut impl Meet<S>);
}

/// Unpacks block `index` of each row.
///
/// # Safety
/// The rows hold more than `index` blocks of this format, and are still borrowed.
#[inline(always)]
pub(super) unsafe fn unpack<S: Simd, U: Unpack>(s: S, rows: Rows, index: usize, sink: &mut impl Sink<S>) {
    // SAFETY: the caller's contract.
    U::unpack_rows(s, unsafe { rows.block(index, size_of::<U>()) }, index, sink);
}
