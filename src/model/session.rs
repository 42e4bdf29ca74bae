//! A session: a model, some threads and the KV cache of some sequences.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::cpu::PAGE;
use crate::pool::Pool;
use crate::{Error, Kernels, Result, Token};

use super::batch::{Batch, Outputs};
use super::kv::{Layout, Sequence};
use super::perf::Counters;
use super::step::{Buffers, Run, Step};
use super::{Model, Params};

/// How a session runs. Results do not depend on any of it.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Positions that a sequence may have; 0 for as many as the model was trained on. Memory is taken as it is needed.
    pub n_ctx: usize,
    /// Threads, the caller's included; 0 for as many as the system lets this process use
    /// ([`std::thread::available_parallelism`], which knows affinity and container quotas).
    pub threads: usize,
    /// Tokens of a prompt that go through the layers together; 0 to choose by the model's size (32 to 512).
    pub chunk: usize,
    /// Which kernels; `None` for the fastest.
    pub kernels: Option<&'static Kernels>,
}

/// The bytes that [`SessionOptions::chunk`] 0 allows for a chunk's buffers.
const CHUNK_BYTES: usize = 16 << 20;

/// Stops the call that a session is in. Can be used from any thread, also when the session is gone.
#[derive(Debug, Clone)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// Makes the call in progress return [`Error::Cancelled`] soon; nothing if there is none.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sequences being fed to a model.
pub struct Session {
    model: Model,
    kernels: &'static Kernels,
    pool: Pool,
    layout: Layout,
    n_ctx: usize,
    chunk: usize,
    sequences: BTreeMap<usize, Sequence>,
    buffers: Buffers,
    /// `[output][n_vocab]`, of the last call.
    logits: Vec<f32>,
    cancelled: Arc<AtomicBool>,
    pub(super) counters: Counters,
}

impl Session {
    /// A session without any sequence yet.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if an option is out of range.
    pub fn new(model: &Model, options: &SessionOptions) -> Result<Self> {
        let p = model.params();
        let n_ctx = if options.n_ctx == 0 { p.n_ctx_train.min(p.n_ctx_max) } else { options.n_ctx };
        if n_ctx > p.n_ctx_max {
            let expected = format!("at most {} positions", p.n_ctx_max);
            return Err(Error::InvalidArgument { name: "n_ctx", found: n_ctx.to_string(), expected });
        }
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let chunk = match options.chunk {
            0 => (CHUNK_BYTES / Buffers::bytes_per_token(p)).clamp(32, 512) / 8 * 8,
            chunk => chunk,
        };
        Ok(Self {
            kernels: options.kernels.unwrap_or_else(Kernels::best),
            pool: Pool::new(threads)?,
            layout: layout(p),
            n_ctx,
            chunk,
            sequences: BTreeMap::new(),
            buffers: Buffers::default(),
            logits: Vec::new(),
            cancelled: Arc::new(AtomicBool::new(false)),
            counters: Counters::default(),
            model: model.clone(),
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Positions that a sequence may have.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Tokens of a prompt that go through the layers together.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// The name of the kernel table: "avx2", …
    pub fn kernels(&self) -> &'static str {
        self.kernels.name()
    }

    /// The tokens that a sequence has been fed; none for one that does not exist.
    pub fn tokens(&self, sequence: usize) -> &[Token] {
        self.sequences.get(&sequence).map_or(&[], |s| &s.tokens)
    }

    /// Bytes that the KV cache takes now.
    pub fn kv_bytes(&self) -> usize {
        self.sequences.values().map(|s| self.layout.bytes(s.pages.len() * PAGE)).sum()
    }

    /// Forgets all sequences and outputs and frees their memory.
    pub fn reset(&mut self) {
        self.sequences.clear();
        self.logits = Vec::new();
    }

    /// Forgets all but the first `keep` tokens of a sequence.
    pub fn truncate(&mut self, sequence: usize, keep: usize) {
        if let Some(s) = self.sequences.get_mut(&sequence) {
            s.truncate(keep);
        }
    }

    /// What stops a call of this session from another thread.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.cancelled.clone())
    }

    /// Feeds tokens to sequence 0; afterwards [`Session::logits`] holds the last one's.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`], [`Error::ContextFull`], [`Error::NoMemory`], [`Error::Cancelled`], and
    /// [`Error::InvalidArgument`] without a token. The sequence is then as it was before the call.
    pub fn decode(&mut self, tokens: &[Token]) -> Result<()> {
        self.decode_with(tokens, Outputs::Last, |_, _| ControlFlow::Continue(()))
    }

    /// The same, with logits for the tokens asked for, telling `progress` after each chunk how many of the tokens are
    /// done and how many there are. If it breaks off, the result is [`Error::Cancelled`].
    ///
    /// # Errors
    /// As for [`Session::decode`].
    pub fn decode_with(
        &mut self,
        tokens: &[Token],
        outputs: Outputs,
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<()> {
        self.uncancel();
        self.run(&[(0, tokens, outputs)], progress)
    }

    /// The same as a part of a longer call: a cancellation that came since [`Session::uncancel`] counts.
    pub(crate) fn decode_part(
        &mut self,
        tokens: &[Token],
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<()> {
        self.run(&[(0, tokens, Outputs::Last)], progress)
    }

    /// A call begins: whatever was cancelled before is over.
    pub(crate) fn uncancel(&self) {
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Feeds tokens to several sequences at once; afterwards [`Session::logits`] holds those asked for, in the order
    /// of the batch.
    ///
    /// # Errors
    /// As for [`Session::decode`]; all sequences are then as they were before the call.
    pub fn decode_batch(&mut self, batch: &Batch) -> Result<()> {
        let runs: Vec<_> = batch.runs.iter().map(|(s, tokens, outputs)| (*s, &tokens[..], *outputs)).collect();
        self.uncancel();
        self.run(&runs, |_, _| ControlFlow::Continue(()))
    }

    /// How many tokens of the last call have logits.
    pub fn outputs(&self) -> usize {
        self.logits.len() / self.model.params().n_vocab.max(1)
    }

    /// The logits of one of the last call's outputs, `n_vocab` of them; `None` beyond [`Session::outputs`].
    pub fn logits(&self, output: usize) -> Option<&[f32]> {
        self.logits.chunks_exact(self.model.params().n_vocab.max(1)).nth(output)
    }

    fn run(
        &mut self,
        runs: &[(usize, &[Token], Outputs)],
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<()> {
        self.logits.clear();
        let before: Vec<_> = runs.iter().map(|(s, ..)| (*s, self.tokens(*s).len())).collect();
        self.check(runs)?;
        // A panic is a defect of this library; the sequences, whose tokens are only ever appended, survive it.
        let done = catch_unwind(AssertUnwindSafe(|| self.steps(runs, progress)))
            .unwrap_or_else(|payload| Err(Error::Internal { what: panic_message(&*payload) }));
        if done.is_err() {
            self.logits.clear();
            // In reverse, so that a sequence with several runs ends at its first one's start.
            for (sequence, len) in before.into_iter().rev() {
                self.truncate(sequence, len);
            }
        }
        done
    }

    fn check(&self, runs: &[(usize, &[Token], Outputs)]) -> Result<()> {
        let n_vocab = self.model.params().n_vocab;
        let mut lengths = BTreeMap::new();
        for (sequence, tokens, _) in runs {
            if tokens.is_empty() {
                let (found, expected) = ("0 tokens".to_owned(), "at least 1".to_owned());
                return Err(Error::InvalidArgument { name: "tokens", found, expected });
            }
            if let Some(token) = tokens.iter().find(|token| **token as usize >= n_vocab) {
                return Err(Error::TokenOutOfRange { token: *token, n_vocab });
            }
            let needed = lengths.entry(*sequence).or_insert(self.tokens(*sequence).len());
            *needed += tokens.len();
            if *needed > self.n_ctx {
                return Err(Error::ContextFull { needed: *needed, n_ctx: self.n_ctx });
            }
        }
        Ok(())
    }

    /// Cuts the runs into steps of at most a chunk.
    fn steps(
        &mut self,
        runs: &[(usize, &[Token], Outputs)],
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<()> {
        let total: usize = runs.iter().map(|(_, tokens, _)| tokens.len()).sum();
        let n_vocab = self.model.params().n_vocab;
        let rows: usize =
            runs.iter().map(|(_, tokens, outputs)| wanted(*outputs, 0..tokens.len(), tokens.len()).len()).sum();
        let no_memory = |_| Error::NoMemory { bytes: rows.saturating_mul(4 * n_vocab), what: "logits" };
        self.logits.try_reserve_exact(rows.saturating_mul(n_vocab)).map_err(no_memory)?;

        let mut done = 0;
        let mut part: Vec<(usize, &[Token])> = Vec::new();
        let mut outputs = Vec::new();
        let mut room = self.chunk;
        for (i, (sequence, tokens, kind)) in runs.iter().enumerate() {
            let mut at = 0;
            while at < tokens.len() {
                // A sequence's second run sees the first one's keys: it waits for the next step.
                if room == 0 || part.iter().any(|(s, _)| s == sequence) {
                    done += self.step(&part, &outputs)?;
                    (room, part, outputs) = (self.chunk, Vec::new(), Vec::new());
                    if progress(done, total).is_break() {
                        return Err(Error::Cancelled);
                    }
                }
                let take = room.min(tokens.len() - at);
                let first = self.chunk - room;
                outputs.extend(wanted(*kind, at..at + take, tokens.len()).map(|token| first + token - at));
                part.push((*sequence, &tokens[at..at + take]));
                (at, room) = (at + take, room - take);
            }
            if i + 1 == runs.len() {
                done += self.step(&part, &outputs)?;
            }
        }
        if progress(done, total).is_break() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Runs one step and gives its number of tokens. Each sequence occurs at most once.
    fn step(&mut self, part: &[(usize, &[Token])], outputs: &[usize]) -> Result<usize> {
        let begin = Instant::now();
        let Self { model, kernels, pool, layout, sequences, buffers, logits, cancelled, .. } = self;
        for (sequence, tokens) in part {
            let sequence = sequences.entry(*sequence).or_default();
            sequence.reserve(layout, sequence.tokens.len() + tokens.len())?;
        }
        let inner = &*model.0;
        buffers.reserve(&inner.params, part.iter().map(|(_, tokens)| tokens.len()).sum())?;
        // In the order of the batch.
        let mut by_number: BTreeMap<usize, &mut Sequence> = sequences.iter_mut().map(|(n, s)| (*n, s)).collect();
        let runs = (part.iter())
            .filter_map(|(number, tokens)| {
                let sequence = by_number.remove(number)?;
                Some(Run { start: sequence.tokens.len(), sequence, tokens })
            })
            .collect();
        let from = logits.len();
        logits.resize(from + outputs.len() * inner.params.n_vocab, 0.0);
        let logits = &mut logits[from..];
        pool.run(|team| {
            let (params, gguf, layout) = (&inner.params, &*inner.gguf, *layout);
            let mut step = Step { params, gguf, kernels, team, cancelled, layout, runs, buffers };
            inner.family.forward(&mut step, outputs, logits)
        })?;
        let mut count = 0;
        for (sequence, tokens) in part {
            if let Some(s) = self.sequences.get_mut(sequence) {
                s.tokens.extend_from_slice(tokens);
            }
            count += tokens.len();
        }
        self.counters.add(part.iter().any(|(_, tokens)| tokens.len() > 1), count, begin.elapsed());
        Ok(count)
    }
}

/// Which of a run's tokens `range` have logits, out of `len`.
fn wanted(outputs: Outputs, range: Range<usize>, len: usize) -> Range<usize> {
    match outputs {
        Outputs::None => range.end..range.end,
        Outputs::Last => range.start.max(len - 1).min(range.end)..range.end,
        Outputs::All => range,
    }
}

fn layout(p: &Params) -> Layout {
    Layout { n_layer: p.n_layer, n_head_kv: p.n_head_kv, head_dim: p.head_dim }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(|s| &**s));
    text.unwrap_or("a panic without a message").to_owned()
}

impl Model {
    /// Bytes that the KV cache of a sequence of `positions` takes.
    pub fn kv_bytes(&self, positions: usize) -> usize {
        layout(self.params()).bytes(positions)
    }
}
