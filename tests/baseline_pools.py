"""Small pools for the ways of selecting, and an embedder whose vectors a test writes."""

import random

import numpy as np
from datasets import Dataset, Features, List, Value

from tagevol_hf.rows import ROW_FEATURES

TYPES = {
    "labels": List(Value("string")),
    "turn_tags": List(Value("int64")),
    "clusters": List(Value("int64")),
    "cluster": Value("int64"),
    **dict.fromkeys(("complexity", "quality", "grade", "ifd", "perplexity"), Value("float64")),
}


class Chart:
    """Looks a text's vector up; a text of several lines by its first one."""

    identity = "chart"

    def __init__(self, vectors):
        self.vectors = vectors
        self.asked = 0

    def encode(self, texts):
        self.asked += len(texts)
        width = len(next(iter(self.vectors.values()), (1.0,)))
        found = [self.vectors[text.split("\n")[0]] for text in texts]
        return np.asarray(found, dtype=np.float32).reshape(len(texts), width)


def build(count=0, *, ids=None, **columns):
    """Rows r0, r1, … with the given columns, the others plain."""
    ids = ids if ids is not None else [f"r{place}" for place in range(count)]
    plain = {
        "id": ids,
        "instruction": [f"ask {name}" for name in ids],
        "input": [""] * len(ids),
        "response": [f"answer {name}" for name in ids],
        "history": [[] for _ in ids],
        "rejection": [None] * len(ids),
    }
    features = Features({**ROW_FEATURES, **{name: TYPES[name] for name in columns if name in TYPES}})
    return Dataset.from_dict({**plain, **columns}, features=features)


def shuffled(dataset, seed):
    """The same rows in another order."""
    order = list(range(len(dataset)))
    random.Random(seed).shuffle(order)
    return dataset.select(order)
