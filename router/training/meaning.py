"""What words mean, as rows of the graph's table: encoder vectors, fewer columns, common words lighter.

A text's meaning is the weighted mean of its words' vectors.  The vectors come from the encoder, never
from outcomes, so a word that no outcome has seen still lies near those it is like.
"""
import collections
import re
from pathlib import Path

import numpy as np

import dataset
import encoder
import glossary

RARE = 1e-3     # a word this frequent has half weight (smooth inverse frequency)
LIGHTEST = 0.04  # of a word's weight, so that 8 bits hold it
FREQUENT = 2e-5  # a word this frequent in the training prompts is English as a rule
LETTERS = re.compile(r"[^\W\d_]+")


def words(rows):
    """(words, share of each in the training prompts): the encoder's own vocabulary and what prompts repeat."""
    counts = collections.Counter()
    for row in rows:
        counts.update(LETTERS.findall(row["prompt"].lower()))
    usable = lambda word: LETTERS.fullmatch(word) and len(word) <= 24 and not any("\u2e80" <= c <= "\u9fff" for c in word)
    known = [word for word in encoder.vocabulary() if usable(word)]
    also = set(known)
    listed = known + sorted((word for word, n in counts.items() if n >= 2 and usable(word) and word not in also), key=lambda w: (-counts[w], w))
    count = np.array([counts[word] for word in listed], float)
    return listed, (count + 1) / count.sum()


def vectors(listed, cache):
    """Encoder vectors of the words; those of earlier runs are kept in a file."""
    path = Path(cache, "words.npz")
    known = {}
    if path.exists():
        stored = np.load(path)
        known = dict(zip(stored["words"].tolist(), stored["vectors"]))
    missing = [word for word in listed if word not in known]
    if missing:
        print(f"encoding {len(missing)} words")
        known.update(zip(missing, encoder.Encoder().vectors(missing)))
        np.savez(path, words=np.array(list(known)), vectors=np.array(list(known.values())))
    return np.array([known[word] for word in listed])


def word_rows(program, listed, work, buckets):
    """The table's row of each word, by the program that serves."""
    bag, _, _ = dataset.features(program, listed, work)
    first = lambda ids: ids[ids < buckets][0]
    return np.array([first(bag.indices[bag.indptr[i]:bag.indptr[i + 1]]) for i in range(len(listed))])


def glossed(program, listed, share, at, vector, work, buckets):
    """(rows, shares, vectors) of the listed words and of the glossaries' ones, and the rows of those. They count as often as the English
    words they stand for. A word that is frequent in the training prompts keeps its own meaning."""
    terms = glossary.rows(program, work, buckets)
    kept = set(at[share >= FREQUENT].tolist())
    terms = {row: of for row, of in terms.items() if row not in kept}
    names = sorted({term for of in terms.values() for term in of})
    own = dict(zip(listed, share))
    share_of = {name: min(own.get(word, share.min()) for word in name.split()) for name in names}
    rows, vectors_, shares = glossary.meanings(terms, dict(zip(names, vectors(names, work))), share_of)
    other = ~np.isin(at, rows)
    return np.append(at[other], rows), np.append(share[other], shares), np.concatenate([vector[other], vectors_]), rows


def table(rows_of, share, vector, bag, weight, size):
    """(8-bit rows, their scale, 8-bit word weights): columns centred and scaled over the training prompts.

    Where words share a row, the most frequent has it.
    """
    heavy = np.clip(RARE / (RARE + share), LIGHTEST, 1)
    wide = vector - vector.mean(0)
    order = np.argsort(share, kind="stable")
    full = np.zeros((bag.shape[1], wide.shape[1]), np.float32)
    mass = np.zeros(bag.shape[1], np.float32)
    full[rows_of[order]] = (wide * heavy[:, None])[order]
    mass[rows_of[order]] = heavy[order]
    mean = (bag @ full) / np.maximum(bag @ mass, 1e-6)[:, None]
    centre = np.average(mean, axis=0, weights=weight)
    spread = (mean - centre) * np.sqrt(weight)[:, None]
    axes = np.linalg.eigh(spread.T @ spread)[1][:, ::-1][:, :size]
    axes *= np.where(axes[np.abs(axes).argmax(0), range(size)] > 0, 1, -1)  # a sign for each axis, the same on every machine
    small = (full - mass[:, None] * centre) @ axes
    small /= ((mean - centre) @ axes).std(0).mean()
    scale = np.abs(small).max() / 127
    return np.rint(small / scale).astype(np.int8), np.float32(scale), np.rint(mass * 127).astype(np.int8)


def of(bag, rows8, scale, mass8):
    """Meanings of the texts of a bag, as the graph computes them."""
    mass = bag @ mass8.astype(np.float32)
    return ((bag @ rows8.astype(np.float32)) * (scale * 127 / np.maximum(mass, 1e-3))[:, None]).astype(np.float32)
