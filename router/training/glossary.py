"""What words of other languages mean, by the English words they stand for (glossary/*.txt).

The encoder knows English alone. A line of a glossary is an English word or term, a colon, and how it is said in the file's
language: words as people type them, with the endings that matter in requests. The row of such a word in the graph's table has
the mean of the vectors of the English ones it stands for; in scripts without spaces each character has a row.
"""
import collections
from pathlib import Path

import numpy as np

import dataset


def entries():
    """Every (form, English term)."""
    for path in sorted((Path(__file__).parent / "glossary").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            term, colon, forms = line.partition(":")
            if not colon or not forms.strip():
                raise SystemExit(f"{path.name}: {line!r} is not 'term: form form'")
            yield from ((form, term.strip().replace("-", " ")) for form in forms.split())


def rows(program, work, buckets):
    """{row of the table: {English term: weight}}; a form of several words or characters gives each of them a share."""
    told = sorted(set(entries()))
    bag, _, _ = dataset.features(program, [form for form, _ in told], work)
    terms = collections.defaultdict(collections.Counter)
    for at, (_, term) in enumerate(told):
        ids = bag.indices[bag.indptr[at]:bag.indptr[at + 1]]
        words = ids[ids < buckets]
        for row in words:
            terms[int(row)][term] += 1 / len(words)
    return terms


def meanings(terms, vector_of, share_of):
    """(rows, their vectors, their shares) from the terms' own."""
    listed = sorted(terms)
    mean = lambda of, row: np.average([of[term] for term in terms[row]], axis=0, weights=list(terms[row].values()))
    return np.array(listed), np.array([mean(vector_of, row) for row in listed]), np.array([mean(share_of, row) for row in listed])
