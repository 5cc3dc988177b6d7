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
    cut = lambda x, a, b: g.add("Slice", x, g.constant([a], np.int64), g.constant([b], np.int64), g.constant([1], np.int64))
    sums = g.add("MatMul", "weights", rows)
    marks = g.add("MatMul", g.add("Mul", "weights", "weights"), cut(rows, wide + 1, wide + 4))
    floor = g.constant([[1e-6]])
    length = g.add("Sqrt", g.add("Max", cut(marks, 0, 1), floor))
    bag = g.add("Div", g.add("Mul", cut(sums, 0, size), g.constant(scale[None])), length)
    means = g.add("Div", g.add("Mul", cut(sums, size, wide), g.constant([[unit * 127]])), g.add("Max", cut(sums, wide, wide + 1), g.constant([[1e-3]])))
    counts = g.add("Clip", g.add("Div", g.add("Sub", "dense", g.constant(data.mean[None])), g.constant(data.deviation[None])), g.constant(-4), g.constant(4))
    u = g.add("Concat", bag, counts, means, axis=1)
    h = g.add("Relu", g.add("Gemm", u, g.constant(net.p["w1"]), g.constant(net.p["b1"])))
    # The ranking score is one more output, linear in what follows the bag.
    ranking = np.concatenate([np.zeros(net.p["w2"].shape[0] + size), net.rank])[:, None]
    last = np.concatenate([np.concatenate([net.p["w2"], net.p["w3"]]), ranking], axis=1)
    o = g.add("Gemm", g.add("Concat", h, u, axis=1), g.constant(last), g.constant(np.append(net.p["b2"], 0)))
    column = lambda i: cut(o, i, i + 1)
    easiness, slope = column(nets.EASINESS), g.add("Softplus", column(nets.SLOPE))
    bent = lambda logit, name: g.add("Sigmoid", g.add("Add", g.add("Mul", logit, g.constant([[shape["platt"][name][0]]])), g.constant([[shape["platt"][name][1]]])))
    small = bent(easiness, "small")
    large = g.add("Max", small, bent(g.add("Add", easiness, slope), "large"))
    weights = shape["difficulty"]
    logit = g.add("Sum", g.constant([[weights["bias"]]]), g.add("Mul", easiness, g.constant([[weights["easiness"]]])),
                  g.add("Mul", g.add("Sub", large, small), g.constant([[weights["gap"]]])), g.add("Mul", column(o_width(net)), g.constant([[weights["rank"]]])))
    hard = g.add("Sigmoid", logit)
    unknown = g.add("Sub", g.constant([[1.0]]), g.add("Div", cut(marks, 1, 2), g.add("Max", cut(marks, 2, 3), floor)))
    # Squared distance to the nearest cell: |u|^2 - 2 u.c + |c|^2.
    cells = shape["cells"]
    square = g.add("ReduceSum", g.add("Mul", u, u), g.constant([1], np.int64), keepdims=1)
    dots = g.add("Add", g.add("Gemm", u, g.constant(-2 * cells.T), g.constant((cells ** 2).sum(1))), square)
    nearest = g.add("ReduceMin", dots, g.constant([1], np.int64), keepdims=1)
    far = g.add("Div", nearest, g.constant([[shape["far"]]]))
    distance = g.add("Max", far, g.add("Div", unknown, g.constant([[shape["unknown"]]])))
    g.add("Concat", small, large, hard, column(nets.MEDIAN), column(nets.HIGH), distance, axis=1, out="scores")
    cut_domains = g.constant([nets.DOMAIN], np.int64), g.constant([o_width(net)], np.int64), g.constant([1], np.int64)
    g.add("Slice", o, *cut_domains, out="domains")
    return model(g, spec, o_width(net) - nets.DOMAIN, metadata)


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
