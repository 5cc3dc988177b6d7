#!/usr/bin/env python3
"""Makes a cut model answer as the dense model it is cut from: routers and low-rank changes of the feed-forward matrices,
learnt by gradient descent from the dense model's next-token distributions; `make distil` runs it. The weights that are
changed are read as they will be stored, so that what coarse storing costs is made good as well.

The mixture is computed densely, idle neurons set to nothing, so that the routers learn from how much each expert would
have helped. Tokens that begin a chat are the same in every row, so rows share them. How many experts a token passes
through is drawn anew for each step: one plan then serves several shares. `make-moe` adds the changes to the weights
before it quantizes them, so an answer costs nothing more. Writes a new plan: the old one's orders, and what was learnt.
"""

import argparse
import json
import time
from functools import partial

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gguf import GGMLQuantizationType as Kind

HEADS, KV_HEADS, HEAD, WIDTH = 14, 2, 64, 896
EPSILON, ROPE_BASE = 1e-6, 1e6
# ChatML's token that opens a message: everything before the second one's text is the same in every row.
OPENING = 151644
# Tokens of one step, and how many of them may count in the loss.
STEP, COUNTED = 640, 448
# Loss of a token: of the dense model's distribution and of the larger model's word, in its answers; of the prompt.
OWN, LARGER, ASKED = 0.5, 1.0, 0.2
TENSORS = ["attn_norm.weight", "attn_q.weight", "attn_q.bias", "attn_k.weight", "attn_k.bias", "attn_v.weight", "attn_v.bias",
           "attn_output.weight", "ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"]


def weights(path):
    """A dense model's tensors as numbers; those of the layers stacked."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}

    def read(name):
        tensor = tensors[name]
        shape = tuple(int(n) for n in reversed(tensor.shape))
        return gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)

    layers = sum(name.endswith("ffn_down.weight") for name in tensors)
    stack = {name: jnp.asarray(np.stack([read(f"blk.{layer}.{name}") for layer in range(layers)])) for name in TENSORS}
    head = "output.weight" if "output.weight" in tensors else "token_embd.weight"
    return stack, read("token_embd.weight"), jnp.asarray(read("output_norm.weight")), jnp.asarray(read(head))


class Plan:
    """A plan file: how each layer is cut."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.architecture = reader.fields["general.architecture"].contents()
        self.shared = int(reader.fields["tollgate.shared_neurons"].contents())
        self.layers = sum(name.endswith(".router") for name in self.tensors)
        self.orders = [np.array(self.tensors[f"blk.{layer}.permutation"].data).view(np.int16).astype(np.int32) for layer in range(self.layers)]
        self.routers = [np.array(self.tensors[f"blk.{layer}.router"].data, np.float32).reshape(-1, WIDTH) for layer in range(self.layers)]

    def join(self):
        """Makes one expert of two, those first whose routers are most alike."""
        for layer, (order, router) in enumerate(zip(self.orders, self.routers)):
            apart = router - router.mean(0)
            apart /= np.linalg.norm(apart, axis=1, keepdims=True)
            alike = apart @ apart.T
            pairs, left = [], set(range(len(router)))
            for first, second in sorted(((i, j) for i in left for j in left if i < j), key=lambda pair: -alike[pair]):
                if first in left and second in left:
                    left -= {first, second}
                    pairs.append((first, second))
            experts = order[self.shared :].reshape(len(router), -1)
            self.orders[layer] = np.concatenate([order[: self.shared]] + [experts[at] for pair in pairs for at in pair])
            self.routers[layer] = np.stack([router[list(pair)].mean(0) for pair in pairs])

    def write(self, path, learnt):
        writer = gguf.GGUFWriter(path, self.architecture)
        writer.add_uint32("tollgate.shared_neurons", self.shared)
        for layer in range(self.layers):
            at, inverse = f"blk.{layer}.", np.argsort(self.orders[layer])
            writer.add_tensor(at + "permutation", self.orders[layer].astype(np.int16), raw_dtype=Kind.I16)
            writer.add_tensor(at + "router", np.asarray(learnt["router"][layer], np.float32))
            for matrix in ("gate", "up", "down"):
                left, right = np.asarray(learnt[f"{matrix}_left"][layer]), np.asarray(learnt[f"{matrix}_right"][layer])[:, inverse]
                # Both factors equally large, so that eight bits serve both.
                scale = np.sqrt(np.linalg.norm(right, axis=1) / (np.linalg.norm(left, axis=1) + 1e-12) + 1e-12)[:, None]
                for side, part in [("left", left * scale), ("right", right / scale)]:
                    writer.add_tensor(f"{at}{matrix}_{side}", gguf.quantize(np.ascontiguousarray(part, np.float32), Kind.Q8_0), raw_dtype=Kind.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def packs(path):
    """Rows laid into steps of STEP tokens behind one shared beginning: dicts of arrays; the last twentieth is held out."""
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]
    openings = [at for at, token in enumerate(rows[0]["pre"]) if token == OPENING]
    begin = openings[1] + 3
    prefix = rows[0]["pre"][:begin]
    np.random.default_rng(3).shuffle(rows)
    held = len(rows) // 20
    made = []
    for part in (rows[held:], rows[:held]):
        steps, now = [], None
        for row in part:
            assert row["pre"][:begin] == prefix
            asked, said = row["pre"][begin:], row["out"]
            if not said or len(asked) + len(said) > STEP - begin:
                continue
            if now is None or len(now["token"]) + len(asked) + len(said) > STEP:
                now = {"token": list(prefix), "row": [0] * begin, "place": list(range(begin)), "own": [0.0] * begin, "word": [0.0] * begin}
                steps.append(now)
            length, theirs = len(asked) + len(said), row["by"] == "larger"
            now["token"] += asked + said
            now["row"] += [max(now["row"]) + 1] * length
            now["place"] += range(begin, begin + length)
            # A token's distribution is of what comes after it: the last one asked foretells the first one said.
            now["own"] += [ASKED] * (len(asked) - 1) + [OWN if theirs else 1.0] * len(said) + [0.0]
            now["word"] += [0.0] * (len(asked) - 1) + [LARGER if theirs else 0.0] * len(said) + [0.0]
        made.append([finish(step) for step in steps])
    return made


def finish(step):
    """A step padded to its size, and which of its tokens count most."""
    room = STEP - len(step["token"])
    arrays = {name: np.array(values + [-1 if name == "row" else 0] * room, np.float32 if name in ("own", "word") else np.int32)
              for name, values in step.items()}
    weight = arrays["own"] + arrays["word"]
    chosen = np.sort(np.argsort(-weight, kind="stable")[:COUNTED]).astype(np.int32)
    following = np.roll(arrays["token"], -1)
    return {"token": arrays["token"], "row": arrays["row"], "place": arrays["place"], "chosen": chosen,
            "own": arrays["own"][chosen], "word": arrays["word"][chosen], "next": following[chosen]}


def norm(x, weight):
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight


def rope(x, place):
    """Turns `x` (tokens, heads, HEAD) by its places; halves are paired, as qwen2 has them."""
    angle = place[:, None] * ROPE_BASE ** (-jnp.arange(0, HEAD, 2) / HEAD)[None]
    cosine, sine = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    a, b = x[..., : HEAD // 2], x[..., HEAD // 2 :]
    return jnp.concatenate([a * cosine - b * sine, a * sine + b * cosine], -1)


def attention(w, x, step):
    h = norm(x, w["attn_norm.weight"])
    q, k, v = (h @ w[f"attn_{n}.weight"].T + w[f"attn_{n}.bias"] for n in "qkv")
    q, k = (rope(part.reshape(STEP, -1, HEAD), step["place"]) for part in (q, k))
    q, v = q.reshape(STEP, KV_HEADS, HEADS // KV_HEADS, HEAD), v.reshape(STEP, KV_HEADS, HEAD)
    score = jnp.einsum("tkgd,skd->kgts", q, k) / np.sqrt(HEAD)
    seen = (step["row"][:, None] == step["row"][None]) | (step["row"][None] == 0)
    score = jnp.where(seen & jnp.tri(STEP, dtype=bool), score, -1e9)
    out = jnp.einsum("kgts,skd->tkgd", jax.nn.softmax(score, -1), v).reshape(STEP, WIDTH)
    return x + out @ w["attn_output.weight"].T


def share(router, h, active, width):
    """What the activation of each of `width` routed neurons is multiplied by, in the plan's order."""
    logits = h @ router.T
    experts = logits.shape[1]
    least = jnp.take_along_axis(jnp.sort(logits, -1), jnp.full((len(h), 1), experts - active), 1)
    part = jax.nn.softmax(logits, -1) * experts * (logits >= jax.lax.stop_gradient(least))
    return jnp.repeat(part, width // experts, 1)


def dense(stack, final, x, step):
    def layer(x, w):
        x = attention(w, x, step)
        h = norm(x, w["ffn_norm.weight"])
        return x + (jax.nn.silu(h @ w["ffn_gate.weight"].T) * (h @ w["ffn_up.weight"].T)) @ w["ffn_down.weight"].T, None

    return norm(jax.lax.scan(layer, x, stack)[0], final)


def mixture(stack, final, learnt, shared, x, step, active):
    """As `dense`, but only so many experts of each layer are awake; `stack` has its neurons in the plan's order."""

    def layer(x, both):
        w, own = both
        x = attention(w, x, step)
        h = norm(x, w["ffn_norm.weight"])
        changed = lambda matrix: h @ w[f"ffn_{matrix}.weight"].T + (h @ own[f"{matrix}_left"].T) @ own[f"{matrix}_right"]
        a = jax.nn.silu(changed("gate")) * changed("up")
        awake = share(own["router"], h, active, a.shape[1] - shared)
        a = jnp.concatenate([a[:, :shared], a[:, shared:] * awake], 1)
        return x + a @ w["ffn_down.weight"].T + (a @ own["down_right"].T) @ own["down_left"], None

    return norm(jax.lax.scan(layer, x, (stack, learnt))[0], final)


def loss(learnt, frozen, shared, x, step, teacher, active):
    stack, final, head, their_head = frozen
    out = mixture(stack, final, learnt, shared, x, step, active)[step["chosen"]]
    mine, theirs = jax.nn.log_softmax(out @ head.T), jax.nn.log_softmax(teacher @ their_head.T)
    apart = (jnp.exp(theirs) * (theirs - mine)).sum(-1)
    word = -jnp.take_along_axis(mine, step["next"][:, None], 1)[:, 0]
    counted = (step["own"] + step["word"]).sum()
    said = step["own"] >= OWN
    return (step["own"] * apart + step["word"] * word).sum() / counted, (apart * said).sum() / said.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dense", required=True, help="the dense model's GGUF file")
    parser.add_argument("--stored", required=True, help="the same model stored as the mixture stores it: what make-moe's --dense-control writes")
    parser.add_argument("--plan", required=True, help="the plan to begin with")
    parser.add_argument("--join", action="store_true", help="make one expert of two first")
    parser.add_argument("--text", required=True, help="JSON lines as text.py writes them")
    parser.add_argument("--out", required=True, help="where the new plan goes")
    parser.add_argument("--active", type=int, nargs="+", required=True, help="experts that a token passes through: one of these for each step")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--minutes", type=float, default=1e9, help="the rate falls to nothing by then, whatever is left of the text")
    arguments = parser.parse_args()
    started = time.monotonic()
    stack, embedding, final, their_head = weights(arguments.dense)
    plan = Plan(arguments.plan)
    if arguments.join:
        plan.join()
    learn_from, held = packs(arguments.text)
    print(f"==> {len(learn_from)} steps of {STEP} tokens an epoch, {len(held)} held out", flush=True)

    teach = jax.jit(lambda stack, x, step: dense(stack, final, x, step)[step["chosen"]])
    for step in learn_from + held:
        step["teacher"] = np.asarray(teach(stack, embedding[step["token"]], {k: step[k] for k in ("row", "place", "chosen")}))
    print(f"==> the dense model has read them, {time.monotonic() - started:.0f} s", flush=True)
    stack, embedding, final, head = weights(arguments.stored)
    orders = np.stack(plan.orders)
    for name in ("ffn_gate.weight", "ffn_up.weight"):
        stack[name] = jnp.take_along_axis(stack[name], orders[:, :, None], 1)
    stack["ffn_down.weight"] = jnp.take_along_axis(stack["ffn_down.weight"], orders[:, None, :], 2)

    draw = np.random.default_rng(5)
    sides = {"left": WIDTH, "right": orders.shape[1]}
    learnt = {"router": jnp.asarray(np.stack(plan.routers))}
    for matrix, given in (("gate", "left"), ("up", "left"), ("down", "right")):
        # Of the two factors the one that reads begins at random, the other at nothing.
        for side, size in sides.items():
            begin = draw.normal(0, size**-0.5, (plan.layers, arguments.rank, size)) if side == given else np.zeros((plan.layers, arguments.rank, size))
            learnt[f"{matrix}_{side}"] = jnp.asarray(begin, jnp.float32)
    frozen = (stack, final, head, their_head)
    prepare = lambda step: (embedding[step["token"]], {k: v for k, v in step.items() if k not in ("token", "teacher")}, step["teacher"])
    evaluate = jax.jit(lambda learnt, frozen, x, step, teacher, active: loss(learnt, frozen, plan.shared, x, step, teacher, active)[1])
    # A router's numbers are as large as they are: its step is in proportion.
    scale = float(jnp.sqrt((learnt["router"] ** 2).mean()))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.99))

    @partial(jax.jit, donate_argnums=(0, 1))
    def improve(learnt, state, frozen, x, step, teacher, active, rate):
        (total, apart), gradient = jax.value_and_grad(loss, has_aux=True)(learnt, frozen, plan.shared, x, step, teacher, active)
        change, state = optimizer.update(gradient, state)
        rates = {"router": rate * scale * 3}
        return {name: learnt[name] - rates.get(name, rate) * change[name] for name in learnt}, state, total, apart

    def report(when):
        apart = {active: float(np.mean([evaluate(learnt, frozen, *prepare(step), active) for step in held])) for active in sorted(set(arguments.active))}
        print(f"==> {when}: KL from the dense model on held-out answers {apart}, {(time.monotonic() - started) / 60:.0f} min", flush=True)

    state = optimizer.init(learnt)
    report("before")
    total_steps = int(arguments.epochs * len(learn_from))
    order = np.concatenate([draw.permutation(len(learn_from)) for _ in range(int(np.ceil(arguments.epochs)))])[:total_steps]
    began, done, recent = time.monotonic(), 0, []
    for number, at in enumerate(order):
        passed = (time.monotonic() - began) / 60
        done = max(number / total_steps, passed / max(1e-9, arguments.minutes - (began - started) / 60))
        if done >= 1:
            break
        rate = arguments.rate * min(1.0, (number + 1) / 20) * 0.5 * (1 + np.cos(np.pi * done))
        learnt, state, total, apart = improve(learnt, state, frozen, *prepare(learn_from[at]), int(draw.choice(arguments.active)), rate)
        recent.append((float(total), float(apart)))
        if number % 20 == 19:
            print(f"step {number + 1} of {total_steps}: loss {np.mean(recent[-20:], 0)[0]:.4f}, KL {np.mean(recent[-20:], 0)[1]:.4f}, {passed:.0f} min", flush=True)
        if number % 100 == 99:
            plan.write(arguments.out, learnt)
            report(f"step {number + 1}")
    plan.write(arguments.out, learnt)
    report("after")


if __name__ == "__main__":
    main()
