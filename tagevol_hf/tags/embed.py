"""Embedders: short texts → unit vectors, by character n-grams, a sentence-transformers model or static embeddings."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DataError, MissingExtraError
from ..progress import announce
from .embed_unknown import unknown_texts

PHRASE_BERT = "whaleloops/phrase-bert"
_PATIENCE = 5.0  # seconds to wait for the Hub

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

    The order of words has no say: "data analysis" and "analysis of data" are near, and so they should be as tags.
    A mistake of spelling in a short text moves it far: within a distance of 0.05 hardly any is seen.

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
    """A sentence-transformers model; it is loaded at the first use.

    A text that its vocabulary lacks, as Chinese to Phrase-BERT, gets the built-in vector of its spelling instead.

    Args:
        model: Folder of the model, or its Hub id.
    """

    def __init__(self, model: str | Path) -> None:
        self.model = str(model)

    @functools.cached_property
    def identity(self) -> str:
        """The Hub id, or for a folder its name and the digest of its files."""
        return _identity(self.model)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder.encode`.

        Raises:
            MissingExtraError: If sentence-transformers is not installed.
            DataError: If the model cannot be loaded.
        """
        if not texts:
            return self.encode([""])[:0]
        found = self._loaded.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        vectors = np.asarray(found, dtype=np.float32).reshape(len(texts), -1)
        return _spelled(_unit(vectors), texts, getattr(self._loaded, "tokenizer", None))

    @functools.cached_property
    def _loaded(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise MissingExtraError("sentence_transformers", "embed") from None
        try:
            return SentenceTransformer(self.model)
        except (OSError, ValueError, RuntimeError) as fault:
            raise _unusable(self.model, fault) from None


class StaticEmbedder:
    """A static embedding of model2vec (a vector for each token, no network), also with whole-number weights.

    A text that its vocabulary lacks gets the built-in vector of its spelling instead.

    Args:
        folder: Folder of the model.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @functools.cached_property
    def identity(self) -> str:
        """The folder's name and the digest of its files."""
        return _identity(str(self.folder))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder.encode`.

        Raises:
            MissingExtraError: If model2vec is not installed.
            DataError: If the model cannot be loaded.
        """
        if not texts:
            return np.zeros((0, self._loaded.dim), dtype=np.float32)
        vectors = np.asarray(self._loaded.encode(list(texts), use_multiprocessing=False), dtype=np.float32)
        return _spelled(_unit(vectors), texts, self._loaded.tokenizer)

    @functools.cached_property
    def _loaded(self) -> Any:
        try:
            from model2vec import StaticModel
        except ImportError:
            raise MissingExtraError("model2vec", "embed") from None
        try:
            return StaticModel.from_pretrained(self.folder)
        except (OSError, ValueError, RuntimeError, KeyError) as fault:
            raise _unusable(str(self.folder), fault) from None


def open_embedder(spec: str) -> Embedder:
    """The embedder that a recipe names.

    Args:
        spec: "builtin"; "phrase-bert" (the papers' model, whaleloops/phrase-bert on the Hub); "auto", which is
            Phrase-BERT where it can be had and else the built-in one, and says which and why; the folder of a
            sentence-transformers or model2vec model; or a Hub id.
    """
    spec = resolved(spec)
    if spec == "builtin":
        return NgramEmbedder()
    if _is_static(Path(spec)):
        return StaticEmbedder(spec)
    return SentenceEmbedder(PHRASE_BERT if spec == "phrase-bert" else spec)


def resolved(spec: str) -> str:
    """What "auto" is on this machine today, "phrase-bert" or "builtin", which is said; any other name itself."""
    if spec != "auto":
        return spec
    hindrance = _hindrance()
    announce(f"embedder: the built-in character n-grams ({hindrance})" if hindrance else "embedder: Phrase-BERT")
    return "builtin" if hindrance else "phrase-bert"


def out_of_reach(spec: str) -> str:
    """Why an embedder cannot be had here, as far as that shows without loading it; empty if nothing does."""
    if spec == "phrase-bert":
        return _hindrance()
    if spec.startswith((".", "/", "~")) and not Path(spec).is_dir():
        return f"{spec}: no such folder"
    return ""


def _hindrance() -> str:
    """Why Phrase-BERT cannot be had here; empty if it can."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return "for Phrase-BERT: pip install 'tagevol_hf[embed]'"
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    files = ("config.json", "model.safetensors", "pytorch_model.bin")
    config, *weights = (isinstance(try_to_load_from_cache(PHRASE_BERT, file), str) for file in files)
    if config and any(weights):
        return ""
    if constants.HF_HUB_OFFLINE:
        return "Phrase-BERT is not in the local cache, and HF_HUB_OFFLINE is set"
    try:
        HfApi().model_info(PHRASE_BERT, timeout=_PATIENCE)
    except Exception as fault:
        return f"Phrase-BERT is not in the local cache, and the Hub does not give it: {type(fault).__name__}"
    return ""


def _is_static(folder: Path) -> bool:
    """Whether the folder holds a model of model2vec."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "model2vec"


def _unusable(model: str, fault: Exception) -> DataError:
    return DataError(
        f"embedder {model!r}: cannot be loaded ({' '.join(str(fault).split())}); expected auto, builtin, phrase-bert, "
        "the folder of a sentence-transformers or model2vec model, or a Hub id"
    )


def _unit(vectors: Vectors) -> Vectors:
    """The rows scaled to length 1; a row of zeros becomes the first unit vector."""
    if vectors.shape[1] == 0:
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.where(lengths > 0, vectors, np.eye(1, vectors.shape[1], dtype=np.float32))
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _spelled(vectors: Vectors, texts: Sequence[str], tokenizer: Any) -> Vectors:
    """The vectors, with the built-in ones of the same length for texts that the tokenizer does not know."""
    unknown = unknown_texts(texts, tokenizer)
    if unknown.any():
        vectors = vectors.copy()
        vectors[unknown] = NgramEmbedder(vectors.shape[1]).encode([texts[place] for place in np.flatnonzero(unknown)])
    return vectors


def _identity(model: str) -> str:
    folder = Path(model)
    return f"{folder.name}@{_digest(folder)}" if folder.is_dir() else model


def _digest(folder: Path) -> str:
    """First 12 hex digits of the SHA-256 over the names and contents of a folder's files."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(file.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()[:12]
