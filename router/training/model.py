"""The training rows as arrays, and a model fitted to some of them: the network, and the score that ranks."""
import numpy as np

import dataset
import meaning
import net as nets
import rank
import sources

WORDS = 1  # where the counts hold ln(1 + words)


class Data:
    """Everything training works on. `dense` holds the standardised counts and, after them, the meaning."""

    def __init__(self, folder, program, work, config):
        self.rows, self.excluded = sources.load(folder)
        self.program, self.work, self.config = program, work, config
        self.bag, self.raw, self.spec = dataset.features(program, [row["prompt"] for row in self.rows], work)
        self.domains = self.spec["domains"].split()
        self.mean, self.deviation = self.raw.mean(0), self.raw.std(0) + 1e-3
        self.balance = dataset.balance(self.rows, config["targets"]["balance"])
        listed, share = meaning.words(self.rows)
        at = meaning.word_rows(program, listed, work, self.spec["word_buckets"])
        at, share, vector, glossed = meaning.glossed(program, listed, share, at, meaning.vectors(listed, work), work, self.spec["word_buckets"])
        self.glossed = np.isin(np.arange(self.bag.shape[1]), glossed)
        self.meaning = meaning.table(at, share, vector, self.bag, self.balance, config["meaning"])
        self.dense = self.inputs(self.bag, self.raw)
        self.targets, self.models = dataset.targets(self.rows, self.domains, config["targets"])
        self.source = np.array([row["source"] for row in self.rows])
        self.heads = rank.targets(self.rows)
        # How the two chances are bent to agree with outcomes: (slope, shift) of their logits.
        self.platt = {"small": (1.0, 0.0), "large": (1.0, 0.0)}

    def inputs(self, bag, raw):
        """What the heads see beside the bag."""
        standard = np.clip((raw - self.mean) / self.deviation, -4, 4)
        return np.concatenate([standard, meaning.of(bag, *self.meaning)], axis=1).astype(np.float32)

    def predict(self, net, bag, raw):
        inputs = self.inputs(bag, raw)
        return self.predicted(net.outputs(bag, inputs), inputs @ net.rank, raw)

    def predicted(self, out, heads, raw):
        return Predicted(out, heads, raw, [self.domains.index(name) for name in self.config["rank"]["length"]["domains"]], self.config["rank"]["length"])

    def fit(self, rows, seed=0):
        config = self.config
        # Only n-grams of the training rows count, so that what is left out stays unseen; words of a glossary are known all the same.
        _, seen = dataset.prune(self.bag[rows], config["least"])
        kept = seen | self.glossed
        net = nets.Net(self.bag.shape[1], self.dense.shape[1], len(self.domains), len(self.models), {0: 0.0, 1: 1.0}, config["columns"], config["units"], config["seed"] + seed)
        net.p["table"][~seen] = 0
        bag = self.bag.copy()
        bag.data *= kept[bag.indices]
        nets.train(net, bag, self.dense, self.targets, rows, config, config["seed"] + seed)
        net.kept = kept
        net.rank = self.rank(rows)
        return net

    def rank(self, rows):
        """Coefficients of the heads' score over `dense`."""
        used = np.zeros(len(self.rows), bool)
        used[rows] = True
        is_meaning = np.arange(self.dense.shape[1]) >= self.raw.shape[1]
        return rank.fit(self.dense, is_meaning, self.source, self.balance, self.heads, used, self.config["rank"])


class Predicted:
    """What a model says about some rows: the network's outputs, the ranking score of heads and length, the count of words."""

    def __init__(self, out, heads, raw, problems, length):
        likely = np.exp(out[:, nets.DOMAIN:] - out[:, nets.DOMAIN:].max(1, keepdims=True))
        self.out, self.heads, self.words = out, heads, raw[:, WORDS]
        self.likely = likely[:, problems].sum(1) / likely.sum(1)
        self.score = heads + rank.length(self.words, self.likely, length)

    def at(self, rows):
        part = object.__new__(Predicted)
        part.__dict__ = {name: values[rows] for name, values in self.__dict__.items()}
        return part

    def probabilities(self, platt):
        s, a = self.out[:, nets.EASINESS], nets.softplus(self.out[:, nets.SLOPE])
        bent = lambda logit, name: nets.sigmoid(platt[name][0] * logit + platt[name][1])
        small = bent(s, "small")
        return small, np.maximum(small, bent(s + a, "large"))

    def difficulty(self, weights, platt):
        """0..1, higher = needs the large model: the ranking score, less where the small model is near sure to
        do, more where the gap is wide. Between the two bends the network has no say."""
        small, large = self.probabilities(platt)
        easy, wide = weights["easy"], weights["wide"]
        bend = lambda x, part: np.logaddexp(0, part["sharp"] * (x - part["from"])) * part["share"] / part["sharp"]
        return nets.sigmoid(weights["bias"] + bend(self.out[:, nets.EASINESS], easy) + bend(large - small, wide) + weights["gap"] * (large - small) + weights["rank"] * self.score)
