"""The network and its training, in numpy: a weighted embedding bag, dense features, one hidden layer.

Columns of the bag and hidden units are of two kinds: some serve the domain alone, the others all else, so that learning one
takes nothing from the other. Both see the dense features.

Outputs are linear in the hidden layer and, past it, in the inputs. An item-response form ties them to
outcomes: a model of ability t answers well with probability sigmoid(easiness + slope * t), slope > 0;
ability 0 is the small reference model and 1 the large one, so any model's outcomes are evidence.
"""
import numpy as np
import scipy.sparse as sp

EASINESS, SLOPE, MEDIAN, HIGH, STEPS, LEVEL, DOMAIN = 0, 1, 2, 3, 4, 5, 6


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def softplus(x):
    return np.logaddexp(0, x)


class Adam:
    """Adam over named arrays; rows of a table can be stepped alone."""

    def __init__(self, parameters):
        self.p = parameters
        self.m = {k: np.zeros_like(v) for k, v in parameters.items()}
        self.v = {k: np.zeros_like(v) for k, v in parameters.items()}
        self.t = 0

    def step(self, grads, rate, decay):
        self.t += 1
        scale = rate * np.sqrt(1 - 0.999 ** self.t) / (1 - 0.9 ** self.t)
        for key, grad in grads.items():
            rows, grad = grad if isinstance(grad, tuple) else (slice(None), grad)
            m = self.m[key][rows] = 0.9 * self.m[key][rows] + 0.1 * grad
            v = self.v[key][rows] = 0.999 * self.v[key][rows] + 0.001 * grad * grad
            shrink = 1 - rate * decay.get(key, 0.0)
            self.p[key][rows] = self.p[key][rows] * shrink - scale * m / (np.sqrt(v) + 1e-8)


class Net:
    """Parameters and the forward pass."""

    def __init__(self, buckets, dense, domains, models, fixed, columns, units, seed):
        """`columns` and `units`: how many there are for all else, and for the domain."""
        rng = np.random.default_rng(seed)
        outs = DOMAIN + domains
        size, hidden = sum(columns), sum(units)
        wide = size + dense
        kind = lambda parts: np.repeat([1, 2], parts)
        inputs, inner, ends = np.append(kind(columns), np.full(dense, 3)), kind(units), kind([DOMAIN, domains])
        # What may be learned: bits of both ends agree.
        self.open = {name: (a[:, None] & b > 0).astype(np.float32) for name, a, b in [("w1", inputs, inner), ("w2", inner, ends), ("w3", inputs, ends)]}
        f = np.float32
        self.size, self.fixed = size, fixed
        self.kept = np.ones(buckets, bool)
        self.p = {
            "table": (rng.normal(0, 0.05, (buckets, size))).astype(f),
            "w1": rng.normal(0, 1 / np.sqrt(wide), (wide, hidden)).astype(f), "b1": np.zeros(hidden, f),
            "w2": rng.normal(0, 0.3 / np.sqrt(hidden), (hidden, outs)).astype(f), "w3": np.zeros((wide, outs), f), "b2": np.zeros(outs, f),
            "theta": np.full(models, 0.4, f),
        }
        self.p["b2"][[EASINESS, SLOPE, MEDIAN, HIGH]] = [0.5, 1.3, 4.5, 5.5]
        for index, value in fixed.items():
            self.p["theta"][index] = value
        for name, part in self.open.items():
            self.p[name] *= part

    def forward(self, bag, dense):
        p = self.p
        u = np.concatenate([bag @ p["table"], dense], axis=1)
        h = np.maximum(u @ p["w1"] + p["b1"], 0)
        return u, h, h @ p["w2"] + u @ p["w3"] + p["b2"]

    def outputs(self, bag, dense):
        """Outputs as served: n-grams that training did not keep are left out."""
        bag = bag.copy()
        bag.data = bag.data * self.kept[bag.indices]
        bag = unit(bag)
        return np.concatenate([self.forward(bag[i:i + 4096], dense[i:i + 4096])[2] for i in range(0, bag.shape[0], 4096)])


def loss_gradient(out, theta, t, weights):
    """Gradient of the batch's loss in the outputs and in the abilities. `t` holds the batch's targets."""
    g = np.zeros_like(out)
    s, raw = out[:, EASINESS], out[:, SLOPE]
    a = softplus(raw)
    da = sigmoid(raw)
    # Outcomes of any model: (row, model, value, weight) per observation.
    row, model, value, weight = t["obs"]
    e = (sigmoid(s[row] + a[row] * theta[model]) - value) * weight
    np.add.at(g[:, EASINESS], row, e)
    np.add.at(g[:, SLOPE], row, e * theta[model] * da[row])
    gtheta = np.zeros_like(theta)
    np.add.at(gtheta, model, e * a[row])
    # Soft labels for the two reference models.
    small, large, w = t["soft"]
    e0, e1 = (sigmoid(s) - small) * w, (sigmoid(s + a) - large) * w
    g[:, EASINESS] += e0 + e1
    g[:, SLOPE] += e1 * da
    # Lengths: pinball losses at the median and the 90th percentile, in logarithms.
    median, high, w = t["length"]
    g[:, MEDIAN] += weights["length"] * w * np.clip((out[:, MEDIAN] - median) * 4, -0.5, 0.5)
    d = out[:, HIGH] - high
    g[:, HIGH] += weights["length"] * w * np.where(d > 0, np.minimum(d * 4, 1) * 0.1, np.maximum(d * 4, -1) * 0.9)
    # Proxies of difficulty, which shape the hidden layer.
    for head, key in ((STEPS, "steps"), (LEVEL, "level")):
        target, w = t[key]
        g[:, head] += weights["proxy"] * w * (out[:, head] - target)
    # Domain.
    z = out[:, DOMAIN:]
    z = np.exp(z - z.max(1, keepdims=True))
    z /= z.sum(1, keepdims=True)
    z[np.arange(len(z)), t["domain"]] -= 1
    g[:, DOMAIN:] += weights["domain"] * t["domain_weight"][:, None] * z
    return g, gtheta


def take(targets, rows):
    """The targets of some rows, observations renumbered."""
    out = {key: tuple(part[rows] for part in value) if isinstance(value, tuple) else value[rows]
           for key, value in targets.items() if key not in ("obs_start", "obs_flat")}
    start = targets["obs_start"]
    model, value, weight = targets["obs_flat"]
    lengths = start[rows + 1] - start[rows]
    index = np.repeat(start[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(lengths.sum())
    out["obs"] = (np.repeat(np.arange(len(rows)), lengths), model[index], value[index], weight[index])
    return out


def drop_words(bag, share, rng):
    """Leaves out a share of the n-grams, as typos and rewording do, and restores unit length."""
    bag = bag.copy()
    bag.data *= rng.random(len(bag.data)) >= share
    return unit(bag)


def unit(bag):
    """Rows brought to unit length."""
    norm = np.sqrt(np.asarray(bag.multiply(bag).sum(1)).ravel())
    return (sp.diags_array((1 / np.maximum(norm, 1e-3)).astype(np.float32)) @ bag).tocsr()


def train(net, bag, dense, targets, rows, config, seed):
    """Fits `net` to the given rows; deterministic for a seed."""
    rng = np.random.default_rng(seed)
    adam = Adam(net.p)
    decay = {"w1": config["decay"], "w2": config["decay"], "w3": config["decay"], "table": config["table_decay"]}
    batch = config["batch"]
    steps = config["epochs"] * (len(rows) // batch)
    done = 0
    for _ in range(config["epochs"]):
        order = rng.permutation(rows)
        for i in range(0, len(order) - batch + 1, batch):
            part = order[i:i + batch]
            x = drop_words(bag[part], config["dropout"], rng)
            d = dense[part] + rng.normal(0, config["noise"], (len(part), dense.shape[1])).astype(np.float32)
            u, h, out = net.forward(x, d)
            if config["hidden_dropout"]:
                mask = (rng.random(h.shape) >= config["hidden_dropout"]) / (1 - config["hidden_dropout"])
                h = (h * mask).astype(np.float32)
                out = h @ net.p["w2"] + u @ net.p["w3"] + net.p["b2"]
            g, gtheta = loss_gradient(out, net.p["theta"], take(targets, part), config["weights"])
            g = (g / batch).astype(np.float32)
            gh = (g @ net.p["w2"].T) * (h > 0)
            if config["hidden_dropout"]:
                gh *= mask
            gh = gh.astype(np.float32)
            gu = gh @ net.p["w1"].T + g @ net.p["w3"].T
            touched = np.unique(x.indices)
            gtheta /= batch
            gtheta[list(net.fixed)] = 0
            rate = config["rate"] * 0.5 * (1 + np.cos(np.pi * done / steps))
            adam.step({"table": (touched, (x.T.tocsr()[touched] @ gu[:, :net.size]).astype(np.float32)), "w1": u.T @ gh * net.open["w1"], "b1": gh.sum(0),
                       "w2": h.T @ g * net.open["w2"], "w3": u.T @ g * net.open["w3"], "b2": g.sum(0), "theta": gtheta.astype(np.float32)}, rate, decay)
            done += 1
    return net
