//! Sorting of lists that are sorted once.

use std::cmp::Ordering;

/// The numbers below `count` in the order of what they stand for; where `compare` finds none, in their own.
///
/// All lists that need not be sorted often share this one sort: a sort of their own would take ten kilobytes of the library
/// for each.
pub(crate) fn order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}
