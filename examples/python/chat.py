#!/usr/bin/env python3
"""A chat on the terminal: a program to start from.

    pip install ./bindings/python
    python examples/python/chat.py MODEL.gguf [--system TEXT] [--n-ctx N] [--threads N]

Every line is a message; the end of the input (Ctrl-D) ends the chat, Ctrl-C only the answer.
"""

import argparse
import sys

import pumice


def answer(chat, question, max_tokens):
    """Prints an answer as it is generated. What has been printed is remembered, also if the user has had enough."""
    try:
        for text in chat.send(question, max_tokens=max_tokens):
            print(text, end="", flush=True)
        print()
    except KeyboardInterrupt:
        print(" ...")
    except pumice.ContextFullError:
        # The model can read no more. Start anew, but for what the assistant was told at first.
        chat.messages = [message for message in chat.messages if message["role"] == "system"]
        print("(That was too long to remember. Let us begin again.)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a GGUF file with a chat template")
    parser.add_argument("--system", default="You are a helpful assistant.", help="what the assistant is told before")
    parser.add_argument("--n-ctx", type=int, default=4096, help="tokens that it remembers")
    parser.add_argument("--threads", type=int, help="default: all that this process may use")
    parser.add_argument("--max-tokens", type=int, default=512, help="of an answer")
    parser.add_argument("--temperature", type=float, default=0.7)
    options = parser.parse_args()
    try:
        with pumice.Model(options.model) as model:
            needs = model.memory(n_ctx=options.n_ctx, threads=options.threads)
            print(f"{model.arch}, {model.quant}: {needs.total / 1e6:.0f} MB", file=sys.stderr)
            settings = {"system": options.system, "n_ctx": options.n_ctx, "threads": options.threads}
            with model.chat(temperature=options.temperature, **settings) as chat:
                for line in sys.stdin:
                    if line.strip():
                        answer(chat, line.strip(), options.max_tokens)
    except pumice.Error as error:
        sys.exit(f"chat.py: {error}")


if __name__ == "__main__":
    main()
