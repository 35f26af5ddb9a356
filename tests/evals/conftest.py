"""Where published data sets are that tests use and the project does not have."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data_file():
    def find(name):
        path = DATA / name
        if not path.exists():
            pytest.skip(f"needs {path} (TAGEVOL_TEST_DATA)")
        return path

    return find
