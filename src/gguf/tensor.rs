//! The tensor table: names, shapes, types and where the bytes are.

use std::fmt;

use crate::quant::GgmlType;

/// A tensor's dimensions, at most four. The first is the innermost: elements of a row lie side by side.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dims {
    ne: [usize; 4],
    n: usize,
}

impl Dims {
    /// From the innermost to the outermost; `None` if there are more than four or their product overflows.
    pub fn new(ne: &[usize]) -> Option<Dims> {
        let mut dims = Dims { ne: [1; 4], n: ne.len() };
        dims.ne.get_mut(..ne.len())?.copy_from_slice(ne);
        // the rows on their own too: with rows of no elements, their product could overflow unseen
        let rows = dims.ne[1..].iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        rows.checked_mul(dims.ne[0])?;
        Some(dims)
    }

    /// The dimensions the file gives, from the innermost on; trailing ones may or may not be there.
    pub fn as_slice(&self) -> &[usize] {
        &self.ne[..self.n]
    }

    /// Dimension `i` from the innermost, 1 beyond the last.
    pub fn get(&self, i: usize) -> usize {
        self.ne.get(i).copied().unwrap_or(1)
    }

    /// Elements in a row: the innermost dimension.
    pub fn row_len(&self) -> usize {
        self.ne[0]
    }

    /// Rows: the product of the other dimensions.
    pub fn rows(&self) -> usize {
        self.ne[1..].iter().product()
    }

    /// All elements.
    pub fn elements(&self) -> usize {
        self.ne.iter().product()
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// `[576, 1536]`, innermost first.
impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// One entry of the tensor table. Its bytes are [`Gguf::tensor_data`](super::Gguf::tensor_data).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name: `blk.0.attn_q.weight`.
    pub name: String,
    /// The type of the elements.
    pub ty: GgmlType,
    /// The dimensions. One may be zero; then the tensor has no bytes.
    pub dims: Dims,
    /// Where the entry is in its file, for errors.
    pub(super) at: usize,
    /// The number of the file in a split model.
    pub(super) part: usize,
    /// First byte, in the whole file.
    pub(super) start: usize,
    pub(super) len: usize,
}

impl TensorInfo {
    /// The size of the tensor's data in bytes.
    pub fn byte_len(&self) -> usize {
        self.len
    }

    /// The number of the file, from 0, that holds the data; 0 unless the model is split.
    pub fn part(&self) -> usize {
        self.part
    }

    /// The offset of the data from the start of that file, in bytes.
    pub fn file_offset(&self) -> u64 {
        self.start as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dims_multiply_without_overflow_or_not_at_all() {
        let dims = Dims::new(&[576, 3, 5]).unwrap();
        assert_eq!((dims.row_len(), dims.rows(), dims.elements()), (576, 15, 8640));
        assert_eq!((dims.get(2), dims.get(3), dims.get(9)), (5, 1, 1));
        assert_eq!(dims.to_string(), "[576, 3, 5]");
        assert_eq!(Dims::new(&[]).unwrap().elements(), 1);
        assert_eq!(Dims::new(&[0, 7]).unwrap().elements(), 0);
        assert_eq!(Dims::new(&[1; 5]), None);
        assert_eq!(Dims::new(&[usize::MAX, 2]), None);
        assert_eq!(Dims::new(&[0, usize::MAX, 2]), None);
    }
}
