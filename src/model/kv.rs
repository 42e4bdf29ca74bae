//! The KV cache: a sequence's tokens, and their keys and values in pages, which sequences may share.

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::cpu::{HeadPages, KvType, PAGE};
use crate::{Error, Result, Token};

/// How a page is divided: `[layer][kv_head]`, each part as the attention kernels want it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub n_layer: usize,
    pub n_head_kv: usize,
    pub head_dim: usize,
    pub ty: KvType,
}

impl Layout {
    /// Bytes of one head's part.
    fn part_bytes(&self) -> usize {
        self.ty.part_bytes(self.head_dim)
    }

    /// Bytes of the pages that `positions` take; the largest number if there is none so large.
    pub fn bytes(&self, positions: usize) -> usize {
        positions.div_ceil(PAGE).saturating_mul(self.page_bytes())
    }

    fn page_bytes(&self) -> usize {
        (self.n_layer * self.n_head_kv).saturating_mul(self.part_bytes())
    }

    /// Where the part of one head begins in every page.
    fn at(&self, layer: usize, head: usize) -> usize {
        (layer * self.n_head_kv + head) * self.part_bytes()
    }

    /// One head's part of a page.
    pub fn part<'a>(&self, page: &'a mut [u8], layer: usize, head: usize) -> &'a mut [u8] {
        &mut page[self.at(layer, head)..][..self.part_bytes()]
    }

    /// All parts of a page, in order, as layers and heads.
    pub fn parts(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let n_head_kv = self.n_head_kv;
        (0..self.n_layer).flat_map(move |layer| (0..n_head_kv).map(move |head| (layer, head)))
    }

    /// Bytes of a key and a value of one head, without any padding.
    pub fn head_bytes(&self) -> usize {
        self.ty.position_bytes(self.head_dim)
    }

    /// Bytes of all keys and values of a position, without any padding.
    pub fn position_bytes(&self) -> usize {
        self.n_layer * self.n_head_kv * self.head_bytes()
    }

    /// Where one part's first positions are in a page, piece by piece: keys, then values, both by position.
    pub fn pieces(&self, layer: usize, head: usize, positions: usize, mut piece: impl FnMut(Range<usize>)) {
        let at = self.at(layer, head);
        let mut moved = |range: Range<usize>| piece(at + range.start..at + range.end);
        (0..positions).for_each(|position| self.ty.key(self.head_dim, position, &mut moved));
        (0..positions).for_each(|position| self.ty.value(self.head_dim, position, &mut moved));
    }

    /// One head in all of a sequence's pages.
    pub fn head<'a>(&self, pages: &'a [&'a [u8]], layer: usize, head: usize) -> HeadPages<'a> {
        HeadPages { ty: self.ty, pages, at: self.at(layer, head), head_dim: self.head_dim }
    }
}

/// [`PAGE`] positions of all layers and heads. Sequences with a common prefix share its pages; one is only written to
/// while it belongs to one sequence.
#[derive(Debug, Clone)]
pub(super) struct Page(Arc<Vec<Line>>);

/// A cache line: so no load of sixteen elements straddles two. A head's part is a number of whole lines.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Page {
    /// A page of zeros.
    pub fn new(layout: &Layout) -> Result<Self> {
        let len = layout.page_bytes() / size_of::<Line>();
        let mut lines = Self::room(len)?;
        lines.resize(len, Line::zeroed());
        Ok(Self(Arc::new(lines)))
    }

    /// A page of its own with the same content.
    fn copy(&self) -> Result<Self> {
        let mut lines = Self::room(self.0.len())?;
        lines.extend_from_slice(&self.0);
        Ok(Self(Arc::new(lines)))
    }

    fn room(len: usize) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        let no_memory = |_| Error::NoMemory { bytes: len.saturating_mul(size_of::<Line>()), what: "the KV cache" };
        lines.try_reserve_exact(len).map_err(no_memory)?;
        Ok(lines)
    }

    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Where it is: what tells pages apart.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Little-endian, as on all systems that the library runs on.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }

    /// For writing, once [`Sequence::reserve`] has made room.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(self.lines_mut())
    }

    fn lines_mut(&mut self) -> &mut [Line] {
        Arc::get_mut(&mut self.0).expect("a page that is written to was made its sequence's own")
    }
}

/// One sequence: what it has been fed, and what attention needs to remember of it.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// Tokens whose keys and values are complete.
    pub tokens: Vec<Token>,
    /// As many as the tokens take, and those that [`Sequence::reserve`] has added.
    pub pages: Vec<Page>,
}

/// A sequence as it was before a call.
pub(super) struct Mark {
    len: usize,
    /// The page that the next token would have been written to, if it was shared.
    shared: Option<Page>,
}

impl Sequence {
    /// Makes room for the keys and values of `positions`, and for their tokens: pages of its own to write to.
    pub fn reserve(&mut self, layout: &Layout, positions: usize) -> Result<()> {
        let more = positions.saturating_sub(self.tokens.len());
        let bytes = more.saturating_mul(size_of::<Token>());
        self.tokens.try_reserve(more).map_err(|_| Error::NoMemory { bytes, what: "the KV cache" })?;
        if let Some(page) = self.next().filter(|page| page.is_shared()) {
            let copy = page.copy()?;
            self.pages[self.tokens.len() / PAGE] = copy;
        }
        while self.pages.len() * PAGE < positions {
            self.pages.push(Page::new(layout)?);
        }
        Ok(())
    }

    /// How many pages [`Sequence::reserve`] would take for so many more tokens.
    pub fn more_pages(&self, tokens: usize) -> usize {
        let copied = self.next().is_some_and(Page::is_shared);
        self.tokens.len().saturating_add(tokens).div_ceil(PAGE).saturating_sub(self.pages.len()) + usize::from(copied)
    }

    /// The page that the next token is written to, if it is there: a full page is never written to again.
    fn next(&self) -> Option<&Page> {
        self.pages.get(self.tokens.len() / PAGE)
    }

    /// Forgets all but the first `keep` tokens, and frees the pages that are then empty.
    pub fn truncate(&mut self, keep: usize) {
        self.tokens.truncate(keep);
        self.pages.truncate(self.tokens.len().div_ceil(PAGE));
    }

    /// A sequence of the first `prefix` tokens, which shares their pages.
    pub fn fork(&self, prefix: usize) -> Result<Self> {
        let (tokens, pages) = (&self.tokens[..prefix], &self.pages[..prefix.div_ceil(PAGE)]);
        let mut fork = Self::default();
        let bytes = size_of_val(tokens) + size_of_val(pages);
        let no_memory = |_| Error::NoMemory { bytes, what: "a sequence" };
        fork.tokens.try_reserve_exact(tokens.len()).map_err(no_memory)?;
        fork.pages.try_reserve_exact(pages.len()).map_err(no_memory)?;
        fork.tokens.extend_from_slice(tokens);
        fork.pages.extend_from_slice(pages);
        Ok(fork)
    }

    /// What [`Sequence::roll_back`] needs. As long as the mark lives, a page that was shared stays shared: in a batch
    /// that extends all its owners each of them gets a copy, none writes into the one to come back to.
    pub fn mark(&self) -> Mark {
        Mark { len: self.tokens.len(), shared: self.next().filter(|page| page.is_shared()).cloned() }
    }

    /// The sequence is as it was, sharing included.
    pub fn roll_back(&mut self, mark: Mark) {
        self.truncate(mark.len);
        if let (Some(page), Some(last)) = (mark.shared, self.pages.last_mut()) {
            *last = page;
        }
    }
}

/// How many pages the sequences take, each counted once.
pub(super) fn count_pages<'a>(sequences: impl Iterator<Item = &'a Sequence>) -> usize {
    let mut shared = Vec::new();
    let mut own = 0;
    for page in sequences.flat_map(|s| &s.pages) {
        if page.is_shared() { shared.push(page.address()) } else { own += 1 }
    }
    shared.sort_unstable();
    shared.dedup();
    own + shared.len()
}
