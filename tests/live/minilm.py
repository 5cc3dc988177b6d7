#!/usr/bin/env python3
"""A real embedding model in the local engine against another implementation of it; `make minilm` runs it.

all-MiniLM-L6-v2 is written as a GGUF file, in single precision, from the package that the router's training takes its words
from, and `tollgate engine` is asked for vectors. They must be those of the training's own encoder (numpy and the model's
tokenizer), which shares no code with llama.cpp. Run in the training's virtual environment.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "router/training"))
from encoder import EPSILON, HEADS, Encoder, vocabulary  # noqa: E402

SPECIAL = {"[PAD]": "padding", "[UNK]": "unknown", "[CLS]": "bos", "[SEP]": "seperator", "[MASK]": "mask"}
NORMAL, CONTROL = 1, 3
U32, F32, BOOL, TEXT, ARRAY, I32 = 4, 6, 7, 8, 9, 5
ALIGNMENT = 32
# Short, as the training's encoder looks at sixteen tokens.
TEXTS = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again!",
         "Où est la gare?", "def add(a, b): return a + b", "unbelievably", "你好", "x²+y²=1", "NASA's 3 rovers"]
# The farthest that two implementations in single precision may be apart.
LEAST_COSINE = 0.9999

NAMES = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
         "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
         "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
OUTER = {"word_embeddings": "token_embd", "position_embeddings": "position_embd", "token_type_embeddings": "token_types",
         "LayerNorm": "token_embd_norm"}


def tensor_name(name):
    """llama.cpp's name of a tensor; none for what it has no use for."""
    stem, _, kind = name.rpartition(".")
    if stem.startswith("embeddings."):
        found = OUTER.get(stem.removeprefix("embeddings."))
        return found and f"{found}.{kind}"
    if stem.startswith("encoder.layer."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{NAMES[part]}.{kind}"
    return None


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    """A metadata value: its type, and its bytes."""
    if kind == ARRAY:
        element, items = content
        body = b"".join(value(element, item)[4:] for item in items)
        return struct.pack("<IIQ", ARRAY, element, len(items)) + body
    body = text(content) if kind == TEXT else struct.pack({U32: "<I", F32: "<f", BOOL: "<?", I32: "<i"}[kind], content)
    return struct.pack("<I", kind) + body


def piece(word):
    """A WordPiece as llama.cpp has it: marked where a word begins, and not where it goes on."""
    return word if word in SPECIAL else word[2:] if word.startswith("##") else "\u2581" + word


def write(path, encoder):
    """The model as a GGUF file."""
    words = vocabulary()
    tensors = {tensor_name(name): np.ascontiguousarray(data, "<f4") for name, data in encoder.p.items() if tensor_name(name)}
    positions, width = tensors["position_embd.weight"].shape
    keys = {
        "general.architecture": (TEXT, "bert"), "general.name": (TEXT, "all-MiniLM-L6-v2"),
        "bert.context_length": (U32, positions), "bert.embedding_length": (U32, width),
        "bert.feed_forward_length": (U32, len(tensors["blk.0.ffn_up.weight"])), "bert.block_count": (U32, encoder.layers),
        "bert.attention.head_count": (U32, HEADS), "bert.attention.layer_norm_epsilon": (F32, EPSILON),
        "bert.attention.causal": (BOOL, False), "bert.pooling_type": (U32, 1),
        "tokenizer.ggml.model": (TEXT, "bert"), "tokenizer.ggml.token_type_count": (U32, 2),
        "tokenizer.ggml.tokens": (ARRAY, (TEXT, [piece(word) for word in words])),
        "tokenizer.ggml.token_type": (ARRAY, (I32, [CONTROL if word in SPECIAL else NORMAL for word in words])),
    } | {f"tokenizer.ggml.{name}_token_id": (U32, words.index(word)) for word, name in SPECIAL.items()}
    head, offset = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)), 0
    head += b"".join(text(key) + value(*content) for key, content in keys.items())
    padded = lambda size: -size % ALIGNMENT
    for name, data in tensors.items():
        head += text(name) + struct.pack(f"<I{data.ndim}QIQ", data.ndim, *reversed(data.shape), 0, offset)
        offset += data.nbytes + padded(data.nbytes)
    with open(path, "wb") as file:
        file.write(head + bytes(padded(len(head))))
        for data in tensors.values():
            file.write(data.tobytes() + bytes(padded(data.nbytes)))


def ask(url, texts):
    """The engine's vectors of these texts."""
    request = urllib.request.Request(f"{url}/v1/embeddings", json.dumps({"input": texts}).encode())
    with urllib.request.urlopen(request, timeout=120) as answer:
        return np.array([item["embedding"] for item in json.load(answer)["data"]], np.float32)


def listening(engine):
    """Where the engine answers, once it has said so in its log."""
    for line in engine.stderr:
        fields = json.loads(line) if line.startswith("{") else {}
        if fields.get("message") == "ready":
            return f"http://{fields['address']}"
    raise RuntimeError("the engine ended before it was ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, help="the tollgate binary")
    arguments = parser.parse_args()
    encoder = Encoder()
    with tempfile.TemporaryDirectory(prefix="tollgate-minilm-") as folder:
        path = Path(folder) / "all-minilm-l6-v2.gguf"
        write(path, encoder)
        command = [arguments.tollgate, "engine", "--model", path, "--listen", "127.0.0.1:0", "--threads", "1"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as engine:
            try:
                found = ask(listening(engine), TEXTS)
            finally:
                engine.terminate()
    wanted = encoder.vectors(TEXTS)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    cosines = (found * wanted).sum(1)
    for line, cosine in zip(TEXTS, cosines):
        print(f"{'PASS' if cosine >= LEAST_COSINE else 'FAIL'}  {cosine:.6f}  {line}")
    sys.exit(0 if cosines.min() >= LEAST_COSINE else 1)


if __name__ == "__main__":
    main()
