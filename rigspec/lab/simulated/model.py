"""A tiny model whose answer is known, and simulated weights around it.

The GGUF is a real llama-architecture model of one layer: embeddings are one-hot, attention and feed
forward add nothing, and the output matrix maps each token to its successor in the answer. So the
forward pass is real, and whatever is asked, the greedy answer is `ANSWER`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

ANSWER = "rig is ready"
CONTEXT = 4096
WIDTH, HEADS, FEED_FORWARD = 320, 5, 640  # WIDTH must be at least the number of tokens
UNKNOWN, BEGIN, END = 0, 1, 2
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))


def _words() -> tuple[str, ...]:
    first, *others = ANSWER.split()
    return (first, *(f"\u2581{word}" for word in others))


def write_gguf(target: Path) -> None:
    """Write the known-answer model (4.8 MB, 32-bit floats)."""
    words = _words()
    tokens = ("<unk>", "<s>", "</s>", *BYTES, *words)
    writer = GGUFWriter(str(target), "llama")
    _describe(writer, tokens, len(words))
    for name, values in _tensors(len(tokens), len(words)).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: GGUFWriter, tokens: tuple[str, ...], words: int) -> None:
    writer.add_name("rigspec-lab-known-answer (simulated)")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(0)
    special = len(tokens) - words
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    # a word is merged before its bytes are used
    writer.add_token_scores([-1000.0] * special + [-1.0] * words)
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    kinds += [TokenType.BYTE] * len(BYTES) + [TokenType.NORMAL] * words
    writer.add_token_types(kinds)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")


def _tensors(tokens: int, words: int) -> dict[str, np.ndarray]:
    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    one_hot, successor = zeros(tokens, WIDTH), zeros(tokens, WIDTH)
    one_hot[np.arange(tokens), np.arange(tokens)] = 1
    first = tokens - words
    following = np.full(tokens, first)
    following[first:] = [*range(first + 1, tokens), END]
    successor[following, np.arange(tokens)] = 1
    ones = np.ones(WIDTH, np.float32)
    layer = {
        "attn_norm": ones,
        "attn_q": zeros(WIDTH, WIDTH),
        "attn_k": zeros(WIDTH, WIDTH),
        "attn_v": zeros(WIDTH, WIDTH),
        "attn_output": zeros(WIDTH, WIDTH),
        "ffn_norm": ones,
        "ffn_gate": zeros(FEED_FORWARD, WIDTH),
        "ffn_up": zeros(FEED_FORWARD, WIDTH),
        "ffn_down": zeros(WIDTH, FEED_FORWARD),
    }
    outer = {"token_embd": one_hot, "output_norm": ones, "output": successor}
    blocks = {f"blk.0.{name}": values for name, values in layer.items()}
    return {f"{name}.weight": values for name, values in {**outer, **blocks}.items()}


def gguf_bytes(scratch: Path) -> bytes:
    """The known-answer model as bytes; `scratch` is a folder to write in."""
    file = scratch / "known-answer.gguf"
    write_gguf(file)
    data = file.read_bytes()
    file.unlink()
    return data


def simulated_checkpoint(config: Mapping[str, object] | None = None) -> dict[str, bytes]:
    """The files of a Hugging Face checkpoint without weights in it: names and forms are real."""
    about = {"architectures": ["RigspecLabSimulated"], "model_type": "simulated"}
    header = json.dumps({"__metadata__": {"simulated": "rigspec lab"}}).encode()
    shard = "model-00001-of-00001.safetensors"
    index = {"metadata": {"total_size": 0}, "weight_map": {}}
    texts = {
        "config.json": {**about, **(config or {})},
        "generation_config.json": {"simulated": True},
        "tokenizer_config.json": {"simulated": True},
        "tokenizer.json": {"simulated": True},
        "model.safetensors.index.json": index,
    }
    files = {name: (json.dumps(data, indent=1) + "\n").encode() for name, data in texts.items()}
    return {**files, shard: len(header).to_bytes(8, "little") + header}
