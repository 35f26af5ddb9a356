"""Finished runs, and a Hub on loopback."""

import shutil
from pathlib import Path

import pytest
from hub_runs import CHOOSE, EVOLVE, make_run, point_to, seeds
from stand_in_hub import stand_in_hub

from tagevol_hf.hub import push_to_hub


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory):
    """Evolved and selected, with one row rejected: it has something for every config."""
    rows = [*seeds(10), {"instruction": "", "input": "", "output": "nothing asked"}]
    return make_run(tmp_path_factory.mktemp("whole"), rows, [*EVOLVE, *CHOOSE])


@pytest.fixture(scope="session")
def evolved_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("evolved"), seeds(6), EVOLVE, "other")


@pytest.fixture
def run(whole_run, tmp_path):
    """A copy of the whole run that a test may damage."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


@pytest.fixture
def hub(monkeypatch):
    with stand_in_hub() as server:
        point_to(server, monkeypatch)
        yield server


@pytest.fixture(scope="session")
def published(whole_run):
    """A Hub after the whole run was pushed to it, in several shards."""
    with stand_in_hub() as server, pytest.MonkeyPatch.context() as patch:
        point_to(server, patch)
        push_to_hub(whole_run, "me/whole", shard_bytes=8000)
    return server


@pytest.fixture
def pushed(hub, published):
    """The files of the whole run on this test's Hub."""
    hub.files["me/whole"] = dict(published.files["me/whole"])
    hub.private, hub.blobs = set(published.private), dict(published.blobs)
    hub.commits, hub.uploads = list(published.commits), list(published.uploads)
    return hub.files["me/whole"]


@pytest.fixture
def clone(published, tmp_path):
    """A copy of the pushed repository on this machine."""
    for path, data in published.files["me/whole"].items():
        (tmp_path / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / path).write_bytes(data)
    return tmp_path / "clone"
