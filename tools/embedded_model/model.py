"""A Llama-architecture language model in PyTorch, with GGUF's conventions: RoPE turns adjacent pairs (2i, 2i + 1) of a
head, query heads share key and value heads in groups, and the output matrix is the token embedding."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int = 3072
    context: int = 512
    width: int = 192
    layers: int = 5
    heads: int = 6
    kv_heads: int = 2
    ffn: int = 512
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    dropout: float = 0.1

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


class Block(nn.Module):
    """Attention, then SwiGLU, each behind an RMSNorm and added to the residual stream."""

    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.attn_norm = nn.RMSNorm(c.width, eps=c.norm_eps)
        self.attn_q = nn.Linear(c.width, c.heads * c.head_dim, bias=False)
        self.attn_k = nn.Linear(c.width, c.kv_heads * c.head_dim, bias=False)
        self.attn_v = nn.Linear(c.width, c.kv_heads * c.head_dim, bias=False)
        self.attn_output = nn.Linear(c.heads * c.head_dim, c.width, bias=False)
        self.ffn_norm = nn.RMSNorm(c.width, eps=c.norm_eps)
        self.ffn_gate = nn.Linear(c.width, c.ffn, bias=False)
        self.ffn_up = nn.Linear(c.width, c.ffn, bias=False)
        self.ffn_down = nn.Linear(c.ffn, c.width, bias=False)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        c, (batch, length, _) = self.c, x.shape
        h = self.attn_norm(x)
        q = self.attn_q(h).view(batch, length, c.heads, c.head_dim).transpose(1, 2)
        k = self.attn_k(h).view(batch, length, c.kv_heads, c.head_dim).transpose(1, 2)
        v = self.attn_v(h).view(batch, length, c.kv_heads, c.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.attn_output(h.transpose(1, 2).reshape(batch, length, -1)))
        h = self.ffn_norm(x)
        return x + self.dropout(self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h)))


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (2i, 2i + 1) of every head by the angles of their position; cos and sin: (length, head_dim / 2)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Llama(nn.Module):
    """Token ids (batch, length) to logits (batch, length, vocab)."""

    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.token_embd = nn.Embedding(c.vocab, c.width)
        self.blk = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.output_norm = nn.RMSNorm(c.width, eps=c.norm_eps)
        self.dropout = nn.Dropout(c.dropout)
        turns = c.rope_base ** (-torch.arange(0, c.head_dim, 2, dtype=torch.float64) / c.head_dim)
        angles = torch.outer(torch.arange(c.context, dtype=torch.float64), turns)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # The two matrices that write to the residual stream start smaller, by the number of such writes.
                writes = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(weight, std=0.03 / (2 * c.layers) ** 0.5 if writes else 0.03)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.token_embd(ids))
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blk:
            x = block(x, cos, sin)
        return F.linear(self.output_norm(x), self.token_embd.weight)

    @torch.no_grad()
    def generate(self, ids: list[int], count: int, temperature: float, top_k: int, seed: int) -> list[int]:
        """Continue `ids` by `count` sampled tokens. Recomputes every position: for looking at samples only."""
        source = torch.Generator().manual_seed(seed)
        was_training = self.training
        self.eval()
        for _ in range(count):
            logits = self(torch.tensor([ids[-self.c.context :]]))[0, -1] / temperature
            best, index = logits.topk(top_k)
            ids = ids + [int(index[torch.multinomial(best.softmax(0), 1, generator=source)])]
        self.train(was_training)
        return ids
