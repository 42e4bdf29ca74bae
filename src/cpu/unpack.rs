//! Each quantized format as SIMD code: sixteen rows of weights, unpacked straight from the file's bytes.
//!
//! This is all that a format needs to have fast kernels on every instruction set: one function that turns a block of
//! sixteen rows into integers with the rows in the lanes, and hands them on in pieces of thirty-two columns. What then
//! happens to them (a dot product at once, or a tile kept for many tokens) is the [`Sink`]'s business, in `quantized`.
//! The scalar twin, and the picture of each format's bits, is its `Block` in `quant`.

mod k_quants;
mod legacy;

use super::vector::Simd;
use crate::quant::Block;

/// Sixteen consecutive rows of a matrix.
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
        BlockRows { base, stride: self.stride, bytes }
    }
}

/// The same pointer, about which the compiler knows nothing: from one block to the next it would otherwise keep sixteen
/// pointers or offsets, one for every row, more than there are registers; now it keeps the stride.
#[inline(always)]
fn opaque(pointer: *const u8) -> *const u8 {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut same = pointer;
    // SAFETY: nothing is done.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) same, options(pure, readonly, nostack, preserves_flags));
    }
    same
}

/// One block of each of sixteen rows.
#[derive(Clone, Copy)]
pub(super) struct BlockRows {
    base: *const u8,
    stride: usize,
    bytes: usize,
}

impl BlockRows {
    /// Bytes `at..at + 16` of the block in every row, transposed: see [`Simd::load_rows`].
    #[inline(always)]
    fn load<S: Simd>(self, s: S, at: usize) -> [S::I; 4] {
        assert!(at + 16 <= self.bytes, "within the block"); // constants: the check is gone when compiled
        // SAFETY: `Rows::new` saw sixteen strides of bytes, and `Rows::block` was promised this block in each.
        unsafe { s.load_rows(self.base.add(at), self.stride) }
    }

    /// Bytes `at..at + 64` likewise.
    #[inline(always)]
    pub(super) fn load64<S: Simd>(self, s: S, at: usize) -> [S::I; 16] {
        assert!(at + 64 <= self.bytes, "within the block"); // as above
        // SAFETY: as in `load`.
        unsafe { s.load_wide_rows(self.base.add(at), self.stride) }
    }

    /// Bytes `at..at + 32` likewise.
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

/// A format's SIMD twin.
pub(super) trait Unpack: Block {
    /// What the integers of [`Columns`] have too much, where they are not wide.
    const OFFSET: i32;
    /// Whether the integers use all eight bits and so are in the form made by [`Simd::wide`].
    const WIDE: bool;

    /// Unpacks `rows`, which are block `index` of their rows.
    fn unpack_rows<S: Simd>(s: S, rows: BlockRows, index: usize, sink: &mut impl Sink<S>);
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
