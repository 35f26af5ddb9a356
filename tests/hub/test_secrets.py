import io
import json
import os
import shutil
import sqlite3
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_from_disk
from hub_runs import CHOOSE, TOKEN, make_run, seeds

from tagevol_hf.engines.base import Reply
from tagevol_hf.engines.store import RequestStore
from tagevol_hf.errors import DataError
from tagevol_hf.hub import push_to_hub, verify
from tagevol_hf.hub.provenance import recipe_digest
from tagevol_hf.hub.secrets import secrets_of

KEY, URL_KEY = "sk-planted-0123456789", "UrlKeyPlanted77"


@pytest.fixture
def planted(run, monkeypatch, tmp_path):
    """A run of a user at home, with keys in the environment and in an engine's address."""
    home = tmp_path / "home" / "maria7"
    home.mkdir(parents=True)
    for name, value in {"HOME": str(home), "USER": "maria7", "LOGNAME": "maria7", "OPENAI_API_KEY": KEY}.items():
        monkeypatch.setenv(name, value)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))
    recipe["engines"]["judge"] = f"http://user:{URL_KEY}@127.0.0.1:1/v1#m"
    recipe["data"]["source"] = str(home / "my" / "rows.jsonl")
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    record = json.loads((run / "run.json").read_text("utf-8"))
    record["digest"] = recipe_digest(recipe)
    record["command"] = f"tagevol curate {home}/r.yaml"
    record["engines"]["judge"] = {**record["engines"]["default"], "spec": recipe["engines"]["judge"]}
    record["engines"]["judge"]["identity"] = str(home / "models" / "m")
    record["steps"][1]["summary"]["warning"] = f"read from {home}/x.txt"
    (run / "run.json").write_text(json.dumps(record))
    store = RequestStore(run / "store.sqlite")
    store.put("ab" * 32, Reply("a reply", "stop", 1, 1), f"http://user:{URL_KEY}@127.0.0.1:1/v1#m")
    store.connection().execute("INSERT INTO notes VALUES ('batch', ?)", (f"{KEY} {home}",))
    resaved(run / "rejected", lambda row: {"rejection": {**row["rejection"], "detail": f"a row of {home}/my/rows.jsonl",
                                                         "raw": f"Bearer {KEY}"}})  # fmt: skip
    return run


def resaved(folder, change):
    rows = load_from_disk(str(folder))
    rows.map(change, features=rows.features).save_to_disk(folder.with_name("fresh"))
    shutil.rmtree(folder)
    folder.with_name("fresh").rename(folder)


def texts(path, data):
    """All that a file says, also where it is compressed."""
    yield data.decode("latin-1")
    if path.endswith(".parquet"):
        yield json.dumps(pq.read_table(io.BytesIO(data)).to_pylist(), ensure_ascii=False)
    if path.endswith(".sqlite"):
        Path("copy.sqlite").write_bytes(data)
        for (text,) in sqlite3.connect("copy.sqlite").execute("SELECT text FROM replies"):
            yield (text[1:] if text[:1] == b"\0" else zlib.decompress(text[1:])).decode()


@pytest.mark.slow
def test_nothing_that_is_pushed_gives_anything_away(hub, planted, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    said = []
    push_to_hub(planted, "me/whole", store=True, say=said.append)
    files = hub.files["me/whole"]
    assert {"README.md", "provenance.json", "recipe.yaml", "store.sqlite"} <= set(files)
    for path, data in files.items():
        for text in (*texts(path, data), path, *said):
            for secret in (TOKEN, KEY, URL_KEY, "maria7", str(tmp_path)):
                assert secret not in text, f"{secret} in {path}"
    assert "http://127.0.0.1:1/v1#m" in files["recipe.yaml"].decode()
    recipe = json.loads(files["provenance.json"])["recipe"]
    assert recipe["ran"] != recipe["digest"]
    lost = pq.read_table(io.BytesIO(files["data/rejected/train-00000-of-00001.parquet"])).to_pylist()
    assert lost[0]["rejection"]["detail"].startswith("a row of ")
    assert lost[0]["rejection"]["raw"] == "Bearer …"
    assert verify("me/whole") == []


@pytest.mark.slow
def test_the_store_that_is_pushed_answers(hub, whole_run, tmp_path):
    push_to_hub(whole_run, "me/whole", configs=["tags"], store=True)
    (tmp_path / "store.sqlite").write_bytes(hub.files["me/whole"]["store.sqlite"])
    there, own = (sqlite3.connect(path) for path in (tmp_path / "store.sqlite", whole_run / "store.sqlite"))
    question = "SELECT key, text, finish_reason FROM replies ORDER BY key"
    assert there.execute(question).fetchall() == own.execute(question).fetchall()
    assert there.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    hub.files["me/whole"]["store.sqlite"] = hub.files["me/whole"]["store.sqlite"][:-1] + b"x"
    assert verify("me/whole") == ["store.sqlite: sha256 differs"]
    push_to_hub(whole_run, "me/whole", configs=["tags"])  # the store stays, as do the configs that are not pushed
    assert "store.sqlite" in hub.files["me/whole"]


@pytest.mark.slow
def test_a_run_without_a_store(hub, run):
    (run / "store.sqlite").unlink()
    with pytest.raises(DataError, match=r"store.sqlite: there is no store in this run folder; push without the store"):
        push_to_hub(run, "me/whole", store=True)
    assert hub.files == {}


@pytest.mark.slow
def test_a_key_in_a_text_is_named_and_nothing_is_pushed(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    rows = [*seeds(3), {"instruction": f"Call it with {KEY}.", "input": "", "output": "ok", "id": "leak"}]
    run = make_run(tmp_path, rows, CHOOSE)
    with pytest.raises(
        DataError, match=r"selected: row \d \(id \w+\): column instruction holds the value of OPENAI_API_K"
    ) as told:
        push_to_hub(run, "me/leak")
    assert KEY not in str(told.value)
    assert hub.files == {}


@pytest.mark.slow
def test_a_key_in_a_stored_reply(hub, run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    RequestStore(run / "store.sqlite").put("cd" * 32, Reply(f"{'long ' * 200}{KEY}", "stop", 1, 1), "m")
    with pytest.raises(
        DataError, match=r"store.sqlite \(reply \d+\): holds the value of OPENAI_API_KEY; nothing was pus"
    ):
        push_to_hub(run, "me/whole", store=True)
    assert hub.files == {}


def found(text, monkeypatch, environment):
    for name in list(os.environ):
        if name not in ("PATH", "HOME"):
            monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    table = pa.table({"id": ["1"], "history": [[{"role": "user", "content": text}]]})
    try:
        secrets_of("", {}).check("selected", 0, table)
    except DataError as fault:
        return str(fault)
    return ""


@pytest.mark.parametrize(
    ("text", "environment", "is_found"),
    [
        ("a sk-1234567 b", {"X_API_KEY": "sk-1234567"}, True),
        ("the default one", {"SORT_KEY": "default"}, False),  # a word is no key
        ("in /etc/keys/one2345", {"SSL_KEY": "/etc/keys/one2345"}, False),  # nor a path
        ("ls /home/ann9/data", {"HOME": "/home/ann9"}, True),
        ("ls /home/ann99/data", {"HOME": "/home/ann9"}, False),
        ("ls /root/data", {"HOME": "/root"}, False),  # of no person
    ],
)
def test_what_is_a_secret(monkeypatch, text, environment, is_found):
    told = found(text, monkeypatch, environment)
    assert bool(told) is is_found
    assert not is_found or "selected: row 0 (id 1): column history holds " in told
