import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from stand_in_hub import stand_in_hub

from tagevol_hf.errors import DataError
from tagevol_hf.rows import iterate
from tagevol_hf.tags.pool import TagPool, open_pool
from tagevol_hf.tags.pool_rows import POOL_FEATURES

ROOT = Path(__file__).parents[2]
ROWS = [
    {"id": "b", "aspects": [{"aspect": "skill", "tags": ["sql", "joins", "日本語"]}]},
    {"id": "a", "aspects": [{"aspect": "field", "tags": ["sql", "7"]}, {"aspect": "", "tags": ["sql"]}]},
]


@pytest.fixture
def pool():
    return TagPool.merge([TagPool.from_rows(ROWS, "math"), TagPool({"sql": {"skill": 3}}, "list")])


def test_a_row_a_tag(pool):
    data = pool.to_dataset()
    assert data.features == POOL_FEATURES
    assert data["tag"][:] == pool.tags
    sql = next(row for row in iterate(data) if row["tag"] == "sql")
    assert sql["count"] == 5
    assert sql["aspects"] == [{"aspect": "", "rows": 1}, {"aspect": "field", "rows": 1}, {"aspect": "skill", "rows": 4}]
    assert sql["sources"] == [{"source": "list", "rows": 3}, {"source": "math", "rows": 2}]
    assert {"source": "math", "id": "b", "aspect": "skill", "rows": 1} in sql["seeds"]
    assert {"source": "list", "id": "", "aspect": "skill", "rows": 3} in sql["seeds"]


def test_from_its_data_set_in_any_order(pool):
    data = pool.to_dataset()
    assert TagPool.from_pool_dataset(data) == pool
    assert TagPool.from_pool_dataset(data.shuffle(seed=3)) == pool
    with pytest.raises(DataError, match=r"not a tag pool \(expected the columns tag and seeds, got: text\)"):
        TagPool.from_pool_dataset(Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(DataError, match=r"not a tag pool \(the columns tag and seeds hold something else"):
        TagPool.from_pool_dataset(Dataset.from_dict({"tag": ["a"], "seeds": [[1]]}))
    with pytest.raises(DataError, match="the tag pool has no tag"):
        TagPool.from_pool_dataset(data.select([]))


def test_half_a_character_stays_out_of_a_data_set():
    with pytest.raises(DataError, match=r"tag pool: 'a\\ud800' cannot be stored in a data set"):
        TagPool({"a\ud800": {"x": 1}}).to_dataset()


def test_every_place_on_this_machine(pool, tmp_path, monkeypatch):
    run = tmp_path / "runs" / "math"
    run.mkdir(parents=True)
    pool.save(run / "tag_pool.json")
    pool.save(tmp_path / "no-ending")
    pool.to_dataset().save_to_disk(str(tmp_path / "saved"))
    for where in (run / "tag_pool.json", run, tmp_path / "no-ending", tmp_path / "saved"):
        assert open_pool(str(where)) == pool
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for where in ("runs/math", "./runs/math", "~/runs/math", "runs/math/tag_pool.json"):
        assert open_pool(where) == pool


EXPECTED = "expected a tag_pool.json, a run folder with one, a saved tag pool, or a Hub id as owner/name"


def test_places_that_are_wrong(pool, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "tag_pool.json").write_text('{"format": 2, "ta')
    Dataset.from_list([{"x": 1}]).save_to_disk(str(tmp_path / "other"))
    DatasetDict({"train": pool.to_dataset()}).save_to_disk(str(tmp_path / "splits"))
    pool.to_dataset().select([]).save_to_disk(str(tmp_path / "nothing"))
    pool.to_dataset().save_to_disk(str(tmp_path / "damaged"))
    next((tmp_path / "damaged").glob("*.arrow")).write_bytes(b"")
    for name, message in {
        "none.json": f"no such file; {EXPECTED}",
        "no/such folder": f"no such file or folder; {EXPECTED}",
        "empty": f"the folder holds no tag pool; {EXPECTED}",
        "run": "this run has no tag_pool.json; its recipe needs the step tag_pool",
        "half": "tag_pool.json: not a tag pool (no valid JSON: ",
        "other": "not a tag pool (expected the columns tag and seeds, got: x)",
        "splits": "expected one data set, got the splits train; name the folder of one",
        "nothing": "the tag pool has no tag",
        "damaged": "the saved data set cannot be read",
    }.items():
        with pytest.raises(DataError) as caught:
            open_pool(str(tmp_path / name))
        assert message in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("where", ["", ".", "me", "./me/pool", "a/b/c", "https://host/me/pool"])
def test_what_can_be_no_place(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=EXPECTED):
        open_pool(where)


HUB = """
import json, sys
from tagevol_hf.errors import DataError
from tagevol_hf.tags.pool import TagPool, open_pool
pool = TagPool.load("pool.json")
pool.push_to_hub("me/data")
pool.keep(least=2).push_to_hub("me/data", "often")
assert open_pool("me/data") == pool
assert open_pool("me/data:often") == pool.keep(least=2)
faults = []
for where in ("me/none", "me/data:rare"):
    try:
        open_pool(where)
    except DataError as fault:
        faults.append(str(fault))
try:
    pool.push_to_hub("no repository/at all/x")
except DataError as fault:
    faults.append(str(fault))
print(json.dumps(faults))
"""


@pytest.mark.slow
def test_up_to_the_hub_and_back(pool, tmp_path):
    pool.save(tmp_path / "pool.json")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_TOKEN": "hf_stand_in", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
    with stand_in_hub() as hub:
        done = subprocess.run(
            [sys.executable, "-c", HUB],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            env={**environment, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url},
        )
    assert done.returncode == 0, done.stderr
    assert hub.private == {"me/data"}
    none, rare, push = json.loads(done.stdout)
    nothing = "no such file or folder, and no data set with a configuration"
    assert none.startswith(f"tag pool 'me/none': {nothing} 'tag_pool' on the Hub (")
    assert rare.startswith(f"tag pool 'me/data:rare': {nothing} 'rare' on the Hub (")
    assert rare.endswith(EXPECTED)
    assert push.startswith("no repository/at all/x: the tag pool cannot be pushed (")
