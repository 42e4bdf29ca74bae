//! The kernels: one table per instruction set, every entry equal bit for bit to the scalar one.
//!
//! The kernels are written once over sixteen lanes (`vector::Simd`) and compiled for each instruction set;
//! `quantized::scalar` is the plain statement of what a quantized product is. Which table to use is a choice at run
//! time: [`Kernels::best`], or any of [`Kernels::available`].
#![allow(unsafe_code)] // intrinsics, and results written by several threads into one matrix
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // what only tables with vectors call
#![allow(clippy::needless_range_loop)] // a kernel walks several arrays of registers by one index

mod attention;
mod bf16;
mod float;
mod glu;
mod kv;
mod math;
mod matmul;
mod norm;
mod panel;
mod peaks;
mod quantized;
mod scalar;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod tile;
mod unpack;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::collections::TryReserveError;

pub use attention::{HeadPages, PART, Query, Room};
pub use kv::{KvType, MAX_HEAD_DIM, PAGE};
pub use matmul::{Cols, Matrix, Workspace, feed_forward, fuses, matmul};
pub use panel::Activations;
pub use peaks::Peaks;
pub use table::Kernels;

/// Takes memory so that a buffer can have so many elements, and no more than that.
pub(crate) fn room<T>(buffer: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
    buffer.try_reserve_exact(len.saturating_sub(buffer.len()))
}
