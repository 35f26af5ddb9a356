"""The run that the figures are drawn from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mapped_run import build_mapped_run


@pytest.fixture(scope="session")
def mapped_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with data for every figure, which no test changes."""
    return build_mapped_run(tmp_path_factory.mktemp("figures") / "run")


@pytest.fixture
def folder(mapped_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(mapped_run, tmp_path / "run"))
