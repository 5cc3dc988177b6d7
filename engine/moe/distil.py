#!/usr/bin/env python3
"""Corrections for a cut model's down projections, learnt from the dense model it is cut from; `make distil` runs it.

Layer by layer the mixture sees what its own layers before made, and a low-rank change of the down projection is fitted
so that the residual stream comes out as the dense model's: ridge regression in closed form, truncated to the rank at
which it loses least, the ridge chosen on held-out text. `make-moe` adds the change to the weights before it quantizes
them, so an answer costs nothing more. Writes a new plan: the old one's orders and routers, and the corrections.
"""

import argparse
import json
import time

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from scipy.linalg import solve_triangular

HEADS, KV_HEADS, HEAD = 14, 2, 64
EPSILON, ROPE_BASE = 1e-6, 1e6
# ChatML's token that opens a message: everything before the second one's text is the same in every row.
OPENING = 151644


class Weights:
    """The dense model's tensors as numbers, turned into them when asked for."""

    def __init__(self, path):
        self.tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}

    def __call__(self, name):
        tensor = self.tensors[name]
        shape = tuple(int(n) for n in reversed(tensor.shape))
        return gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)


class Text:
    """Rows of tokens, one after the other: where each begins, what an answer is, and how much each token counts."""

    def __init__(self, path, limit, held_every=7):
        rows = [json.loads(line) for line in open(path, encoding="utf-8")]
        rows = [(row["pre"], row["out"]) for row in rows if 8 < len(row["pre"]) + len(row["out"]) < 400]
        self.tokens, self.starts, held, answer, prefix = [], [0], [], [], []
        for number, (asked, said) in enumerate(rows):
            if len(self.tokens) > limit:
                break
            row = asked + said
            openings = [at for at, token in enumerate(row) if token == OPENING]
            same = openings[1] + 3 if len(openings) > 1 else 1
            self.tokens += row
            self.starts.append(len(self.tokens))
            held += [number % held_every == 3] * len(row)
            answer += [False] * len(asked) + [True] * len(said)
            prefix += [True] * same + [False] * (len(row) - same)
        self.tokens = np.array(self.tokens)
        self.held, self.answer, self.prefix = np.array(held), np.array(answer), np.array(prefix)
        self.weight = np.where(self.prefix, min(1.0, 1200 / max(1, self.prefix.sum())), 1.0)
        self.weight = (self.weight * np.where(self.answer, 1.5, 1.0)).astype(np.float32)


def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight


def rope(x):
    """Turns `x` (tokens, heads, HEAD) by its positions; halves are paired, as qwen2 has them."""
    angle = np.arange(len(x))[:, None] * ROPE_BASE ** (-np.arange(0, HEAD, 2) / HEAD)[None]
    cosine, sine = np.cos(angle).astype(np.float32)[:, None], np.sin(angle).astype(np.float32)[:, None]
    a, b = x[..., : HEAD // 2], x[..., HEAD // 2 :]
    return np.concatenate([a * cosine - b * sine, a * sine + b * cosine], -1)


def attend(weights, layer, x, starts):
    """`x` after a layer's attention, the residual stream added."""
    at = f"blk.{layer}."
    h = norm(x, weights(at + "attn_norm.weight"))
    q, k, v = (h @ weights(f"{at}attn_{n}.weight").T + weights(f"{at}attn_{n}.bias") for n in "qkv")
    out = np.empty_like(q)
    for begin, end in zip(starts, starts[1:]):
        n = end - begin
        rq = rope(q[begin:end].reshape(n, HEADS, HEAD)).transpose(1, 0, 2)
        rk = rope(k[begin:end].reshape(n, KV_HEADS, HEAD)).transpose(1, 0, 2).repeat(HEADS // KV_HEADS, 0)
        rv = v[begin:end].reshape(n, KV_HEADS, HEAD).transpose(1, 0, 2).repeat(HEADS // KV_HEADS, 0)
        score = rq @ rk.transpose(0, 2, 1) / np.sqrt(np.float32(HEAD)) + np.triu(np.full((n, n), -1e9, np.float32), 1)
        score = np.exp(score - score.max(-1, keepdims=True))
        out[begin:end] = ((score / score.sum(-1, keepdims=True)) @ rv).transpose(1, 0, 2).reshape(n, -1)
    return x + out @ weights(at + "attn_output.weight").T


def neurons(h, gate, up):
    a = h @ gate.T
    a /= 1 + np.exp(-np.clip(a, -60, 60))
    a *= h @ up.T
    return a


class Cut:
    """How the plan cuts one layer."""

    def __init__(self, plan, shared, layer):
        self.order = plan[f"blk.{layer}.permutation"].data.view(np.int16).astype(int)
        self.router = np.array(plan[f"blk.{layer}.router"].data, np.float32).reshape(-1, 896)
        self.shared = shared

    def mask(self, h, active):
        """What each neuron's activation is multiplied by, in the dense model's order."""
        logits = h @ self.router.T
        experts = logits.shape[1]
        share = np.exp(logits - logits.max(1, keepdims=True))
        share *= experts / share.sum(1, keepdims=True)
        idle = np.argpartition(-logits, active - 1, 1)[:, active:]
        np.put_along_axis(share, idle, 0, 1)
        routed = share.repeat((len(self.order) - self.shared) // experts, 1)
        mask = np.ones((len(h), len(self.order)), np.float32)
        mask[:, self.order[self.shared :]] = routed
        return mask


def q8(x):
    return gguf.quantize(np.ascontiguousarray(x, np.float32), Kind.Q8_0)


def fit(a, wanted, weight, held, rank, ridges):
    """The best low-rank change of the down projection as (left, right) in Q8_0, and the held-out errors: of none, and of
    it, relative to the dense stream."""
    train, test = ~held, held
    root = np.sqrt(weight[train] * train.sum() / weight[train].sum())[:, None]
    x, y = a[train] * root, wanted[train] * root
    gram, cross = x.T @ x / len(x), x.T @ y / len(x)
    own = np.diag(gram).copy()
    penalty = own + 0.1 * np.median(own)
    error = lambda change: float((((wanted[test] - change) ** 2).mean(1) * weight[test]).sum() / weight[test].sum())
    best = None
    for ridge in ridges:
        lower = np.linalg.cholesky(gram + np.diag(ridge * penalty))
        m = solve_triangular(lower, cross, lower=True, check_finite=False)
        value, vector = np.linalg.eigh(m.T @ m)
        vector = vector[:, ::-1][:, :rank]
        right = solve_triangular(lower.T, m @ vector, lower=False, check_finite=False).T
        # Both factors equally large, so that eight bits serve both.
        scale = np.sqrt(np.linalg.norm(right, axis=1) + 1e-12)[:, None]
        stored = q8(vector.T * scale), q8(right / scale)
        left, right = (gguf.dequantize(part, Kind.Q8_0) for part in stored)
        loss = error((a[test] @ right.T) @ left)
        if best is None or loss < best[0]:
            full = error(a[test] @ solve_triangular(lower.T, m, lower=False, check_finite=False))
            best = (loss, ridge, stored, left, right, full)
    loss, ridge, stored, left, right, full = best
    print(f"    held out: {error(np.zeros_like(wanted[:1])):.5f} -> {loss:.5f} (full rank {full:.5f}, ridge {ridge})", end=" ")
    return stored, left, right


def divergence(weights, dense, others, chosen):
    """Mean KL of each stream's next-token distribution from the dense one's, at the chosen tokens."""
    final, head = weights("output_norm.weight"), weights("output.weight")
    def logs(x):
        z = norm(x[chosen], final) @ head.T
        z -= z.max(1, keepdims=True)
        return z - np.log(np.exp(z).sum(1, keepdims=True))
    teacher = logs(dense)
    return [float((np.exp(teacher) * (teacher - logs(x))).sum(1).mean()) for x in others]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dense", required=True, help="the dense model's GGUF file")
    parser.add_argument("--plan", required=True, help="the plan to begin with")
    parser.add_argument("--text", required=True, help="JSON lines of token ids: pre (asked) and out (the dense model's answer)")
    parser.add_argument("--out", required=True, help="where the new plan goes")
    parser.add_argument("--active", type=int, required=True, help="experts that a token passes through")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--ridges", type=float, nargs="+", default=[0.3, 1.0, 3.0], help="tried for each layer, the best kept")
    parser.add_argument("--tokens", type=int, default=14000)
    parser.add_argument("--minutes", type=float, default=1e9, help="layers not reached by then stay as they are")
    arguments = parser.parse_args()
    started = time.monotonic()
    weights, text = Weights(arguments.dense), Text(arguments.text, arguments.tokens)
    reader = gguf.GGUFReader(arguments.plan)
    plan = {tensor.name: tensor for tensor in reader.tensors}
    shared = int(reader.fields["tollgate.shared_neurons"].contents())
    writer = gguf.GGUFWriter(arguments.out, reader.fields["general.architecture"].contents())
    writer.add_uint32("tollgate.shared_neurons", shared)
    dense = weights("token_embd.weight")[text.tokens]
    student, plain = dense.copy(), dense.copy()
    layers = sum(name.endswith(".router") for name in plan)
    for layer in range(layers):
        began = time.monotonic()
        at, cut = f"blk.{layer}.", Cut(plan, shared, layer)
        writer.add_tensor(at + "permutation", np.array(plan[at + "permutation"].data).view(np.int16), raw_dtype=Kind.I16)
        writer.add_tensor(at + "router", cut.router)
        if began - started > 60 * arguments.minutes:
            continue
        dense, student, plain = (attend(weights, layer, x, text.starts) for x in (dense, student, plain))
        scale, gate, up, down = (weights(f"{at}ffn_{n}.weight") for n in ("norm", "gate", "up", "down"))
        dense += neurons(norm(dense, scale), gate, up) @ down.T
        h = norm(student, scale)
        a = neurons(h, gate, up) * cut.mask(h, arguments.active)
        student += a @ down.T
        weight = text.weight / (dense**2).mean(1).clip(1e-6)
        stored, left, right = fit(a, dense - student, weight, text.held, arguments.rank, arguments.ridges)
        student += (a @ right.T) @ left
        del a
        h = norm(plain[text.held], scale)
        plain[text.held] += (neurons(h, gate, up) * cut.mask(h, arguments.active)) @ down.T
        writer.add_tensor(at + "down_left", stored[0], raw_dtype=Kind.Q8_0)
        writer.add_tensor(at + "down_right", stored[1], raw_dtype=Kind.Q8_0)
        print(f"layer {layer}, {time.monotonic() - began:.0f} s", flush=True)
    if time.monotonic() - started <= 60 * arguments.minutes:
        chosen = np.flatnonzero(text.held & text.answer)[:500]
        before, after = divergence(weights, dense, (plain, student), chosen)
        print(f"==> KL from the dense model on {len(chosen)} held-out answer tokens: cut alone {before:.4f}, corrected {after:.4f}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
