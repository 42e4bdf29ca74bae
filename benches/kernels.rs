//! Matrix products by weight type and kernel table, on one thread.
//!
//! `decode`: one token; the throughput is bytes of weights. `prefill`: 256 tokens; the throughput is
//! multiply-accumulates ("elements"). The matrix is larger than the caches.
//!
//! ```text
//! cargo bench --bench kernels -- decode/Q4_K
//! ```

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pumice::cpu::{Matrix, Workspace, matmul};
use pumice::pool::Pool;
use pumice::quant::{GgmlType, is_supported};
use pumice::{Kernels, Result};

const COLS: usize = 2048;

/// Bytes of a matrix whose weights are small and finite, whatever the type.
fn weights(ty: GgmlType, rows: usize) -> Vec<u8> {
    let len = ty.row_bytes(COLS).expect("whole blocks") * rows;
    // As f16, f32 or bf16 scales or weights this is between 1e-3 and 1e-2; as integers and exponents it is what it is.
    [0x38u8, 0x1c, 0x3c, 0x1b].into_iter().cycle().take(len).collect()
}

fn products(c: &mut Criterion, group: &str, tokens: usize, rows: usize) -> Result<()> {
    let mut pool = Pool::new(1)?;
    let x: Vec<f32> = (0..tokens * COLS).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect();
    let mut out = vec![0.0; tokens * rows];
    for ty in GgmlType::all().filter(|ty| is_supported(*ty)) {
        let data = weights(ty, rows);
        let m = Matrix { ty, data: &data, rows, cols: COLS };
        let mut group = c.benchmark_group(format!("{group}/{ty}"));
        group.throughput(match tokens {
            1 => Throughput::Bytes(data.len() as u64),
            _ => Throughput::Elements((tokens * rows * COLS) as u64),
        });
        // The scalar table is the specification, not a contender.
        for kernels in Kernels::available().skip(1) {
            let mut work = Workspace::default();
            group.bench_function(BenchmarkId::from_parameter(kernels.name()), |b| {
                pool.run(|team| b.iter(|| matmul(kernels, team, &mut work, &[m], &x, &mut out)));
            });
        }
    }
    Ok(())
}

fn decode(c: &mut Criterion) {
    products(c, "decode", 1, 32 * 1024).expect("one thread");
}

fn prefill(c: &mut Criterion) {
    products(c, "prefill", 256, 1024).expect("one thread");
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = decode, prefill
}
criterion_main!(benches);
