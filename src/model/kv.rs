//! The KV cache: a sequence's tokens, and their keys and values in pages.

use crate::cpu::{HeadPages, PAGE, head_page_len};
use crate::{Error, Result, Token};

/// How a page is divided: `[layer][kv_head]`, each part as the attention kernels want it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub n_layer: usize,
    pub n_head_kv: usize,
    pub head_dim: usize,
}

impl Layout {
    /// Elements of one head's part.
    fn head_len(&self) -> usize {
        head_page_len(self.head_dim)
    }

    /// Elements of a page.
    pub fn page_len(&self) -> usize {
        self.n_layer * self.n_head_kv * self.head_len()
    }

    /// Bytes of the pages that `positions` take; the largest number if there is none so large.
    pub fn bytes(&self, positions: usize) -> usize {
        positions.div_ceil(PAGE).saturating_mul(self.page_len()).saturating_mul(size_of::<u16>())
    }

    /// Where the part of one head begins in every page.
    fn at(&self, layer: usize, head: usize) -> usize {
        (layer * self.n_head_kv + head) * self.head_len()
    }

    /// One head's part of a page.
    pub fn part<'a>(&self, page: &'a mut [u16], layer: usize, head: usize) -> &'a mut [u16] {
        &mut page[self.at(layer, head)..][..self.head_len()]
    }

    /// One head in all of a sequence's pages.
    pub fn head<'a>(&self, pages: &'a [&'a [u16]], layer: usize, head: usize) -> HeadPages<'a> {
        HeadPages { pages, at: self.at(layer, head), head_dim: self.head_dim }
    }
}

/// One sequence: what it has been fed, and what attention needs to remember of it.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// Tokens whose keys and values are complete.
    pub tokens: Vec<Token>,
    /// [`PAGE`] positions each, f16 bits; may reach beyond the tokens.
    pub pages: Vec<Vec<u16>>,
}

impl Sequence {
    /// Makes room for the keys and values of `positions`, and for their tokens.
    pub fn reserve(&mut self, layout: &Layout, positions: usize) -> Result<()> {
        let no_memory = |bytes| Error::NoMemory { bytes, what: "the KV cache" };
        let more = positions.saturating_sub(self.tokens.len());
        self.tokens.try_reserve(more).map_err(|_| no_memory(more * size_of::<Token>()))?;
        while self.pages.len() * PAGE < positions {
            let mut page = Vec::new();
            page.try_reserve_exact(layout.page_len()).map_err(|_| no_memory(layout.page_len() * size_of::<u16>()))?;
            page.resize(layout.page_len(), 0);
            self.pages.push(page);
        }
        Ok(())
    }

    /// How many pages [`Sequence::reserve`] would take for so many more tokens.
    pub fn more_pages(&self, tokens: usize) -> usize {
        self.tokens.len().saturating_add(tokens).div_ceil(PAGE).saturating_sub(self.pages.len())
    }

    /// Forgets all but the first `keep` tokens, and frees the pages that are then empty.
    pub fn truncate(&mut self, keep: usize) {
        self.tokens.truncate(keep);
        self.pages.truncate(self.tokens.len().div_ceil(PAGE));
    }
}
