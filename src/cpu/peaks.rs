//! What this machine can do at most, measured: what speeds are shares of.
//!
//! A kernel's speed means little by itself, since machines, their clocks and their neighbours differ from one minute to
//! the next. So the benches measure these peaks in the same run, with the threads that the kernels use.

use std::hint::black_box;
use std::time::Instant;

use bytemuck::Zeroable;

use super::float::Float;
use super::table::Kernels;
use super::vector::Simd;
#[cfg(target_arch = "x86_64")]
use super::x86_64::{Avx2, Avx512, PairsOfBf16};
use crate::pool::Pool;
use crate::{Bytes, Result};

/// Threads, and memory to read.
pub struct Peaks {
    pool: Pool,
    memory: Bytes,
}

/// Bytes that are read: far more than caches hold.
const MEMORY: usize = 512 << 20;
/// Bytes that a thread takes at a time.
const PIECE: usize = 1 << 20;
/// Chains in a piece of work. As many of them at a time as stay in registers, which is more than latency times
/// instructions a cycle.
const CHAINS: usize = 12;
/// Steps of each chain in a piece of work: a fraction of a millisecond.
const STEPS: usize = 20_000;
/// Pieces of work for each thread.
const PIECES: usize = 32;

impl Peaks {
    /// Takes the threads, and half a gigabyte of memory.
    ///
    /// # Errors
    /// [`crate::Error::NoMemory`], and [`crate::Error::InvalidArgument`] for a number of threads that a [`Pool`] does
    /// not take.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = Pool::new(threads)?;
        let memory = Bytes::filled(MEMORY, "memory to read", |memory| {
            memory.fill(0xa5); // not zeros, which the system may keep only once
            Ok(())
        })?;
        Ok(Self { pool, memory })
    }

    /// Gigabytes a second, read from memory from one end to the other by all threads.
    pub fn read(&mut self) -> f64 {
        let memory: &[u64] = bytemuck::cast_slice(&self.memory);
        let begin = Instant::now();
        self.pool.run(|team| {
            team.for_each(MEMORY / PIECE, |_, piece| {
                let (lines, _) = memory[piece * PIECE / 8..][..PIECE / 8].as_chunks::<16>();
                let mut sums = [0u64; 16];
                for line in lines {
                    sums.iter_mut().zip(line).for_each(|(sum, x)| *sum ^= x);
                }
                black_box(sums);
            });
        });
        MEMORY as f64 / begin.elapsed().as_secs_f64() / 1e9
    }

    /// Thousand million multiply-accumulates of bytes a second, all threads together; `None` for a table without
    /// vectors.
    pub fn dots(&mut self, kernels: &'static Kernels) -> Option<f64> {
        self.arithmetic(probes(kernels)?.dots, 64)
    }

    /// The same of f32, each a fused multiply-add.
    pub fn fmas(&mut self, kernels: &'static Kernels) -> Option<f64> {
        self.arithmetic(probes(kernels)?.fmas, 16)
    }

    /// The same of bfloat16, each instruction two for every lane; `None` for a table without it.
    pub fn pairs(&mut self, kernels: &'static Kernels) -> Option<f64> {
        self.arithmetic(probes(kernels)?.pairs?, 32)
    }

    /// `macs` are one step's of one chain.
    fn arithmetic(&mut self, chains: fn(usize), macs: usize) -> Option<f64> {
        let pieces = PIECES * self.pool.threads();
        let begin = Instant::now();
        self.pool.run(|team| team.for_each(pieces, |_, _| chains(STEPS)));
        Some((pieces * STEPS * CHAINS * macs) as f64 / begin.elapsed().as_secs_f64() / 1e9)
    }
}

/// Chains of the instructions of one table, so many steps long.
struct Probes {
    dots: fn(usize),
    fmas: fn(usize),
    pairs: Option<fn(usize)>,
}

#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn probes(kernels: &'static Kernels) -> Option<Probes> {
    #[cfg(target_arch = "x86_64")]
    {
        /// The probes, compiled for one implementation of the lanes.
        macro_rules! probes {
            ($lanes:ident, $together:literal, $features:literal) => {{
                #[target_feature(enable = $features)]
                unsafe fn dots(s: $lanes, steps: usize) {
                    for _ in 0..CHAINS / $together {
                        dot_chains::<_, $together>(s, steps)
                    }
                }
                #[target_feature(enable = $features)]
                unsafe fn fmas(s: $lanes, steps: usize) {
                    for _ in 0..CHAINS / $together {
                        fma_chains::<_, $together>(s, steps)
                    }
                }
                Probes {
                    dots: |steps| {
                        if let Some(s) = $lanes::detect() {
                            // SAFETY: the lanes' features were detected, and they are those.
                            unsafe { dots(s, steps) }
                        }
                    },
                    fmas: |steps| {
                        if let Some(s) = $lanes::detect() {
                            // SAFETY: the same.
                            unsafe { fmas(s, steps) }
                        }
                    },
                    pairs: None,
                }
            }};
        }
        #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        unsafe fn pairs(s: Avx512, steps: usize) {
            pair_chains::<_, PairsOfBf16>(s, steps)
        }
        match kernels.name() {
            "avx2" => return Some(probes!(Avx2, 4, "avx2,fma,f16c")),
            "avx512vnni" | "avx512bf16" => {
                let probes = probes!(Avx512, 12, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c");
                let pairs: fn(usize) = |steps| {
                    if let Some(s) = Avx512::detect() {
                        // SAFETY: there is a table with the instruction, so the CPU has it. (To try it anew would take time
                        // that is measured.)
                        unsafe { pairs(s, steps) }
                    }
                };
                return Some(Probes { pairs: (kernels.name() == "avx512bf16").then_some(pairs), ..probes });
            }
            _ => {}
        }
    }
    None
}

/// The weights change from step to step and `x` from chain to chain, so that no part of a product is the same twice. Lanes
/// without a dot product in one instruction have sums of pairs, as most products of weights have them.
#[inline(always)]
fn dot_chains<S: Simd, const N: usize>(s: S, steps: usize) {
    let (mut w, one) = (s.load_i(&black_box([0x0102_0304; 16])), s.splat_i(1));
    let x: [i32; N] = black_box(std::array::from_fn(|i| i32::from_le_bytes([i as u8, 0xfe, 3, 0xfc])));
    let mut sums: [S::I; N] = std::array::from_fn(|i| s.splat_i(i as i32));
    for _ in 0..steps {
        for (sum, x) in sums.iter_mut().zip(x) {
            let x = s.splat_i(x);
            *sum = if S::DOTS { s.dot4(*sum, w, x) } else { s.pair_sums(*sum, w, x) };
        }
        w = s.add_i(w, one);
    }
    black_box(sums.map(|sum| s.to_array_i(sum)));
}

#[inline(always)]
fn fma_chains<S: Simd, const N: usize>(s: S, steps: usize) {
    let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(0.25)));
    let mut sums: [S::F; N] = std::array::from_fn(|i| s.splat(i as f32));
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = s.fma(*sum, a, b);
        }
    }
    black_box(sums.map(|sum| s.to_array(sum)));
}

#[inline(always)]
fn pair_chains<S: Simd, W: Float<S>>(s: S, steps: usize) {
    let (a, b) = (
        W::weights(s, &black_box(W::Weights::zeroed()), 0),
        W::activations(s, &black_box(W::Activations::zeroed()), 0),
    );
    let mut sums: [S::F; CHAINS] = std::array::from_fn(|i| s.splat(i as f32));
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = W::fma(s, a, b, *sum);
        }
    }
    black_box(sums.map(|sum| s.to_array(sum)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_with_vectors_have_peaks() {
        let mut peaks = Peaks::new(2).unwrap();
        assert!(peaks.read() > 0.0);
        for kernels in Kernels::available() {
            let known = kernels.name() != "scalar";
            assert_eq!(peaks.dots(kernels).is_some_and(|peak| peak > 0.0), known, "{}", kernels.name());
            assert_eq!(peaks.fmas(kernels).is_some_and(|peak| peak > 0.0), known, "{}", kernels.name());
            let pairs = kernels.name() == "avx512bf16";
            assert_eq!(peaks.pairs(kernels).is_some_and(|peak| peak > 0.0), pairs, "{}", kernels.name());
        }
    }
}
