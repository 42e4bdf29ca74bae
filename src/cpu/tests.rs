//! Every table against the scalar one, bit for bit, on the CPU at hand; and the scalar one against plain arithmetic.

use std::ops::Range;

use super::*;
use crate::pool::Pool;
use crate::quant::{GgmlType, dequantize, is_supported};

/// Repeatable numbers (Steele et al., SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between -1 and 1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// Random weights of a type: random bits, with scales of a sensible size (some zero, some negative).
    fn weights(&mut self, ty: GgmlType, elements: usize) -> Vec<u8> {
        use GgmlType::*;
        let mut bytes: Vec<u8> = (0..ty.row_bytes(elements).unwrap()).map(|_| self.next() as u8).collect();
        match ty {
            F32 => return self.floats(elements).iter().flat_map(|x| x.to_le_bytes()).collect(),
            BF16 => return bytes.chunks_exact(2).flat_map(|_| self.float().to_le_bytes()[2..].to_vec()).collect(),
            _ => {}
        }
        for block in bytes.chunks_exact_mut(ty.block_bytes()) {
            for &at in scales(ty) {
                let scale = if self.next().is_multiple_of(16) { 0.0 } else { self.float() / 8.0 };
                block[at..at + 2].copy_from_slice(&half::f16::from_f32(scale).to_le_bytes());
            }
            if ty == MXFP4 {
                block[0] = if self.next().is_multiple_of(16) { block[0] % 3 } else { 110 + block[0] % 20 };
            }
        }
        bytes
    }
}

/// Where the f16 scales, and minimums, of a block are.
fn scales(ty: GgmlType) -> &'static [usize] {
    use GgmlType::*;
    match ty {
        F16 | Q4_0 | Q5_0 | Q8_0 | IQ4_NL | IQ4_XS => &[0],
        Q4_1 | Q5_1 | Q4_K | Q5_K => &[0, 2],
        Q2_K => &[80, 82],
        Q3_K => &[108],
        Q6_K => &[208],
        MXFP4 => &[],
        _ => unreachable!("{ty} has no blocks"),
    }
}

fn types() -> impl Iterator<Item = GgmlType> {
    GgmlType::all().filter(|ty| is_supported(*ty))
}

fn product(k: &'static Kernels, threads: usize, x: &[f32], m: Matrix) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / m.cols * m.rows];
    let mut pool = Pool::new(threads).unwrap();
    pool.run(|team| matmul(k, team, &mut Workspace::default(), &[m], x, &mut out));
    out
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn scalar() -> &'static Kernels {
    Kernels::available().next().unwrap()
}

#[test]
fn the_tables_of_this_cpu_are_all_there() {
    let names: Vec<_> = Kernels::available().map(Kernels::name).collect();
    assert_eq!(names[0], "scalar");
    assert_eq!(Kernels::best().name(), *names.last().unwrap());
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(names.contains(&"avx2"), is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));
        assert_eq!(names.contains(&"avx512vnni"), is_x86_feature_detected!("avx512vnni"));
        // (One whose instruction does something else would be news.)
        assert_eq!(names.contains(&"avx512bf16"), is_x86_feature_detected!("avx512bf16"));
    }
}

#[test]
fn matmul_is_scalar_bit_for_bit() {
    let mut random = Random(1);
    for ty in types() {
        // Floats of so many columns too that their rows meet some tokens before the others.
        let long = (17, if ty.block_len() == 1 { 400 } else { 3 });
        for (rows, blocks) in [(1, 1), (15, 2), (16, 1), long, (16, 20), (16, 27), (50, 2), (133, 1)] {
            let cols = blocks * ty.block_len().max(19);
            let data = random.weights(ty, rows * cols);
            let eight = Matrix { ty, data: &data, rows, cols, fine: false };
            for tokens in [1, 2, 3, 4, 5, 7, 8, 9, 13, 21] {
                let mut x = random.floats(tokens * cols);
                x[..cols.min(32)].fill(0.0);
                for m in [eight, Matrix { fine: true, ..eight }] {
                    let expected = product(scalar(), 1, &x, m);
                    for (k, threads) in Kernels::available().flat_map(|k| [(k, 1), (k, 3)]) {
                        let got = product(k, threads, &x, m);
                        assert_eq!(bits(&got), bits(&expected), "{} {ty} {rows}x{cols}, {tokens} tokens", k.name());
                    }
                    // A token's result does not depend on the others.
                    let alone = product(Kernels::best(), 1, &x[(tokens - 1) * cols..], m);
                    assert_eq!(
                        bits(&alone),
                        bits(&expected[(tokens - 1) * rows..]),
                        "{ty}, the last of {tokens} alone"
                    );
                }
            }
        }
    }
}

#[test]
fn sums_of_the_greatest_integers_are_exact() {
    let cols = 256;
    for ty in types().filter(|ty| ty.block_len() > 1) {
        for (fill, x) in [(0xff, 1.0), (0xff, -1.0), (0x80, 1.0), (0x80, -1.0), (0x00, 1.0), (0x00, -1.0)] {
            let mut data = vec![fill; 16 * ty.row_bytes(cols).unwrap()];
            for (block, kept) in data
                .chunks_exact_mut(ty.block_bytes())
                .zip(Random(3).weights(ty, 16 * cols).chunks_exact(ty.block_bytes()))
            {
                scales(ty).iter().for_each(|at| block[*at..at + 2].copy_from_slice(&kept[*at..at + 2]));
            }
            let m = Matrix { ty, data: &data, rows: 16, cols, fine: false };
            for tokens in [1, 2, 4] {
                let x = vec![x; tokens * cols];
                let expected = product(scalar(), 1, &x, m);
                for k in Kernels::available() {
                    let got = product(k, 1, &x, m);
                    assert_eq!(bits(&got), bits(&expected), "{} {ty} {fill:#x}, {tokens} tokens", k.name());
                }
            }
        }
    }
}

/// Of all magnitudes, subnormal numbers among them, which some instructions take for zeros.
#[test]
fn bf16_is_scalar_bit_for_bit_whatever_the_magnitudes() {
    let mut random = Random(7);
    let (rows, cols) = (33, 70);
    // A sign, an exponent of so many bits, from so much on, and a mantissa.
    let mut number = |least: u64, bits: u64| {
        let x = random.next();
        f32::from_bits((x as u32 & 0x807f_ffff) | ((least + (x >> 40) % bits) << 23) as u32)
    };
    for (least, bits) in [(0, 1), (0, 3), (0, 200), (60, 100), (120, 10)] {
        let data: Vec<u8> =
            (0..rows * cols).flat_map(|_| number(0, 40).to_bits().to_le_bytes()[2..].to_vec()).collect();
        let large: Vec<u8> =
            (0..rows * cols).flat_map(|_| number(100, 50).to_bits().to_le_bytes()[2..].to_vec()).collect();
        let x: Vec<f32> = (0..5 * cols).map(|_| number(least, bits)).collect();
        for (data, fine) in [(&data, false), (&data, true), (&large, false), (&large, true)] {
            let m = Matrix { ty: GgmlType::BF16, data, rows, cols, fine };
            for tokens in [1, 5] {
                let x = &x[..tokens * cols];
                let expected = product(scalar(), 1, x, m);
                for k in Kernels::available() {
                    // (What is not a number has any bits.)
                    let same = |(a, b): (f32, f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                    let got = product(k, 1, x, m);
                    let all = got.iter().copied().zip(expected.iter().copied()).all(same);
                    assert!(all, "{} {least} {bits}, {tokens} tokens, fine: {fine}: {got:?}, {expected:?}", k.name());
                }
            }
        }
    }
}

#[test]
fn activations_too_small_to_count_are_zeros() {
    let mut random = Random(4);
    let data = random.weights(GgmlType::Q4_0, 16 * 64);
    let m = Matrix { ty: GgmlType::Q4_0, data: &data, rows: 16, cols: 64, fine: true };
    let tiny: Vec<f32> = random.floats(64).iter().map(|x| x * 1e-28).collect();
    let small: Vec<f32> = random.floats(64).iter().map(|x| x * 1e-25).collect();
    for k in Kernels::available() {
        assert_eq!(product(k, 1, &tiny, m), [0.0; 16], "{}", k.name());
        assert!(product(k, 1, &small, m).iter().any(|x| *x != 0.0), "{}", k.name());
    }
}

#[test]
fn products_of_the_smallest_numbers_that_count_are_exact() {
    let (mut random, cols) = (Random(5), 256);
    for ty in types().filter(|ty| ty.block_len() > 1) {
        let mut data = random.weights(ty, 16 * cols);
        for block in data.chunks_exact_mut(ty.block_bytes()) {
            scales(ty).iter().for_each(|at| block[*at..at + 2].copy_from_slice(&[1, 0])); // 2^-24
        }
        let m = Matrix { ty, data: &data, rows: 16, cols, fine: false };
        // Thirty-two columns at a time, below the magnitude that counts and above.
        for (at, power) in (0..cols).step_by(32).flat_map(|at| [90, 89, 88, 87].map(|power| (at, power))) {
            let mut x = vec![0.0; cols];
            let size = f32::from_bits((127 - power) << 23);
            x[at..at + 32].iter_mut().zip(random.floats(32)).for_each(|(to, x)| *to = x * size);
            let expected = product(scalar(), 1, &x, m);
            for k in Kernels::available() {
                assert_eq!(bits(&product(k, 1, &x, m)), bits(&expected), "{} {ty}, 2^-{power}", k.name());
            }
        }
    }
}

#[test]
fn a_feed_forward_block_is_its_three_products() {
    let mut random = Random(9);
    let (cols, hidden) = (512, 768);
    for ty in types().filter(|ty| fuses(*ty, *ty, *ty)) {
        let mut matrix = |rows, cols| (random.weights(ty, rows * cols), rows, cols);
        let all = [matrix(hidden, cols), matrix(hidden, cols), matrix(cols, hidden)];
        let [gate, up, down] =
            (all.each_ref()).map(|(data, rows, cols)| Matrix { ty, data, rows: *rows, cols: *cols, fine: false });
        for tokens in [1, 2, 3, 9] {
            let x = random.floats(tokens * cols);
            for (k, threads) in Kernels::available().flat_map(|k| [(k, 1), (k, 3)]) {
                let (gate_x, up_x) = (product(k, 1, &x, gate), product(k, 1, &x, up));
                let mut hidden = vec![0.0; gate_x.len()];
                k.swiglu(&gate_x, &up_x, &mut hidden);
                let expected = product(k, 1, &hidden, down);
                let mut got = x.clone();
                let mut pool = Pool::new(threads).unwrap();
                pool.run(|team| feed_forward(k, team, &mut Workspace::default(), [gate, up, down], &mut got));
                assert_eq!(bits(&got), bits(&expected), "{} {ty}, {tokens} tokens", k.name());
            }
        }
    }
}

#[test]
fn matmul_is_near_the_exact_product() {
    let mut random = Random(2);
    for ty in types() {
        let (rows, cols) = (24, 4 * 256);
        let data = random.weights(ty, rows * cols);
        let x = random.floats(cols);
        let mut weights = vec![0.0; rows * cols];
        dequantize(ty, &data, &mut weights).unwrap();
        let m = Matrix { ty, data: &data, rows, cols, fine: false };
        let (got, fine) = (product(scalar(), 1, &x, m), product(scalar(), 1, &x, Matrix { fine: true, ..m }));
        for ((row, got), fine) in weights.chunks(cols).zip(got).zip(fine) {
            let terms = || row.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x));
            let exact: f64 = terms().sum();
            // Activations are rounded to 1/254 of their block's greatest; random signs make errors add as squares.
            let size: f64 = terms().zip(&x).map(|(t, x)| (t / f64::from(*x)).powi(2)).sum::<f64>().sqrt();
            let bound = match ty {
                GgmlType::F32 | GgmlType::F16 => 1e-5 * size.max(1.0),
                // To 1/512 of themselves.
                GgmlType::BF16 => 6.0 * size / 512.0 / 3f64.sqrt(),
                _ => 6.0 * size / 254.0 / 3f64.sqrt(),
            };
            assert!((f64::from(got) - exact).abs() <= bound, "{ty}: {got} for {exact}, bound {bound}");
            let bound = (bound / 100.0).max(1e-5 * size.max(1.0));
            assert!((f64::from(fine) - exact).abs() <= bound, "{ty}, fine: {fine} for {exact}, bound {bound}");
        }
    }
}

#[test]
fn several_matrices_share_their_tokens() {
    use GgmlType::*;
    let mut random = Random(3);
    let cols = 256;
    let kinds =
        [(Q4_K, 40, false), (F16, 7, false), (Q4_K, 33, true), (Q4_K, 16, true), (Q6_K, 65, true), (Q8_0, 16, false)];
    let data: Vec<_> = kinds.iter().map(|(ty, rows, _)| random.weights(*ty, rows * cols)).collect();
    let matrices: Vec<_> =
        (kinds.iter().zip(&data)).map(|(&(ty, rows, fine), data)| Matrix { ty, data, rows, cols, fine }).collect();
    let all: usize = matrices.iter().map(|m| m.rows).sum();
    let mut work = Workspace::default();
    for (k, tokens) in Kernels::available().flat_map(|k| [1, 3, 2, 1].map(|tokens| (k, tokens))) {
        let x = random.floats(tokens * cols);
        let mut out = vec![0.0; tokens * all];
        Pool::new(2).unwrap().run(|team| matmul(k, team, &mut work, &matrices, &x, &mut out));
        let mut before = 0;
        for m in &matrices {
            let alone = product(scalar(), 1, &x, *m);
            for t in 0..tokens {
                let (got, expected) = (&out[t * all + before..][..m.rows], &alone[t * m.rows..][..m.rows]);
                assert_eq!(bits(got), bits(expected), "{} {}, token {t} of {tokens}", k.name(), m.ty);
            }
            before += m.rows;
        }
    }
}

#[test]
fn many_tokens_are_dealt_out_to_threads() {
    let (mut random, tokens, cols, hidden) = (Random(7), 400, 64, 96);
    let x = random.floats(tokens * cols);
    for (ty, fine) in [(GgmlType::Q4_0, false), (GgmlType::Q8_0, true), (GgmlType::F16, false)] {
        let data = random.weights(ty, hidden * cols);
        let up = Matrix { ty, data: &data, rows: hidden, cols, fine };
        let down = Matrix { ty, data: &data, rows: cols, cols: hidden, fine };
        for k in Kernels::available() {
            for threads in [2, 3, 7] {
                let (alone, got) = (product(k, 1, &x, up), product(k, threads, &x, up));
                assert_eq!(bits(&got), bits(&alone), "{} {ty}, {threads} threads", k.name());
            }
            if fuses(ty, ty, ty) && !fine {
                let [alone, got] = [1, 3].map(|threads| {
                    let (mut x, mut work) = (x.clone(), Workspace::default());
                    let mut pool = Pool::new(threads).unwrap();
                    pool.run(|team| feed_forward(k, team, &mut work, [up, up, down], &mut x));
                    x
                });
                assert_eq!(bits(&got), bits(&alone), "{} {ty}, feed-forward", k.name());
            }
        }
    }
}

#[test]
fn rows_and_activations_are_scalar_bit_for_bit() {
    let mut random = Random(4);
    for n in (1..40).chain([64, 576, 1000]) {
        let (x, w, b) = (random.floats(n), random.floats(n), random.floats(n));
        let wide: Vec<f32> = x.iter().map(|x| x * 100.0).collect();
        let all = |k: &Kernels| {
            let mut rms = vec![0.0; n];
            k.rms_norm(&x, &w, 1e-5, &mut rms);
            let mut layer = vec![0.0; n];
            k.layer_norm(&x, &w, &b, 1e-5, &mut layer);
            let (mut silu, mut gelu) = (vec![0.0; n], wide.clone());
            k.swiglu(&wide, &w, &mut silu);
            k.gelu(&mut gelu);
            [bits(&rms), bits(&layer), bits(&silu), bits(&gelu)]
        };
        for k in Kernels::available() {
            assert_eq!(all(k), all(scalar()), "{} at {n}", k.name());
        }
    }
}

#[test]
fn activations_are_near_their_formulas() {
    let x: Vec<f32> = (-400..400).map(|i| i as f32 / 10.0).collect();
    let (mut silu, mut gelu) = (vec![0.0; x.len()], x.clone());
    scalar().swiglu(&x, &vec![1.0; x.len()], &mut silu);
    scalar().gelu(&mut gelu);
    for ((x, silu), gelu) in x.into_iter().map(f64::from).zip(silu).zip(gelu) {
        let exact = x / (1.0 + (-x).exp());
        assert!((f64::from(silu) - exact).abs() <= 3e-7 * (exact.abs() + 1e-9), "silu({x}) = {silu}, exactly {exact}");
        let tanh = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        let exact = 0.5 * x * (1.0 + tanh.tanh());
        assert!((f64::from(gelu) - exact).abs() <= 1e-6 * exact.abs().max(0.1), "gelu({x}) = {gelu}, exactly {exact}");
    }
}

#[test]
fn norms_of_known_vectors() {
    let mut out = [0.0; 4];
    scalar().rms_norm(&[3.0, -3.0, 3.0, 3.0], &[1.0, 1.0, 2.0, 0.5], 0.0, &mut out);
    assert_eq!(out, [1.0, -1.0, 2.0, 0.5]);
    scalar().layer_norm(&[1.0, 3.0, 1.0, 3.0], &[1.0, 1.0, 2.0, 2.0], &[0.0, 0.5, 0.0, 0.0], 0.0, &mut out);
    assert_eq!(out, [-1.0, 1.5, -2.0, 2.0]);
}

/// Keys and values for some positions of one head, stored page by page.
fn stored(k: &Kernels, ty: KvType, dim: usize, keys: &[f32], values: &[f32]) -> Vec<Vec<u64>> {
    let positions = keys.len() / dim;
    let mut pages = vec![vec![0u64; ty.part_bytes(dim) / 8]; positions.div_ceil(PAGE)];
    for i in 0..positions {
        let (page, at) = (bytemuck::cast_slice_mut(&mut pages[i / PAGE]), i * dim);
        k.store(ty, page, i, &keys[at..][..dim], &values[at..][..dim]);
    }
    pages
}

fn attention(k: &Kernels, ty: KvType, dim: usize, pages: &[Vec<u64>], q: &[f32], sees: &[Range<usize>]) -> Vec<f32> {
    let mut out = vec![f32::NAN; q.len()];
    let mut queries: Vec<_> = (q.chunks(dim).zip(out.chunks_mut(dim)).zip(sees))
        .map(|((q, out), sees)| Query { q, sees: sees.clone(), out })
        .collect();
    let pages: Vec<&[u8]> = pages.iter().map(|page| bytemuck::cast_slice(page)).collect();
    k.attend(&HeadPages { ty, pages: &pages, at: 0, head_dim: dim }, &mut queries, &mut Room::default());
    out
}

/// The same, each page on its own.
fn by_page(k: &Kernels, ty: KvType, dim: usize, pages: &[Vec<u64>], q: &[f32], sees: &[Range<usize>]) -> Vec<f32> {
    let pages: Vec<&[u8]> = pages.iter().map(|page| bytemuck::cast_slice(page)).collect();
    let head = HeadPages { ty, pages: &pages, at: 0, head_dim: dim };
    let one = |(q, sees): (&[f32], &Range<usize>)| {
        let parts: Vec<_> = (sees.start / PAGE..sees.end.div_ceil(PAGE))
            .map(|page| {
                let mut out = vec![f32::NAN; dim + PART];
                let sees = sees.start.max(page * PAGE)..sees.end.min((page + 1) * PAGE);
                k.attend(&head, &mut [Query { q, sees, out: &mut out }], &mut Room::default());
                out
            })
            .collect();
        let mut all = vec![0.0; dim + PART];
        all[dim] = f32::NEG_INFINITY;
        k.merge(&mut all, parts.iter().map(|part| &part[..]));
        let inverse = 1.0 / all[dim + 1];
        all[..dim].iter().map(|o| o * inverse).collect::<Vec<_>>()
    };
    q.chunks(dim).zip(sees).flat_map(one).collect()
}

#[test]
fn attention_is_scalar_bit_for_bit_and_near_the_formula() {
    attention_over(KvType::F16, 2e-3);
    attention_over(KvType::F32, 2e-6);
    attention_over(KvType::Q8_0, 4e-2);
}

/// With such a cache, which may be so far from the formula.
fn attention_over(ty: KvType, bound: f64) {
    let mut random = Random(5);
    // More queries than go through a page together, or what is left of them goes by itself.
    for (dim, queries) in [(4, 115), (16, 27), (48, 27), (64, 27), (100, 27), (128, 9)] {
        for (positions, window) in
            [1, 2, 16, 17, 127, 128, 129, 300].into_iter().flat_map(|n| [(n, n), (n, 1), (n, 70)])
        {
            let (keys, values) = (random.floats(positions * dim), random.floats(positions * dim));
            let q: Vec<f32> = random.floats(queries * dim).iter().map(|x| x * 0.7).collect();
            let ends = (0..queries).map(|i| positions.saturating_sub(i * i).max(1));
            let sees: Vec<_> = ends.map(|end: usize| end.saturating_sub(window)..end).collect();
            let pages = stored(scalar(), ty, dim, &keys, &values);
            let expected = attention(scalar(), ty, dim, &pages, &q, &sees);
            for k in Kernels::available() {
                assert_eq!(stored(k, ty, dim, &keys, &values), pages, "{}", k.name());
                let got = attention(k, ty, dim, &pages, &q, &sees);
                assert_eq!(bits(&got), bits(&expected), "{} {ty:?} dim {dim}, {window} of {positions}", k.name());
                let parted = by_page(k, ty, dim, &pages, &q, &sees);
                assert_eq!(bits(&parted), bits(&expected), "{} {ty:?} by page", k.name());
                for i in [0, 4, 8] {
                    let alone = attention(k, ty, dim, &pages, &q[i * dim..][..dim], &sees[i..=i]);
                    assert_eq!(bits(&alone), bits(&expected[i * dim..][..dim]), "query {i} alone");
                }
            }
            for ((q, out), sees) in q.chunks(dim).zip(expected.chunks(dim)).zip(sees) {
                let dot = |j: usize| -> f64 { (0..dim).map(|d| f64::from(q[d]) * f64::from(keys[j * dim + d])).sum() };
                let weights: Vec<f64> = sees.clone().map(|j| dot(j).exp2()).collect();
                let sum: f64 = weights.iter().sum();
                for d in 0..dim {
                    let value = |j: usize| f64::from(values[j * dim + d]);
                    let exact: f64 = sees.clone().zip(&weights).map(|(j, w)| w / sum * value(j)).sum();
                    assert!((f64::from(out[d]) - exact).abs() < bound, "{ty:?}: {} for {exact}", out[d]);
                }
            }
        }
    }
}
