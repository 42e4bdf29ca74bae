"""Compare the embedded model's GGUF with the float weights it was written from, and print samples of its text.

    venv/bin/pip install llama-cpp-python
    venv/bin/python check.py --gguf ../../cli/model/austen.gguf --work /tmp/austen

Runs a held-out sentence through llama.cpp and through the PyTorch model, and fails if tokens differ or if the logits
differ by more than eight-bit weights explain.
"""

import argparse
from pathlib import Path

import llama_cpp
import numpy as np
import torch
from tokenizers import Tokenizer

from model import Config, Llama

TEXT = "It was a fine morning, and Mr. Elliot, who had walked to the village -- \"alone, indeed!\" -- said nothing of it."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="the folder train.py worked in")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=0.7)
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    reference = Llama(Config())
    reference.load_state_dict(torch.load(args.work / "weights.pt"))
    reference.eval()
    loaded = llama_cpp.Llama(
        str(args.gguf), n_ctx=Config.context, logits_all=True, n_threads=1, n_threads_batch=1, verbose=False
    )

    ids = loaded.tokenize(TEXT.encode())
    expected = [tokenizer.token_to_id("<|endoftext|>")] + tokenizer.encode(TEXT).ids
    if ids != expected:
        raise SystemExit(f"tokens differ:\n{ids}\n{expected}")
    loaded.eval(ids)
    theirs = np.array(loaded.scores[: len(ids)])
    with torch.no_grad():
        ours = reference(torch.tensor([ids]))[0].numpy()
    difference = np.sqrt(((ours - theirs) ** 2).mean()) / ours.std()
    same = (ours.argmax(1) == theirs.argmax(1)).mean()
    print(f"{len(ids)} tokens: logits differ by {difference:.4f} of their deviation, {same:.0%} of the best tokens agree")
    if difference > 0.03:
        raise SystemExit("the logits differ by more than rounding explains")

    for seed in range(args.samples):
        answer = loaded.create_completion(
            loaded.tokenize(b""), max_tokens=220, temperature=args.temperature, top_k=40, top_p=1.0, min_p=0.0,
            repeat_penalty=1.0, seed=seed + 1,
        )
        print(f"--- sample {seed + 1}\n{answer['choices'][0]['text'].strip()}")


if __name__ == "__main__":
    main()
