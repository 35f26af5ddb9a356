"""Where things lie in a published data set.

README.md                                          the card
provenance.json                                    how each config was made, and what its files hold
recipe.yaml                                        the resolved recipe
data/<config>/train-00000-of-00001.parquet         the rows
digests/<config>.txt                               a digest of each row and of each of its cells
store.sqlite                                       the request store, where it was asked for
"""

from __future__ import annotations

import hashlib
from pathlib import Path

CONFIGS = ("selected", "evolved", "tags", "comparisons", "rejected")
CARD, PROVENANCE, RECIPE, STORE = "README.md", "provenance.json", "recipe.yaml", "store.sqlite"
SPLIT = "train"
FORMAT = 1  # of provenance.json and of the digests
_BLOCK = 1 << 20


def shard_name(config: str, number: int, total: int) -> str:
    """Path of a shard, `number` from 0."""
    return f"data/{config}/{SPLIT}-{number:05d}-of-{total:05d}.parquet"


def shard_folder(config: str) -> str:
    """Folder of a config's shards, with a slash at its end."""
    return f"data/{config}/"


def digests_name(config: str) -> str:
    """Path of a config's digests."""
    return f"digests/{config}.txt"


def megabytes(size: int) -> str:
    """A size in words: "0.02 MB", "12.3 MB"."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e6:.2f} MB"


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
