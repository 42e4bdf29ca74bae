//! Sixteen rows side by side, for formats whose bytes have two bits of each of four groups: what it takes to bring rows
//! into lanes serves four times as many columns, and then no lanes are added.
//!
//! The two bits stay where they are in their bytes, so that nothing is shifted: their dot products are 4, 16 or 64
//! times as large, and meet as much smaller scales, which is exact.

use super::Streamed;
use crate::cpu::panel::BLOCK;
use crate::cpu::quantized::{add, dots, fetch, splat, start};
use crate::cpu::unpack::TwoBits;
use crate::cpu::vector::Simd;

/// Multiplies sixteen rows with one place or two. Meanwhile the rows behind them are asked for, one byte after the
/// other, into the second cache, and what follows of these into the first.
///
/// # Safety
/// As for [`super::streamed`].
#[inline(always)]
pub(in crate::cpu) unsafe fn side_by_side<S: Simd, U: TwoBits, const NT: usize>(s: S, p: Streamed<NT>) {
    let Streamed { rows, blocks, ahead, panels, sums, .. } = p;
    let (panels, _) = panels.as_chunks::<8>();
    assert!(U::LEN == 8 * BLOCK && panels.len() == blocks, "panels for these rows");
    let Some(last) = blocks.checked_sub(1) else { return };
    let mut acc = [s.splat(0.0); NT];
    // SAFETY: the caller's contract.
    let mut block = unsafe { rows.block(0, size_of::<U>()) };
    let mut bytes = [U::bytes(s, block, 0), U::bytes(s, block, 1)];
    for (index, panels) in panels.iter().enumerate() {
        // SAFETY: the caller's contract.
        let next = unsafe { rows.block(last.min(index + 1), size_of::<U>()) };
        for set in 0..4 {
            block.rows_from(4 * set).fetch_next(s, size_of::<U>());
        }
        let rest = U::rest(s, block);
        // (Macros, not closures: a closure that is not inlined would lose the target features.)
        macro_rules! group {
            ($half:literal, $j:literal, $sixteen:literal) => {
                let (panel, group) = (&panels[4 * $half + $j], 8 * $half + 2 * $j + $sixteen);
                let (q, factors) = U::group(s, &bytes[$sixteen], &rest, group);
                let mut dot = [s.splat_i(0); NT];
                for t in 0..NT {
                    dot[t] = s.splat_i(start::<U::Kind, NT>(panel, $sixteen, t, U::OFFSET << U::shift::<S>(group)));
                }
                let dot = dots::<S, U::Kind, NT, false>(
                    s,
                    $sixteen,
                    U::shift::<S>(group),
                    |t| dot[t],
                    |k| q[k % 4],
                    |t, k| splat(s, panel.q[t][k]),
                );
                for t in 0..NT {
                    acc[t] = add::<S, U::Kind, NT>(s, acc[t], dot[t], factors, panel, $sixteen, t);
                }
            };
        }
        // What comes after this half is loaded meanwhile: it is in the second cache, or on its way from there.
        macro_rules! half {
            ($half:literal, $after:expr, $first:literal, $($j:literal)*) => {
                let mut after = bytes;
                $(
                    fetch::<S, U>(s, ahead, 8 * index + 4 * $half + $j, false);
                    if $j % 2 == 0 {
                        after[$j / 2] = U::bytes(s, $after, $first + $j / 2);
                        after[$j / 2][3] = s.settled(after[$j / 2][3]);
                    }
                    group!($half, $j, 0);
                    group!($half, $j, 1);
                )*
                bytes = after;
            };
        }
        half!(0, block, 2, 0 1 2 3);
        half!(1, next, 0, 0 1 2 3);
        block = next;
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        *sums = s.to_array(acc);
    }
}
