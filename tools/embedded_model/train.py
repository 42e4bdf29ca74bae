"""Train the small language model that is embedded in the pumice command line, and write its GGUF.

    python -m venv venv && venv/bin/pip install numpy torch tokenizers gguf
    venv/bin/python train.py --out ../../cli/model/austen.gguf --work /tmp/austen

Downloads the text (Debian package r-cran-janeaustenr; run `apt-get update` first), or reads it from `--rdb`, the path of
the package's `Rdata.rdb`. Trains a byte-level BPE vocabulary, then the model, in about half an hour on two CPU cores, and
leaves the tokenizer and the float weights in `--work`. Everything is seeded: the same versions of the packages on the same
machine repeat a run; another machine rounds differently and gives a different model of the same quality.
"""

import argparse
import math
import os
import random
import time
from pathlib import Path

# Threads that spin at their barriers lose to whatever else the machine runs; sleeping ones do not.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus
import export
from model import Config, Llama

SEED = 1775
END = "<|endoftext|>"


def train_tokenizer(documents: list[str], vocab: int) -> Tokenizer:
    """GPT-2's scheme: its splitting pattern, bytes as printable characters, merges by frequency."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


class Stream:
    """All documents' tokens in a row, each behind an end-of-text token, cut into training sequences at random.

    Half of the sequences begin at a paragraph, behind an end-of-text token, because that is how generation begins; the
    other half anywhere, so that long paragraphs are learnt to their end.
    """

    def __init__(self, tokenizer: Tokenizer, documents: list[str]):
        self.end = tokenizer.token_to_id(END)
        ids: list[int] = []
        self.starts: list[int] = []
        for document in documents:
            ids.append(self.end)
            for number, paragraph in enumerate(document.split("\n\n")):
                if number > 0:
                    ids += tokenizer.encode("\n\n").ids
                self.starts.append(len(ids))
                ids += tokenizer.encode(paragraph).ids
        ids.append(self.end)
        self.ids = torch.tensor(ids)

    def batch(self, source: random.Random, size: int, length: int) -> torch.Tensor:
        rows = []
        last = len(self.ids) - length - 1
        for number in range(size):
            if number % 2 == 0:
                at = min(source.choice(self.starts), last)
                row = self.ids[at - 1 : at + length].clone()
                row[0] = self.end
            else:
                at = source.randrange(last)
                row = self.ids[at : at + length + 1]
            rows.append(row)
        return torch.stack(rows)

    def in_order(self, length: int) -> torch.Tensor:
        """Consecutive sequences, each behind an end-of-text token: what the held-out loss is taken over."""
        whole = self.ids[: len(self.ids) // length * length].view(-1, length)
        return F.pad(whole, (1, 0), value=self.end)


def loss_of(model: Llama, rows: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(rows[:, :-1])
    return F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: Llama, stream: Stream, length: int) -> float:
    model.eval()
    losses = [loss_of(model, rows).item() for rows in stream.in_order(length)[:96].split(8)]
    model.train()
    return sum(losses) / len(losses)


def rate_at(progress: float) -> float:
    """The fraction of the peak learning rate: linear warm-up over the first 4 %, then a cosine down to a fiftieth."""
    warm = 0.04
    if progress < warm:
        return max(progress, 0.001) / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


def optimizers(model: Llama, rate: float, matrix_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the embedding and the norms.

    Half an hour is what limits this model, not the text: after 100 steps the training loss was 4.6 with Muon and 5.0 with
    AdamW for everything, at the same cost per step within 5 %.
    """
    inner = [p for n, p in model.blk.named_parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    return [
        torch.optim.Muon(inner, lr=matrix_rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [{"params": [model.token_embd.weight], "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}],
            lr=rate,
            betas=(0.9, 0.98),
            fused=True,
        ),
    ]


def train(args: argparse.Namespace, tokenizer: Tokenizer, docs: list[str], held_docs: list[str]) -> Llama:
    torch.manual_seed(SEED)
    source = random.Random(SEED)
    stream, held = Stream(tokenizer, docs), Stream(tokenizer, held_docs)
    model = Llama(Config())
    steppers = optimizers(model, args.rate, args.matrix_rate)
    groups = [group for stepper in steppers for group in stepper.param_groups]
    peaks = [group["lr"] for group in groups]
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(stream.ids)} tokens", flush=True)
    begun = time.monotonic()
    for step in range(args.steps):
        progress = max(step / args.steps, (time.monotonic() - begun) / (60 * args.minutes))
        if progress >= 1:
            break
        # Short sequences are cheaper and teach as much; the last fifth uses the whole context.
        length = 256 if progress < 0.8 else model.c.context
        rows = stream.batch(source, args.tokens_per_step // length, length)
        loss = loss_of(model, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group, peak in zip(groups, peaks):
            group["lr"] = peak * rate_at(progress)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        if (step + 1) % 25 == 0:
            print(f"step {step + 1} loss {loss.item():.3f} {time.monotonic() - begun:.0f} s", flush=True)
        if (step + 1) % 250 == 0:
            print(f"step {step + 1} held out {held_out_loss(model, held, 256):.4f}", flush=True)
            ids = model.generate([stream.end], 80, 0.7, 40, step)
            print(f"  {tokenizer.decode(ids)!r}", flush=True)
            torch.save(model.state_dict(), args.work / "weights.pt")
    torch.save(model.state_dict(), args.work / "weights.pt")
    per_token = held_out_loss(model, held, model.c.context)
    characters = sum(map(len, held_docs))
    bits = per_token / math.log(2) * len(held.ids) / characters
    print(f"held out: {per_token:.4f} nats per token, {bits:.3f} bits per character", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the GGUF to write")
    parser.add_argument("--work", type=Path, required=True, help="folder for the tokenizer and the float weights")
    parser.add_argument("--rdb", type=Path, help="path of an unpacked Rdata.rdb, instead of downloading it")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--minutes", type=float, default=math.inf, help="finish the schedule by then, with fewer steps")
    parser.add_argument("--tokens-per-step", type=int, default=4096)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate of the embedding and the norms")
    parser.add_argument("--matrix-rate", type=float, default=5e-3, help="peak learning rate of the other matrices")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)

    rdb = args.rdb or corpus.fetch_package(args.work)
    documents = corpus.load(rdb)
    held_out = documents[12::25]
    documents = [d for number, d in enumerate(documents) if number % 25 != 12]
    tokenizer = train_tokenizer(documents, Config.vocab)
    tokenizer.save(str(args.work / "tokenizer.json"))
    model = train(args, tokenizer, documents, held_out)
    package = f"{corpus.PACKAGE} (R package janeaustenr {corpus.package_version(rdb)})"
    export.write_gguf(args.out, model, args.work / "tokenizer.json", package)
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
