#!/usr/bin/env python3
"""Make tests/fixtures: a tiny checkpoint of each family with random weights, its tokenizer, and reference logits.

Needs torch, transformers, tokenizers and sentencepiece, by hand:

    python3 tools/make_fixtures.py [--hidden] [NAME ...]

Shapes are awkward on purpose: odd numbers of heads, heads that do not fill the width, rows that are no whole blocks,
tied and untied outputs, several shards. expected.json holds a text, its tokens and where they are from; logits.f32 the
logits of every position, [tokens][n_vocab], and hidden.f32 the final hidden states, [tokens][n_embd], computed in float64.
Of classifiers, expected.json holds the scores and labels instead. --hidden computes hidden.f32 of checkpoints that are there.
"""
import json
import pathlib
import re
import shutil
import sys

import numpy as np
import sentencepiece
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).parent.parent
CORPUS = ROOT / "tools/data/persuasion_8.txt"
TEXT = "Captain Wentworth came in; her eye half met his."
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def randomize(model, seed):
    """Weights whose logits are far apart, so that a mistake anywhere shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                middle = 1.0 if re.search(r"(ln_|norm).*weight", name) else 0.0
                weight.copy_(middle + 0.2 * noise)
            elif re.search(r"attention.[qk]_proj", name):  # GPT-Neo's, whose scores nothing divides
                weight.copy_(0.3 * noise / weight.shape[-1] ** 0.5)
            elif re.search(r"(o|out|attn.c)_proj", name):  # keys and values are kept as f16: a small part of the whole
                weight.copy_(0.3 * noise / weight.shape[-1] ** 0.5)
            elif re.search(r"embed|wte|wpe", name):
                weight.copy_(0.7 * noise)
            else:
                weight.copy_(noise / weight.shape[-1] ** 0.5)


def byte_level(n_vocab, special, pattern=None, bos=None):
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=pattern is not None))
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern:
        split = pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
        byte = pre_tokenizers.Sequence([split, byte])
    tokenizer.pre_tokenizer = byte
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=n_vocab - len(special), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train([str(CORPUS)], trainer)
    tokenizer.add_special_tokens(special)
    if bos:
        single, ids = f"{bos} $A", [(bos, tokenizer.token_to_id(bos))]
        pair = f"{bos} $A {bos}:1 $B:1"
        tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    return tokenizer


def gpt1_tokenizer(n_vocab):
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train([str(CORPUS)], trainer)
    return tokenizer


def sentencepiece_model(folder, n_vocab):
    sentencepiece.SentencePieceTrainer.train(
        input=str(CORPUS), model_prefix=str(folder / "tokenizer"), vocab_size=n_vocab, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        character_coverage=1.0, minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def save_slow(folder, tokenizer):
    """vocab.json and merges.txt, as the first tokenizers had them."""
    model = json.loads(tokenizer.to_str())["model"]
    vocab = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))


def write_json(path, content):
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def edit_json(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    write_json(path, {key: value for key, value in content.items() if value is not ...})


def original_names(folder, masks):
    """The names that the first checkpoints have: no prefix, and the causal mask among the weights."""
    path = folder / "model.safetensors"
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
    for layer, size in masks:
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, size, size, dtype=torch.uint8).tril()
    save_file(tensors, path, metadata={"format": "pt"})


def finish(name, folder, model, tokens, seed, dtype, shard="1GB"):
    randomize(model, seed)
    model = model.to(dtype)
    model.save_pretrained(folder, max_shard_size=shard)
    # Read again, as a change of type rounds the rotary frequencies along with the weights.
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    with torch.inference_mode():
        logits = reference(torch.tensor([tokens])).logits[0].numpy().astype("<f4")
    (folder / "logits.f32").write_bytes(logits.tobytes())
    write_json(folder / "expected.json", {
        "text": TEXT, "tokens": tokens, "n_vocab": int(logits.shape[1]), "made_with": f"transformers {transformers.__version__}",
    })
    print(f"{name}: {len(tokens)} tokens, spread {np.ptp(logits):.1f}, std {logits.std():.2f}")


def hidden(name, folder):
    """The final hidden states of a fixture that is there, which the output matrix has to make its logits of."""
    expected = json.loads((folder / "expected.json").read_text())
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    with torch.inference_mode():
        states = model.base_model(torch.tensor([expected["tokens"]])).last_hidden_state[0]
        logits = (states @ model.get_output_embeddings().weight.T).numpy()
    known = np.fromfile(folder / "logits.f32", "<f4").reshape(logits.shape)
    assert np.abs(known - logits).max() < 1e-5, f"{name}: other logits than before"
    (folder / "hidden.f32").write_bytes(states.numpy().astype("<f4").tobytes())


def classifier(name, folder, model, tokens, seed):
    """A model with a head in place of the output matrix."""
    randomize(model, seed)
    model.save_pretrained(folder)
    reference = type(model).from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    with torch.inference_mode():
        scores = reference(torch.tensor([tokens])).logits[0].tolist()
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    write_json(folder / "expected.json", {
        "text": TEXT, "tokens": tokens, "labels": labels, "scores": scores,
        "made_with": f"transformers {transformers.__version__}",
    })
    print(f"{name}: {dict(zip(labels, scores))}")


def gpt1(name, folder):
    tokenizer = gpt1_tokenizer(230)
    save_slow(folder, tokenizer)
    config = transformers.OpenAIGPTConfig(
        vocab_size=tokenizer.get_vocab_size(), n_positions=48, n_embd=42, n_layer=2, n_head=3, afn="gelu"
    )
    finish(name, folder, transformers.OpenAIGPTLMHeadModel(config), tokenizer.encode(TEXT).ids, 1, torch.float32)
    original_names(folder, [(0, 48), (1, 48)])


def gpt2(name, folder):
    tokenizer = byte_level(300, ["<|endoftext|>"])
    save_slow(folder, tokenizer)
    end = tokenizer.token_to_id("<|endoftext|>")
    config = transformers.GPT2Config(
        vocab_size=tokenizer.get_vocab_size() + 3, n_positions=64, n_embd=60, n_layer=2, n_head=5, n_inner=100,
        bos_token_id=end, eos_token_id=end, layer_norm_epsilon=2e-5,
    )
    finish(name, folder, transformers.GPT2LMHeadModel(config), tokenizer.encode(TEXT).ids, 2, torch.float32)
    original_names(folder, [(0, 64)])
    edit_json(folder / "config.json", n_ctx=64)


def gpt2_untied(name, folder):
    tokenizer = byte_level(290, ["<|endoftext|>", "<|pad|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "GPT2TokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
        "pad_token": "<|pad|>", "unk_token": "<|endoftext|>", "add_bos_token": False,
    })
    end = tokenizer.token_to_id("<|endoftext|>")
    config = transformers.GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_positions=64, n_embd=64, n_layer=2, n_head=2, n_inner=96,
        bos_token_id=end, eos_token_id=end, tie_word_embeddings=False,
    )
    model = transformers.GPT2LMHeadModel(config)
    finish(name, folder, model, tokenizer.encode(TEXT).ids, 3, torch.float16, shard="150kB")
    edit_json(folder / "config.json", n_ctx=64)


def gptneo(name, folder):
    tokenizer = byte_level(290, ["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|endoftext|>")
    config = transformers.GPTNeoConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64, hidden_size=36, num_layers=4, num_heads=3,
        attention_types=[[["global", "local"], 2]], window_size=7, intermediate_size=64, bos_token_id=end, eos_token_id=end,
    )
    finish(name, folder, transformers.GPTNeoForCausalLM(config), tokenizer.encode(TEXT).ids, 4, torch.float32)
    edit_json(folder / "config.json", attention_layers=...)


def llama1(name, folder):
    """Llama 1: as many key-value heads as heads, and the tokenizer in tokenizer.json alone."""
    spm = sentencepiece_model(folder, 360)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False, "legacy": True,
    })
    vocab = [(spm.id_to_piece(i), spm.get_score(i)) for i in range(spm.vocab_size())]
    ids = {piece: i for i, (piece, _) in enumerate(vocab)}
    pairs = []
    for piece, score in vocab:
        splits = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        pairs += [(-score, ids[a], ids[b], a, b) for a, b in splits if a in ids and b in ids]
    merges = [(a, b) for _, _, _, a, b in sorted(pairs)]
    tokenizer = tokenizers.Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
    ])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer.model").unlink()
    config = transformers.LlamaConfig(
        vocab_size=spm.vocab_size(), hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5,
        max_position_embeddings=64, rms_norm_eps=1e-6,
    )
    tokens = tokenizer.encode(TEXT).ids
    assert tokens == [1, *spm.encode(TEXT)]
    finish(name, folder, transformers.LlamaForCausalLM(config), tokens, 5, torch.float32)


def llama2(name, folder):
    """Llama 2: grouped queries, SentencePiece's own file, linear scaling in the words of its time, three shards."""
    spm = sentencepiece_model(folder, 350)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "LlamaTokenizer", "bos_token": {"content": "<s>"}, "eos_token": {"content": "</s>"},
        "unk_token": {"content": "<unk>"}, "add_bos_token": True, "add_eos_token": False,
        "added_tokens_decoder": {
            "350": {"content": "<pad>", "special": True}, "351": {"content": "▁sea▁shore", "special": False},
        },
        "chat_template": "{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}",
    })
    config = transformers.LlamaConfig(
        vocab_size=356, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, head_dim=20, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=5000.0,
        rope_parameters={"rope_type": "linear", "factor": 2.5, "rope_theta": 5000.0},
    )
    model = transformers.LlamaForCausalLM(config)
    finish(name, folder, model, [1, *spm.encode(TEXT)], 6, torch.bfloat16, shard="40kB")
    edit_json(
        folder / "config.json", rope_parameters=..., rope_theta=5000.0, rope_scaling={"type": "linear", "factor": 2.5}
    )


def llama3(name, folder):
    """Llama 3.2: tied, byte-level, scaled frequencies; and biases, which the class has although the models have none."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    tokenizer = byte_level(310, special, LLAMA3_PATTERN, bos="<|begin_of_text|>")
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": special[0], "eos_token": special[2],
    })
    (folder / "chat_template.jinja").write_text("{{ bos_token }}{% for m in messages %}{{ m.content }}<|eot_id|>{% endfor %}")
    write_json(folder / "generation_config.json", {"temperature": 0.6, "top_p": 0.9, "top_k": 40})
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=8, num_key_value_heads=2, head_dim=12, max_position_embeddings=128, rms_norm_eps=1e-5,
        tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
        bos_token_id=tokenizer.token_to_id(special[0]), eos_token_id=tokenizer.token_to_id(special[2]),
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 50000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    )
    tokens = tokenizer.encode(TEXT).ids
    model = transformers.LlamaForCausalLM(config)
    model.generation_config = transformers.GenerationConfig(temperature=0.6, top_p=0.9, top_k=40, do_sample=True)
    finish(name, folder, model, tokens, 7, torch.bfloat16)


def gpt2_classifier(name, folder):
    """Three classes with names."""
    tokenizer = byte_level(290, ["<|endoftext|>"])
    save_slow(folder, tokenizer)
    end = tokenizer.token_to_id("<|endoftext|>")
    config = transformers.GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_positions=64, n_embd=36, n_layer=2, n_head=3, bos_token_id=end,
        eos_token_id=end, pad_token_id=end, id2label={0: "regret", 1: "hope", 2: "nothing of either"},
        label2id={"regret": 0, "hope": 1, "nothing of either": 2},
    )
    classifier(name, folder, transformers.GPT2ForSequenceClassification(config), tokenizer.encode(TEXT).ids, 8)


def llama_reward(name, folder):
    """One class without a name, as reward models have it."""
    special = ["<|begin_of_text|>", "<|end_of_text|>"]
    tokenizer = byte_level(290, special, LLAMA3_PATTERN, bos="<|begin_of_text|>")
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": special[0], "eos_token": special[1],
    })
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=40, intermediate_size=56, num_hidden_layers=2,
        num_attention_heads=5, num_key_value_heads=1, max_position_embeddings=64, num_labels=1,
        bos_token_id=tokenizer.token_to_id(special[0]), eos_token_id=tokenizer.token_to_id(special[1]),
        pad_token_id=tokenizer.token_to_id(special[1]),
    )
    classifier(name, folder, transformers.LlamaForSequenceClassification(config), tokenizer.encode(TEXT).ids, 9)


FIXTURES = {
    "gpt1": gpt1, "gpt2": gpt2, "gpt2-untied": gpt2_untied, "gptneo": gptneo, "llama1": llama1, "llama2": llama2,
    "llama3": llama3, "gpt2-classifier": gpt2_classifier, "llama-reward": llama_reward,
}


def main():
    names = [name for name in sys.argv[1:] if name != "--hidden"]
    for name in names or FIXTURES:
        folder = ROOT / "tests/fixtures" / name
        if "--hidden" in sys.argv:
            hidden(name, folder)
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        FIXTURES[name](name, folder)
        if (folder / "logits.f32").exists():
            hidden(name, folder)


if __name__ == "__main__":
    main()
