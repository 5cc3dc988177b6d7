"""Writes the trained network as an ONNX graph, and checks that ONNX Runtime computes the same.

The table is 8-bit with one scale a column. Three more columns say, per n-gram, whether training kept
it, whether it is a kept word, and whether it is a word: the bag is brought to unit length over what is
known, and the share of known words tells unfamiliar texts.
"""
import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import model as models
import net as nets

FAMILIAR_WITHIN = 1.0


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

    def split(self, x, *sizes, names=None):
        """Columns of a row, by how many each part has."""
        self.count += 1
        outs = [(names or {}).get(i, f"split{self.count}_{i}") for i in range(len(sizes))]
        self.nodes.append(helper.make_node("Split", [x, self.constant(sizes, np.int64)], outs, axis=1))
        return outs

    def bend_all(self, x, lines):
        """Each column by its own (slope, shift)."""
        slopes, shifts = np.array(list(lines)).T
        return self.add("Add", self.add("Mul", x, self.constant(slopes[None])), self.constant(shifts[None]))


def quantised(net, words, meaning, mass):
    """(8-bit table: learned columns, meaning, its weight, three marks; scale of each learned column)."""
    table = net.p["table"]
    scale = np.maximum(np.abs(table).max(0) / 127, 1e-9)
    marks = np.zeros((len(table), 3), np.int8)
    marks[:, 0] = net.kept
    marks[:words, 1] = net.kept[:words]
    marks[:words, 2] = 1
    return np.concatenate([np.rint(table / scale).astype(np.int8), meaning, mass[:, None], marks], axis=1), scale.astype(np.float32)


def build(net, data, shape, metadata):
    """The graph as an ONNX model. `shape` has the difficulty's weights and the familiarity's cells."""
    g = Graph()
    spec, (meaning, unit, mass) = data.spec, data.meaning
    table, scale = quantised(net, spec["word_buckets"], meaning, mass)
    size, wide = net.size, net.size + meaning.shape[1]
    rows = g.add("Cast", g.add("Gather", g.constant(table, np.int8), "ids"), to=TensorProto.FLOAT)
    learned, means, mass = g.split(g.add("MatMul", "weights", rows_of(g, rows, 0, wide + 1)), size, wide - size, 1)
    kept, known, word = g.split(g.add("MatMul", g.add("Mul", "weights", "weights"), rows_of(g, rows, wide + 1, wide + 4)), 1, 1, 1)
    floor = g.constant([[1e-6]])
    bag = g.add("Div", g.add("Mul", learned, g.constant(scale[None])), g.add("Sqrt", g.add("Max", kept, floor)))
    means = g.add("Div", g.add("Mul", means, g.constant([[unit * 127]])), g.add("Max", mass, g.constant([[1e-3]])))
    counts = g.add("Clip", g.add("Mul", g.add("Sub", "dense", g.constant(data.mean[None])), g.constant(1 / data.deviation[None])), g.constant(-4), g.constant(4))
    u = g.add("Concat", bag, counts, means, axis=1)
    h = g.add("Relu", g.add("Gemm", u, g.constant(net.p["w1"]), g.constant(net.p["b1"])))
    # The heads' score is one more output, linear in what follows the bag.
    heads = np.concatenate([np.zeros(net.p["w2"].shape[0] + size), net.rank])[:, None]
    last = np.concatenate([np.concatenate([net.p["w2"], net.p["w3"]]), heads], axis=1)
    o = g.add("Gemm", g.add("Concat", h, u, axis=1), g.constant(last), g.constant(np.append(net.p["b2"], 0)))
    easiness, slope, lengths, _, domains, heads = g.split(o, 1, 1, 2, nets.DOMAIN - nets.STEPS, o_width(net) - nets.DOMAIN, 1, names={4: "domains"})
    chances = g.bend_all(g.add("Concat", easiness, g.add("Add", easiness, g.add("Softplus", slope)), axis=1), shape["platt"].values())
    small, bent = g.split(g.add("Sigmoid", chances), 1, 1)
    large = g.add("Max", small, bent)
    hard = g.add("Sigmoid", difficulty(g, data.config, easiness, g.add("Sub", large, small), heads))
    unknown = g.add("Sub", g.constant([[1.0]]), g.add("Div", known, g.add("Max", word, floor)))
    # Squared distance to the nearest cell: |u|^2 - 2 u.c + |c|^2.
    cells = shape["cells"]
    square = g.add("ReduceSum", g.add("Mul", u, u), g.constant([1], np.int64), keepdims=1)
    nearest = g.add("Add", square, g.add("ReduceMin", g.add("Gemm", u, g.constant(-2 * cells.T), g.constant((cells ** 2).sum(1))), g.constant([1], np.int64), keepdims=1))
    distance = g.add("ReduceMax", g.add("Mul", g.add("Concat", nearest, unknown, axis=1), g.constant([[1 / shape["far"], 1 / shape["unknown"]]])), g.constant([1], np.int64), keepdims=1)
    g.add("Concat", small, large, hard, lengths, distance, axis=1, out="scores")
    return model(g, spec, o_width(net) - nets.DOMAIN, metadata)


def rows_of(g, x, start, end):
    """Columns of a matrix of many rows."""
    return g.add("Slice", x, *(g.constant([v], np.int64) for v in (start, end, 1)))


def difficulty(g, config, easiness, gap, heads):
    """The logit of difficulty, as in Predicted.difficulty: four bends at once, and the heads."""
    weights, length = config["difficulty"], config["rank"]["length"]
    rank = weights["rank"]
    words = rows_of(g, "dense", models.WORDS, models.WORDS + 1)
    parts = [(weights["easy"]["sharp"], weights["easy"]["from"], weights["easy"]["share"]), (weights["wide"]["sharp"], weights["wide"]["from"], weights["wide"]["share"]),
             (2.0, np.log(length["from"]), rank * length["share"]), (4.0, np.log(length["until"]), -rank * length["share"] * length["fall"])]
    bent = g.add("Softplus", g.bend_all(g.add("Concat", easiness, gap, words, words, axis=1), [(sharp, -sharp * start) for sharp, start, _ in parts]))
    return g.add("Gemm", g.add("Concat", bent, heads, gap, axis=1), g.constant([[share / sharp] for sharp, _, share in parts] + [[rank], [weights["gap"]]]), g.constant([weights["bias"]]))


def o_width(net):
    return len(net.p["b2"])


def model(g, spec, domains, metadata):
    value = lambda name, kind, shape: helper.make_tensor_value_info(name, kind, shape)
    inputs = [value("ids", TensorProto.INT32, ["n"]), value("weights", TensorProto.FLOAT, [1, "n"]), value("dense", TensorProto.FLOAT, [1, spec["dense_count"]])]
    outputs = [value("scores", TensorProto.FLOAT, [1, 6]), value("domains", TensorProto.FLOAT, [1, domains])]
    graph = helper.make_graph(g.nodes, "router", inputs, outputs, g.constants)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="tollgate")
    helper.set_model_props(built, {key: str(text) for key, text in metadata.items()})
    onnx.checker.check_model(built)
    return built


def metadata(spec, quality):
    return {"features": spec["features"], "dense": spec["dense"], "domains": spec["domains"], "quality": json.dumps(quality), "familiar_within": FAMILIAR_WITHIN}


def run(path, bag, raw):
    """The graph's scores for rows of raw features, by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    scores = []
    for i in range(bag.shape[0]):
        row = bag[[i]]
        ids, weights = row.indices.astype(np.int32), row.data[None].astype(np.float32)
        if not len(ids):
            ids, weights = np.zeros(1, np.int32), np.zeros((1, 1), np.float32)
        scores.append(session.run(["scores"], {"ids": ids, "weights": weights, "dense": raw[i:i + 1]})[0][0])
    return np.array(scores)
