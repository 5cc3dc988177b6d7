"""Writes the trained network as an ONNX graph, and checks that ONNX Runtime computes the same.

The graph is the network alone, in few nodes, since each costs about a microsecond: sums of table rows, the heads, the
distance to each training cell. What each n-gram weighs is reckoned before it (router/src/bag.rs), and what the heads
come to after it: chances, difficulty, familiarity (router/src/links.rs); both have their constants in the metadata.

The tables lie beside the graph and are inputs of it, so that all sessions read one copy (of external data, ONNX Runtime
makes a copy a session): 8-bit numbers, the learned rows of all n-grams, then for the words the rows of their meaning and
one weight each, then a bit for each n-gram that training kept.
"""
import hashlib
import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import model as models
import net as nets

class Graph:
    """Collects nodes and constants."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, value, kind=np.float32):
        self.count += 1
        name = f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, op, *inputs, out=None, **attributes):
        self.count += 1
        out = out or f"{op.lower()}{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def sum(self, table, rows, weights):
        """The weighted sum of some rows of an 8-bit table."""
        return self.add("MatMul", weights, self.add("Cast", self.add("Gather", table, rows), to=TensorProto.FLOAT))


def tables(net, words, meaning, mass):
    """(8-bit learned rows, their scale, rows of the words' meanings, the words' weights, bits of what was kept)."""
    table = net.p["table"]
    scale = float(np.abs(table).max() / 127)
    if np.any(meaning[mass == 0]) or np.any(meaning[words:]) or np.any(table[~net.kept]):
        raise SystemExit("a row that is never read is not empty")
    return np.rint(table / scale).astype(np.int8), scale, meaning[:words], mass[:words], np.packbits(net.kept, bitorder="little")


def build(net, data, shape, facts, path):
    """Writes the graph to `path` and its tables beside it. `shape` has the familiarity's cells."""
    g = Graph()
    learned, scale, meaning, mass, kept = tables(net, data.spec["word_buckets"], *data.meaning[::2])
    path.with_suffix(".table").write_bytes(b"".join(part.tobytes() for part in (learned, meaning, mass, kept)))
    bag, means = g.sum("learned", "ids", "weights"), g.sum("meaning", "words", "shares")
    u = g.add("Concat", bag, "counts", means, axis=1)
    h = g.add("Relu", g.add("Gemm", u, g.constant(net.p["w1"]), g.constant(net.p["b1"])))
    # The ranking score is one more head, linear in what follows the bag; helpers of training are left out.
    rank = np.concatenate([np.zeros(len(net.p["w2"]) + net.size), net.rank])[:, None]
    last = np.concatenate([np.concatenate([net.p["w2"], net.p["w3"]]), rank], axis=1)
    served = [nets.EASINESS, nets.SLOPE, nets.MEDIAN, nets.HIGH, last.shape[1] - 1, *range(nets.DOMAIN, last.shape[1] - 1)]
    g.add("Gemm", g.add("Concat", h, u, axis=1), g.constant(last[:, served]), g.constant(np.append(net.p["b2"], 0)[served]), out="heads")
    # Squared distances to the cells: |u|^2 - 2 u.c + |c|^2.
    cells = shape["cells"]
    square = g.add("ReduceSumSquare", u, g.constant([1], np.int64), keepdims=1)
    g.add("Add", square, g.add("Gemm", u, g.constant(-2 * cells.T), g.constant((cells ** 2).sum(1))), out="distances")
    value = lambda name, kind, shape: helper.make_tensor_value_info(name, kind, shape)
    inputs = [value("learned", TensorProto.INT8, learned.shape), value("ids", TensorProto.INT32, ["n"]), value("weights", TensorProto.FLOAT, [1, "n"]),
              value("meaning", TensorProto.INT8, meaning.shape), value("words", TensorProto.INT32, ["m"]), value("shares", TensorProto.FLOAT, [1, "m"]),
              value("counts", TensorProto.FLOAT, [1, len(data.mean)])]
    outputs = [value("heads", TensorProto.FLOAT, [1, len(served)]), value("distances", TensorProto.FLOAT, [1, len(cells)])]
    graph = helper.make_graph(g.nodes, "router", inputs, outputs, g.constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="tollgate")
    scales = {"learned": learned.shape[1], "learned_scale": scale, "meaning": meaning.shape[1], "meaning_scale": float(data.meaning[1]) * 127,
              "mean": data.mean.tolist(), "deviation": data.deviation.tolist()}
    facts = facts | {"bag": json.dumps(scales), "table_sha256": hashlib.sha256(path.with_suffix(".table").read_bytes()).hexdigest()}
    helper.set_model_props(made, {key: str(text) for key, text in facts.items()})
    onnx.checker.check_model(made)
    path.write_bytes(made.SerializeToString())


def metadata(data, shape, quality):
    """What the gateway needs to know of the graph."""
    spec = data.spec
    links = {"platt": data.platt, "difficulty": difficulty(data.config, data.domains), "far": shape["far"], "unknown": shape["unknown"]}
    return {"features": spec["features"], "dense": spec["dense"], "domains": spec["domains"], "quality": json.dumps(quality), "links": json.dumps(links)}


def difficulty(config, domains):
    """The logit of difficulty, as in Predicted.difficulty: bends of single numbers, and the rank head."""
    weights, length = config["difficulty"], config["rank"]["length"]
    rank, problems = weights["rank"], [domains.index(name) for name in length["domains"]]
    bends = [{"of": "easiness", **weights["easy"]}, {"of": "gap", **weights["wide"]},
             {"of": "length", "sharp": 2.0, "from": np.log(length["from"]), "share": rank * length["share"], "domains": problems},
             {"of": "length", "sharp": 4.0, "from": np.log(length["until"]), "share": -rank * length["share"] * length["fall"], "domains": problems}]
    return {"bias": weights["bias"], "gap": weights["gap"], "rank": rank, "bends": bends}


def run(path, net, data, rows):
    """(heads, distance to the nearest cell) for rows of the data, by ONNX Runtime on what bag.rs gives it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    (learned, scale, meaning, mass, _), unit = tables(net, data.spec["word_buckets"], *data.meaning[::2]), data.meaning[1]
    counts = np.clip((data.raw - data.mean) / data.deviation, -4, 4).astype(np.float32)
    some = lambda ids, weights: (ids.astype(np.int32), weights[None].astype(np.float32)) if len(ids) else (np.zeros(1, np.int32), np.zeros((1, 1), np.float32))
    heads, near = [], []
    for i in rows:
        row = data.bag[[i]]
        ids, weights = row.indices, row.data
        kept = net.kept[ids]
        named = (ids < len(mass)) & (mass[np.minimum(ids, len(mass) - 1)] != 0)
        ids, weights, words, shares = ids[kept], weights[kept], ids[named], weights[named]
        ids, weights = some(ids, weights * scale / np.sqrt(max((weights ** 2).sum(), 1e-6)))
        words, shares = some(words, shares * unit * 127 / max((shares * mass[words]).sum(), 1e-3))
        said, distances = session.run(["heads", "distances"], {"learned": learned, "ids": ids, "weights": weights, "meaning": meaning, "words": words, "shares": shares, "counts": counts[i:i + 1]})
        heads.append(said[0])
        near.append(distances.min())
    return np.array(heads), np.array(near)
