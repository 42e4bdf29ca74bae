"""Write a trained model and its tokenizer as a GGUF file: matrices in Q8_0, norms in F32, architecture `llama`."""

import json
from pathlib import Path

import gguf

from model import Llama

END = "<|endoftext|>"


def write_gguf(path: Path, model: Llama, tokenizer_json: Path, package: str) -> None:
    """`package` names the package and version that the text came from."""
    c = model.c
    bpe = json.loads(tokenizer_json.read_text(encoding="utf-8"))["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    if len(tokens) != c.vocab or list(map(bpe["vocab"].get, tokens)) != list(range(c.vocab)):
        raise ValueError("the vocabulary does not fit the model")
    end = bpe["vocab"][END]
    # `tokenizers` writes a merge as a pair or, in older versions, as one string.
    merges = [m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]]

    out = gguf.GGUFWriter(path, "llama")
    out.add_name("Austen")
    out.add_description("A small language model that writes in the manner of Jane Austen's novels.")
    out.add_license("MIT OR Apache-2.0")
    out.add_languages(["en"])
    out.add_tags(["text-generation"])
    out.add_string("general.source.text", "Jane Austen's six novels (public domain), from Project Gutenberg")
    out.add_string("general.source.package", package)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)
    out.add_context_length(c.context)
    out.add_embedding_length(c.width)
    out.add_block_count(c.layers)
    out.add_feed_forward_length(c.ffn)
    out.add_head_count(c.heads)
    out.add_head_count_kv(c.kv_heads)
    out.add_layer_norm_rms_eps(c.norm_eps)
    out.add_rope_dimension_count(c.head_dim)
    out.add_rope_freq_base(c.rope_base)
    out.add_vocab_size(c.vocab)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([gguf.TokenType.CONTROL if t == END else gguf.TokenType.NORMAL for t in tokens])
    out.add_token_merges(merges)
    out.add_bos_token_id(end)
    out.add_eos_token_id(end)
    out.add_add_bos_token(True)
    out.add_add_eos_token(False)
    for name, weight in model.state_dict().items():
        data = weight.float().numpy()
        if data.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            out.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            out.add_tensor(name, data)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
