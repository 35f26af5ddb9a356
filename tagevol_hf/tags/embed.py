"""Embedders: short texts → unit vectors, by character n-grams or by a sentence-transformers model."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DataError, MissingExtraError

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Anything that turns texts into vectors."""

    @property
    def identity(self) -> str:
        """Names what decides the vectors: the model, never the place where it lies."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row of unit length for each text, shape (len(texts), d)."""
        ...


@dataclass(frozen=True)
class NgramEmbedder:
    """Hashed character n-grams inside word borders: similar spelling, similar vector; no download, no training.

    Attributes:
        dimension: Length of a vector, d.
        shortest: Fewest characters of an n-gram.
        longest: Most characters of an n-gram.
    """

    dimension: int = 512
    shortest: int = 2
    longest: int = 4

    @property
    def identity(self) -> str:
        """The name with the parameters."""
        return f"builtin-ngrams-{self.shortest}-{self.longest}-{self.dimension}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder.encode`; a text without any n-gram gets the first unit vector."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        from sklearn.feature_extraction.text import HashingVectorizer

        hashing = HashingVectorizer(
            analyzer="char_wb",
            ngram_range=(self.shortest, self.longest),
            n_features=self.dimension,
            dtype=np.float32,
        )
        clean = [text.encode("utf-8", "replace").decode() for text in texts]  # a lone surrogate cannot be hashed
        return _unit(hashing.transform(clean).toarray())


class SentenceEmbedder:
    """A sentence-transformers model, static embeddings included; it is loaded at the first use.

    A static model of model2vec must be stored in a floating-point type; sentence-transformers reads no int8 ones.

    Args:
        model: Folder of the model, or its Hub id.
    """

    def __init__(self, model: str | Path) -> None:
        self.model = str(model)

    @functools.cached_property
    def identity(self) -> str:
        """The Hub id, or for a folder its name and the digest of its files."""
        folder = Path(self.model)
        return f"{folder.name}@{_digest(folder)}" if folder.is_dir() else self.model

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder.encode`.

        Raises:
            MissingExtraError: If sentence-transformers is not installed.
            DataError: If the model cannot be loaded.
        """
        found = self._loaded.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return _unit(np.asarray(found, dtype=np.float32).reshape(len(texts), -1))

    @functools.cached_property
    def _loaded(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise MissingExtraError("sentence_transformers", "embed") from None
        try:
            return SentenceTransformer(self.model)
        except (OSError, ValueError, RuntimeError) as fault:
            raise DataError(
                f"embedder {self.model!r}: cannot be loaded ({' '.join(str(fault).split())}); expected builtin, "
                "the folder of a sentence-transformers model, or its Hub id"
            ) from None


def open_embedder(spec: str) -> Embedder:
    """The embedder that a recipe names: "builtin", the folder of a sentence-transformers model, or its Hub id."""
    return NgramEmbedder() if spec == "builtin" else SentenceEmbedder(spec)


def _unit(vectors: Vectors) -> Vectors:
    """The rows scaled to length 1; a row of zeros becomes the first unit vector."""
    if vectors.shape[1] == 0:
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.where(lengths > 0, vectors, np.eye(1, vectors.shape[1], dtype=np.float32))
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _digest(folder: Path) -> str:
    """First 12 hex digits of the SHA-256 over the names and contents of a folder's files."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(file.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()[:12]
