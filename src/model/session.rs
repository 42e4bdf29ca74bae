//! A session: a model, some threads and the KV cache of some sequences.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::cpu::{KvType, PAGE};
use crate::pool::Pool;
use crate::{Error, Kernels, Level, Result, Token};

use super::batch::{Batch, Outputs};
use super::kv::{Layout, Sequence, count_pages};
use super::outputs::Kept;
use super::perf::Counters;
use super::step::{Buffers, Run, Step};
use super::{Model, Params, SessionOptions};

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
    pub(super) model: Model,
    /// Resolved.
    pub(super) options: SessionOptions,
    pub(super) pool: Pool,
    pub(super) layout: Layout,
    pub(super) sequences: BTreeMap<usize, Sequence>,
    pub(super) buffers: Buffers,
    pub(super) outputs: Kept,
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
        let options = options.resolve(model)?;
        if model.0.family.is_none() {
            let (found, expected) = ("opened for its metadata only".to_owned(), "one with its weights".to_owned());
            return Err(Error::InvalidArgument { name: "the model", found, expected });
        }
        options.log.write(Level::Info, || {
            let SessionOptions { n_ctx, threads, chunk, .. } = options;
            let kernels = options.kernels.map_or("", Kernels::name);
            let memory = model.memory(&options).map_or((0, 0), |memory| (memory.kv, memory.scratch));
            format!(
                "session: {kernels} kernels, {threads} threads, {n_ctx} positions, chunks of {chunk}; a full sequence takes \
                 {} bytes of keys and values, a step {} bytes of scratch",
                memory.0, memory.1
            )
        });
        Ok(Self {
            pool: Pool::new(options.threads)?,
            layout: layout(p, options.kv_type),
            sequences: BTreeMap::new(),
            buffers: Buffers::default(),
            outputs: Kept::new(p, options.embeddings),
            cancelled: Arc::new(AtomicBool::new(false)),
            counters: Counters::default(),
            model: model.clone(),
            options,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Positions that a sequence may have.
    pub fn n_ctx(&self) -> usize {
        self.options.n_ctx
    }

    /// Threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Tokens of a prompt that go through the layers together.
    pub fn chunk(&self) -> usize {
        self.options.chunk
    }

    /// The name of the kernel table: "avx2", …
    pub fn kernels(&self) -> &'static str {
        self.options.kernels.unwrap_or_else(Kernels::best).name()
    }

    /// The tokens that a sequence has been fed; none for one that does not exist.
    pub fn tokens(&self, sequence: usize) -> &[Token] {
        self.sequences.get(&sequence).map_or(&[], |s| &s.tokens)
    }

    /// Bytes that the KV cache takes now. What sequences share counts once.
    pub fn kv_bytes(&self) -> usize {
        self.layout.bytes(count_pages(self.sequences.values()) * PAGE)
    }

    /// Forgets all sequences and outputs and frees their memory.
    pub fn reset(&mut self) {
        self.sequences.clear();
        self.outputs.release();
    }

    /// Forgets all but the first `keep` tokens of a sequence.
    pub fn truncate(&mut self, sequence: usize, keep: usize) {
        if let Some(s) = self.sequences.get_mut(&sequence) {
            s.truncate(keep);
            self.forget_if_empty(sequence);
        }
    }

    /// Forgets of sequence 0 what it does not have in common with a prompt, and says how many of the prompt's tokens are
    /// left: those behind them are to be fed. The last one always is, for its logits.
    pub fn keep_common(&mut self, prompt: &[Token]) -> usize {
        let common = self.tokens(0).iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let keep = common.min(prompt.len().saturating_sub(1));
        self.truncate(0, keep);
        keep
    }

    /// Makes `to` a sequence of the first `prefix` tokens of `from`, whatever it held before. They share the keys and
    /// values of these tokens: nothing is copied, until one of them is fed more. Then it gets a copy of its own of the
    /// last page, unless that is full. A sequence that is forked to itself is truncated.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `from` has fewer tokens; [`Error::NoMemory`]. Nothing has changed then.
    pub fn fork(&mut self, from: usize, to: usize, prefix: usize) -> Result<()> {
        let len = self.tokens(from).len();
        if prefix > len {
            let expected = format!("at most the {len} tokens of sequence {from}");
            return Err(Error::InvalidArgument { name: "prefix", found: prefix.to_string(), expected });
        }
        match self.sequences.get(&from) {
            Some(_) if from == to => self.truncate(to, prefix),
            Some(s) if prefix > 0 => {
                let fork = s.fork(prefix)?;
                self.sequences.insert(to, fork);
            }
            _ => self.truncate(to, 0),
        }
        Ok(())
    }

    /// A sequence without tokens is the same as none.
    fn forget_if_empty(&mut self, sequence: usize) {
        if self.tokens(sequence).is_empty() {
            self.sequences.remove(&sequence);
        }
    }

    /// Forgets a sequence.
    pub fn remove(&mut self, sequence: usize) {
        self.sequences.remove(&sequence);
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

    /// The same, with logits for the tokens asked for, telling `progress` how many of the tokens are done and how many
    /// there are: after each layer as long as several tokens of a sequence go through the layers together (then a layer is
    /// its share of them, rounded down), and after each step. If it breaks off, the result is [`Error::Cancelled`].
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

    /// A call ends whose outputs were its own.
    pub(crate) fn drop_outputs(&mut self) {
        self.outputs.clear();
    }

    /// Feeds tokens to several sequences at once; afterwards [`Session::logits`] holds those asked for, in the order
    /// of the batch.
    ///
    /// # Errors
    /// As for [`Session::decode`]; all sequences are then as they were before the call.
    pub fn decode_batch(&mut self, batch: &Batch) -> Result<()> {
        self.uncancel();
        self.decode_batch_part(batch)
    }

    /// The same as a part of a longer call, as [`Session::decode_part`].
    pub(crate) fn decode_batch_part(&mut self, batch: &Batch) -> Result<()> {
        let runs: Vec<_> = batch.runs.iter().map(|(s, tokens, outputs)| (*s, &tokens[..], *outputs)).collect();
        self.run(&runs, |_, _| ControlFlow::Continue(()))
    }

    /// How many tokens of the last call have logits.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// The logits of one of the last call's outputs, `n_vocab` of them; `None` beyond [`Session::outputs`].
    pub fn logits(&self, output: usize) -> Option<&[f32]> {
        self.outputs.logits(output)
    }

    /// The final hidden state of one of the last call's outputs, `n_embd` values: what the output matrix makes logits of.
    /// `None` beyond [`Session::outputs`], and without [`SessionOptions::embeddings`].
    pub fn embedding(&self, output: usize) -> Option<&[f32]> {
        self.outputs.embedding(output)
    }

    /// Pages that `tokens` more in a sequence would take.
    pub(super) fn more_pages(&self, sequence: usize, tokens: usize) -> usize {
        self.sequences.get(&sequence).unwrap_or(&Sequence::default()).more_pages(tokens)
    }

    pub(super) fn run(
        &mut self,
        runs: &[(usize, &[Token], Outputs)],
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<()> {
        let sound = self.check(runs);
        if sound.is_ok() {
            self.check_limit(runs)?;
        }
        self.outputs.clear();
        sound?;
        let numbers: BTreeSet<_> = runs.iter().map(|(s, ..)| *s).collect();
        let before: Vec<_> = numbers.into_iter().map(|s| (s, self.sequences.entry(s).or_default().mark())).collect();
        // A panic is a defect of this library; the sequences, whose tokens are only ever appended, survive it.
        let done = catch_unwind(AssertUnwindSafe(|| self.steps(runs, progress)))
            .unwrap_or_else(|payload| Err(Error::Internal { what: panic_message(&*payload) }));
        if done.is_err() {
            self.outputs.clear();
            for (sequence, mark) in before {
                if let Some(s) = self.sequences.get_mut(&sequence) {
                    s.roll_back(mark);
                }
                self.forget_if_empty(sequence);
            }
        }
        done
    }

    pub(super) fn check(&self, runs: &[(usize, &[Token], Outputs)]) -> Result<()> {
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
            if *needed > self.n_ctx() {
                return Err(Error::ContextFull { needed: *needed, n_ctx: self.n_ctx() });
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
        let rows = runs.iter().map(|(_, tokens, kind)| wanted(*kind, 0..tokens.len(), tokens.len()).len()).sum();
        self.outputs.reserve(rows)?;

        let mut done = 0;
        let mut part: Vec<(usize, &[Token])> = Vec::new();
        let mut outputs = Vec::new();
        let chunk = self.options.chunk;
        let mut room = chunk;
        for (i, (sequence, tokens, kind)) in runs.iter().enumerate() {
            let mut at = 0;
            while at < tokens.len() {
                // A sequence's second run sees the first one's keys: it waits for the next step.
                if room == 0 || part.iter().any(|(s, _)| s == sequence) {
                    done += self.step(&part, &outputs, |tokens| progress(done + tokens, total))?;
                    (room, part, outputs) = (chunk, Vec::new(), Vec::new());
                    if progress(done, total).is_break() {
                        return Err(Error::Cancelled);
                    }
                }
                let take = room.min(tokens.len() - at);
                let first = chunk - room;
                outputs.extend(wanted(*kind, at..at + take, tokens.len()).map(|token| first + token - at));
                part.push((*sequence, &tokens[at..at + take]));
                (at, room) = (at + take, room - take);
            }
            if i + 1 == runs.len() {
                done += self.step(&part, &outputs, |tokens| progress(done + tokens, total))?;
            }
        }
        if progress(done, total).is_break() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Runs one step and gives its number of tokens. Each sequence occurs at most once. `progress` hears of all layers
    /// but the last, as the share of the tokens that they amount to, if the step is part of a prompt.
    fn step(
        &mut self,
        part: &[(usize, &[Token])],
        outputs: &[usize],
        mut progress: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<usize> {
        let begin = Instant::now();
        let Self { model, options, pool, layout, sequences, buffers, outputs: kept, cancelled, .. } = self;
        for (sequence, tokens) in part {
            let sequence = sequences.entry(*sequence).or_default();
            sequence.reserve(layout, sequence.tokens.len() + tokens.len())?;
        }
        let inner = &*model.0;
        let no_weights = || Error::Internal { what: "a session without weights".to_owned() };
        let family = inner.family.as_ref().ok_or_else(no_weights)?;
        let count = part.iter().map(|(_, tokens)| tokens.len()).sum();
        buffers.reserve(&inner.widths, count, pool.threads())?;
        // In the order of the batch.
        let mut by_number: BTreeMap<usize, &mut Sequence> = sequences.iter_mut().map(|(n, s)| (*n, s)).collect();
        let runs = (part.iter())
            .filter_map(|(number, tokens)| {
                let sequence = by_number.remove(number)?;
                Some(Run { start: sequence.tokens.len(), sequence, tokens })
            })
            .collect();
        let together = part.iter().any(|(_, tokens)| tokens.len() > 1);
        let n_layer = inner.params.n_layer;
        let mut layers = |done: usize| match done == n_layer {
            true => ControlFlow::Continue(()), // the step is next to tell
            false => progress(count * done / n_layer),
        };
        let wanted = kept.extend(outputs);
        pool.run(|team| {
            let (params, gguf, layout) = (&inner.params, &*inner.gguf, *layout);
            let activations = options.activations;
            let kernels = options.kernels.unwrap_or_else(Kernels::best);
            let layers = together.then_some(&mut layers as _);
            let mut step = Step { params, gguf, kernels, team, cancelled, layout, activations, runs, buffers, layers };
            family.forward(&mut step, wanted)
        })?;
        for (sequence, tokens) in part {
            if let Some(s) = self.sequences.get_mut(sequence) {
                s.tokens.extend_from_slice(tokens);
            }
        }
        let time = begin.elapsed();
        self.counters.add(together, count, time);
        self.options.log.write(Level::Debug, || {
            format!(
                "step: {count} tokens of {} sequences, {} outputs, {} us",
                part.len(),
                outputs.len(),
                time.as_micros()
            )
        });
        Ok(count)
    }
}

/// Which of a run's tokens `range` have logits, out of `len`.
pub(super) fn wanted(outputs: Outputs, range: Range<usize>, len: usize) -> Range<usize> {
    match outputs {
        Outputs::None => range.end..range.end,
        Outputs::Last => range.start.max(len - 1).min(range.end)..range.end,
        Outputs::All => range,
    }
}

pub(super) fn layout(p: &Params, ty: KvType) -> Layout {
    Layout { n_layer: p.n_layer, n_head_kv: p.n_head_kv, head_dim: p.head_dim, ty }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(|s| &**s));
    text.unwrap_or("a panic without a message").to_owned()
}
