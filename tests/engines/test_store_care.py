import os
import sqlite3

import pytest
from typer.testing import CliRunner

from tagevol_hf.cli import app
from tagevol_hf.engines.base import Reply
from tagevol_hf.engines.store import RequestStore
from tagevol_hf.engines.store_care import info, prune, rescue, verify
from tagevol_hf.errors import EngineError


@pytest.fixture
def filled(tmp_path):
    """1,000 replies of two engines, a tenth of them cut off."""
    path = tmp_path / "store.sqlite"
    store = RequestStore(path)
    for engine, start in (("model-a", 0), ("model-b", 500)):
        replies = [
            (f"{number:064x}", Reply(os.urandom(400).hex(), "length" if number % 10 == 0 else "stop", 7, 3))
            for number in range(start, start + 500)
        ]
        store.put_all(replies, engine)
    store.set_note("batch/1", "on its way")
    store.close()
    return path


def tagevol(*arguments):
    return CliRunner().invoke(app, ["store", *map(str, arguments)])


def test_info_says_what_is_there_by_engine(filled):
    found = info(filled)
    assert [(share.identity, share.replies, share.cut_off, share.prompt_tokens) for share in found.engines] == [
        ("model-a", 500, 50, 3500),
        ("model-b", 500, 50, 3500),
    ]
    assert (found.replies, found.notes) == (1000, ["batch/1"])
    assert found.bytes >= filled.stat().st_size
    told = tagevol("info", filled.parent).output  # a run folder will do
    assert "1,000 replies" in told
    assert "model-b: 500 replies, 50 of them cut off; 3,500 prompt and 1,500 reply tokens" in told
    assert "note: batch/1" in told


def test_looking_never_makes_a_store(tmp_path):
    for command in ("info", "verify", "prune"):
        done = tagevol(command, tmp_path / "none")
        assert "there is no store; expected a run folder or a store's file" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_verify_reads_every_reply(filled):
    assert verify(filled).readable == 1000
    assert not verify(filled).faults
    assert tagevol("verify", filled).exit_code == 0


def damage(path, size=4096):
    """Overwrite some pages in the middle, as a bad disk does."""
    with path.open("r+b") as file:
        for page in (30, 31, 60):
            file.seek(page * size)
            file.write(os.urandom(size))


def test_a_damaged_store_is_found_and_what_can_be_read_is_saved(filled, tmp_path):
    whole = {number: RequestStore(filled).get(f"{number:064x}") for number in range(1000)}
    damage(filled)
    verdict = verify(filled)
    assert verdict.faults
    assert 900 < verdict.readable < 1000
    done = tagevol("verify", filled)
    assert isinstance(done.exception, EngineError)
    assert "--rescue NEW" in str(done.exception)
    saved = tmp_path / "saved.sqlite"
    assert f"{saved}: {verdict.readable:,} replies saved" in tagevol("verify", filled, "--rescue", saved).output
    store = RequestStore(saved)
    assert len(store) == verdict.readable
    assert store.note("batch/1") == "on its way"
    read = {number: store.get(f"{number:064x}") for number in range(1000)}
    assert all(reply in (None, whole[number]) for number, reply in read.items()), "no wrong answer"
    assert not verify(saved).faults
    with pytest.raises(EngineError, match="exists already; name a new file"):
        rescue(filled, saved)


def test_a_store_cut_in_half_gives_what_is_left(filled, tmp_path):
    data = filled.read_bytes()
    filled.write_bytes(data[: len(data) // 2 // 4096 * 4096])
    count = rescue(filled, tmp_path / "saved.sqlite")
    assert 300 < count < 600
    assert len(RequestStore(tmp_path / "saved.sqlite")) == count


def test_a_store_without_its_first_page_says_that_all_is_lost(filled):
    with filled.open("r+b") as file:
        file.write(os.urandom(4096))
    with pytest.raises(EngineError, match="first page is lost: nothing can be read"):
        verify(filled)


def test_a_flipped_byte_in_a_text_is_an_error_and_no_answer(tmp_path):
    path = tmp_path / "s"
    store = RequestStore(path)
    store.put("ab" * 32, Reply("a long text, " * 100))
    store.connection().execute(
        "UPDATE replies SET text = CAST(substr(text, 1, 20) || x'00' || substr(text, 22) AS BLOB)"
    )
    with pytest.raises(EngineError, match="a reply cannot be read, the file is malformed"):
        store.get("ab" * 32)
    store.close()
    assert verify(path).faults == {"a reply's text is damaged": 1}


def test_prune_deletes_what_meets_all_conditions_and_gives_space_back(filled):
    before = filled.stat().st_size
    assert prune(filled, engine="model-a", cut_off=True, dry=True) == 50
    assert prune(filled, engine="model-a", cut_off=True) == 50
    assert prune(filled, engine="model-b") == 500
    assert [share.replies for share in info(filled).engines] == [450]
    assert filled.stat().st_size < 0.6 * before
    assert prune(filled, older_than=0) == 0
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE replies SET day = day - 40 WHERE number <= 100")
    connection.close()
    done = tagevol("prune", filled, "--older-than", 30, "--dry-run")
    assert "90 replies would go" in done.output
    assert "90 replies gone" in tagevol("prune", filled, "--older-than", 30).output
    assert len(RequestStore(filled)) == 360


def test_prune_wants_a_condition_and_a_known_engine(filled):
    with pytest.raises(EngineError, match="name what is to go"):
        prune(filled)
    with pytest.raises(EngineError, match="holds nothing of engine 'model-c'; it has: model-a, model-b"):
        prune(filled, engine="model-c")
    assert len(RequestStore(filled)) == 1000
