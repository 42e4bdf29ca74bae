//! The kernels by weight type and table: what they reach, and what share that is of what the machine can do.
//!
//! ```text
//! cargo bench --bench kernels                       everything: some minutes
//! cargo bench --bench kernels -- matmul/Q4_K/1/     one type, one token
//! taskset -c 0 cargo bench --bench kernels          on one core
//! ```
//!
//! `matmul/TYPE/TOKENS` multiplies so many tokens by a matrix on all threads; but for prompts (512 tokens) the matrix is
//! larger than the caches. The others run on one thread. Each bench is followed by a line with its median: bytes (of
//! weights, of keys and values, or of what else is read and written) and multiply-accumulates a second, and their shares
//! of the peaks that are measured just after: of reading memory only where the bytes come from there. Run as a test,
//! every bench runs once, with small operands.

use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use pumice::cpu::{HeadPages, KvType, Matrix, PAGE, Peaks, Query, Room, Workspace, matmul};
use pumice::pool::{Pool, Team};
use pumice::quant::{GgmlType, is_supported};
use pumice::{Kernels, Result};

const COLS: usize = 2048;

/// Threads, and what they can do at most; `None` in a test, which has no time to find out.
struct Machine {
    pool: Pool,
    peaks: Option<Peaks>,
}

/// What one run of a bench does.
struct Work {
    bytes: usize,
    /// Whether they come from memory, not from the caches.
    memory: bool,
    macs: usize,
    of: Of,
}

/// What is multiplied.
#[derive(PartialEq)]
enum Of {
    Bytes,
    Bf16,
    Floats,
}

/// Whether speeds count, and this is not a test.
fn measures() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// The tables worth measuring. The scalar one is the specification, not a contender.
fn tables() -> impl Iterator<Item = &'static Kernels> {
    Kernels::available().filter(|kernels| kernels.name() != "scalar")
}

impl Machine {
    fn new(threads: usize) -> Result<Self> {
        let peaks = measures().then(|| Peaks::new(threads)).transpose()?;
        Ok(Self { pool: Pool::new(threads)?, peaks })
    }

    /// Benches `run` under the table's name, and says what it reached.
    fn bench(
        &mut self,
        group: &mut BenchmarkGroup<WallTime>,
        id: &str,
        kernels: &'static Kernels,
        work: Work,
        mut run: impl FnMut(&Team),
    ) {
        let mut seconds = Vec::new();
        group.bench_function(kernels.name(), |b| {
            self.pool.run(|team| {
                b.iter_custom(|count| {
                    let begin = Instant::now();
                    (0..count).for_each(|_| run(team));
                    let time = begin.elapsed();
                    seconds.push(time.as_secs_f64() / count as f64);
                    time
                });
            });
        });
        // Without samples, a filter has left this one out.
        let (Some(peaks), false) = (&mut self.peaks, seconds.is_empty()) else { return };
        seconds.sort_by(f64::total_cmp);
        let second = seconds[seconds.len() / 2];
        let share = |reached: f64, most: Option<f64>, what: &str| match most {
            Some(most) => format!(" ({:.0} % of {what})", 100.0 * reached / most),
            None => String::new(),
        };
        let gb = work.bytes as f64 / second / 1e9;
        print!("{id}/{}: {gb:.1} GB/s{}", kernels.name(), share(gb, work.memory.then(|| peaks.read()), "reading"));
        if work.macs > 0 {
            let gmacs = work.macs as f64 / second / 1e9;
            let pairs = if work.of == Of::Bf16 { peaks.pairs(kernels) } else { None };
            let (most, what) = match work.of {
                Of::Bytes => (peaks.dots(kernels), "dot products"),
                _ if pairs.is_some() => (pairs, "products of pairs"),
                _ => (peaks.fmas(kernels), "fused multiply-adds"),
            };
            print!(", {gmacs:.1} GMAC/s{}", share(gmacs, most, what));
        }
        println!();
    }
}

/// Bytes of rows whose weights are small and finite, whatever the type.
fn weights(row_bytes: usize, rows: usize) -> Vec<u8> {
    // As f16, f32 or bf16 scales or weights this is between 1e-3 and 1e-2; as integers and exponents it is what it is.
    [0x38u8, 0x1c, 0x3c, 0x1b].into_iter().cycle().take(row_bytes * rows).collect()
}

/// Numbers from -0.5 to 0.5.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect()
}

fn products(c: &mut Criterion) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut machine = Machine::new(threads).expect("threads and memory");
    for ty in GgmlType::all().filter(|ty| is_supported(*ty)) {
        let row_bytes = ty.row_bytes(COLS).expect("whole blocks");
        let large = if measures() { (128 << 20) / row_bytes } else { 48 };
        let data = weights(row_bytes, large);
        for tokens in [1, 2, 4, 8, 16, 512] {
            let rows = if tokens > 16 { large.min(1024) } else { large };
            let tokens = if measures() { tokens } else { tokens.min(20) };
            let m = Matrix { ty, data: &data[..rows * row_bytes], rows, cols: COLS, fine: false };
            let (x, mut out) = (values(tokens * COLS), vec![0.0; tokens * rows]);
            let id = format!("matmul/{ty}/{tokens}");
            let mut group = c.benchmark_group(&id);
            for kernels in tables() {
                let mut scratch = Workspace::default();
                let of = match ty {
                    GgmlType::BF16 => Of::Bf16,
                    GgmlType::F32 | GgmlType::F16 => Of::Floats,
                    _ => Of::Bytes,
                };
                let memory = rows == large;
                let work = Work { bytes: m.data.len(), memory, macs: tokens * rows * COLS, of };
                machine.bench(&mut group, &id, kernels, work, |team| {
                    matmul(kernels, team, &mut scratch, &[m], &x, &mut out);
                });
            }
        }
    }
}

/// A cache line, so that pages lie as the cache's do.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// `queries` of one position, over the positions of one key-value head.
fn attention(c: &mut Criterion, machine: &mut Machine, ty: KvType, queries: usize) {
    const HEAD_DIM: usize = 64;
    let positions = if measures() { 4096 } else { PAGE + 3 };
    let pages = vec![vec![Line::zeroed(); ty.part_bytes(HEAD_DIM) / 64]; positions.div_ceil(PAGE)];
    let pages: Vec<&[u8]> = pages.iter().map(|page| bytemuck::cast_slice(page)).collect();
    let head = HeadPages { ty, pages: &pages, at: 0, head_dim: HEAD_DIM };
    let q = values(queries * HEAD_DIM);
    let mut out = vec![0.0; queries * HEAD_DIM];
    let id = format!("attention/{}/{queries}", ty.name());
    let mut group = c.benchmark_group(&id);
    for kernels in tables() {
        let bytes = pages.len() * ty.part_bytes(HEAD_DIM);
        let work = Work { bytes, memory: false, macs: 2 * queries * positions * HEAD_DIM, of: Of::Floats };
        let mut room = Room::default();
        machine.bench(&mut group, &id, kernels, work, |_| {
            let mut queries: Vec<_> = (q.chunks(HEAD_DIM).zip(out.chunks_mut(HEAD_DIM)))
                .map(|(q, out)| Query { q, sees: 0..positions, out })
                .collect();
            kernels.attend(&head, &mut queries, &mut room);
        });
    }
}

type RowKernel = fn(&Kernels, &[f32], &mut [f32]);

/// Kernels of one row, which is in the caches.
const ROW_KERNELS: [(&str, RowKernel); 4] = [
    ("rms_norm", |kernels, x, out| kernels.rms_norm(x, x, 1e-5, out)),
    ("layer_norm", |kernels, x, out| kernels.layer_norm(x, x, x, 1e-5, out)),
    ("swiglu", |kernels, x, out| kernels.swiglu(x, x, out)),
    ("gelu", |kernels, _, out| kernels.gelu(out)),
];

fn others(c: &mut Criterion) {
    let mut machine = Machine::new(1).expect("a thread and memory");
    for queries in [1, 3, 64] {
        for ty in KvType::ALL {
            attention(c, &mut machine, ty, queries);
        }
    }
    let x = values(COLS);
    let mut out = values(COLS);
    for (id, run) in ROW_KERNELS {
        let mut group = c.benchmark_group(id);
        for kernels in tables() {
            let work = Work { bytes: 2 * size_of_val(&*x), memory: false, macs: 0, of: Of::Floats };
            machine.bench(&mut group, id, kernels, work, |_| run(kernels, &x, &mut out));
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = products, others
}
criterion_main!(benches);
