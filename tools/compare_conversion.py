#!/usr/bin/env python3
"""Compare what `pumice convert` writes with what llama.cpp's converter writes: keys, types, values, tensors, bytes.

Needs llama.cpp's convert_hf_to_gguf.py and what that needs (the gguf, torch and transformers packages), by hand:

    python3 tools/compare_conversion.py path/to/convert_hf_to_gguf.py HF_DIR [TYPE ...]

Prints each difference; docs/formats.md says which are meant. The converter knows pre-tokenizers by hashes, which a fixture's
vocabulary has no entry for: where it does not know one, it is told what pumice found.
"""
import pathlib
import subprocess
import sys
import tempfile

import gguf

# Runs the converter, with pumice's name for the pre-tokenizer where it has none itself.
DRIVER = """
import os, runpy, sys
converter, pre, *arguments = sys.argv[1:]
sys.path.insert(0, os.path.dirname(converter))
from conversion.base import TextModel

known = TextModel.get_vocab_base_pre

def find(self, tokenizer):
    try:
        return known(self, tokenizer)
    except NotImplementedError:
        return pre

TextModel.get_vocab_base_pre = find
sys.argv[1:] = arguments
runpy.run_path(converter, run_name="__main__")
"""
PUMICE = pathlib.Path(__file__).parent.parent / "target/release/pumice"


def keys(reader):
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return {name: ([t.name for t in field.types], field.contents()) for name, field in fields.items()}


def tensors(reader):
    return {t.name: (t.tensor_type.name, [int(n) for n in t.shape], t.data.tobytes()) for t in reader.tensors}


def shown(value):
    text = repr(value)
    return text if len(text) < 100 else text[:100] + "…"


def compare(what, ours, theirs):
    differences = 0
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) == theirs.get(name):
            continue
        differences += 1
        print(f"  {what} {name}:")
        for who, side in [("pumice", ours), ("llama.cpp", theirs)]:
            value = side.get(name)
            if value and isinstance(value[-1], list) and value[-1] != (ours if side is theirs else theirs).get(name, [0])[-1]:
                other = (ours if side is theirs else theirs).get(name)
                if other and len(other[-1]) == len(value[-1]):
                    at = [i for i, (a, b) in enumerate(zip(value[-1], other[-1])) if a != b]
                    value = (value[0], f"{len(at)} elements, first {at[0]}: {value[-1][at[0]]!r}")
            print(f"    {who}: {shown(value)}")
    return differences


def main():
    converter, folder, *types = sys.argv[1:]
    for ty in types or ["f32", "f16", "bf16", "q8_0"]:
        with tempfile.TemporaryDirectory() as out:
            ours, theirs = f"{out}/ours.gguf", f"{out}/theirs.gguf"
            subprocess.run([PUMICE, "convert", folder, ours, "--type", ty], check=True)
            pre = keys(gguf.GGUFReader(ours)).get("tokenizer.ggml.pre", ([], ""))[1]
            command = [sys.executable, "-c", DRIVER, converter, pre, folder, "--outfile", theirs, "--outtype", ty]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            ours, theirs = gguf.GGUFReader(ours), gguf.GGUFReader(theirs)
            a, b = tensors(ours), tensors(theirs)
            print(f"{folder} {ty}: {len(keys(ours))} keys, {len(a)} tensors")
            found = compare("key", keys(ours), keys(theirs)) + compare("tensor", a, b)
            print(f"  {found} differences")


if __name__ == "__main__":
    main()
