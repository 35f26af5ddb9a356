from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_folders import row, save_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sums"
    return save_run(folder, [row(n) for n in range(40)], [row(n) for n in range(40, 60)])


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tagevol_hf.training.tiny import make_tiny_model

    texts = [row(n)["instruction"] + row(n)["response"] for n in range(40)]
    return make_tiny_model(tmp_path_factory.mktemp("models") / "llama", "llama", texts, vocab_size=400)


@pytest.fixture(scope="session")
def tokenizer(tiny_llama: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)
