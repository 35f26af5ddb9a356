import hashlib
import io
import json

import pyarrow.parquet as pq
import pytest

from tagevol_hf.errors import DataError
from tagevol_hf.hub import push_to_hub, verify
from tagevol_hf.hub.configs import configs_of
from tagevol_hf.rows import iterate

pytestmark = pytest.mark.slow  # each pushes once or more, a third of a second each

ALL = {"selected", "evolved", "tags", "comparisons", "rejected"}


def shards(files, config):
    return {path: data for path, data in files.items() if path.startswith(f"data/{config}/")}


def rows(files, config):
    return [
        row for _, data in sorted(shards(files, config).items()) for row in pq.read_table(io.BytesIO(data)).to_pylist()
    ]


def test_every_row_of_every_config_is_there(hub, pushed, whole_run):
    expected = configs_of(whole_run)
    assert set(expected) == ALL
    for config, data in expected.items():
        assert rows(pushed, config) == list(iterate(data)), config
    assert len(shards(pushed, "evolved")) > 1
    assert hub.private == {"me/whole"}
    assert len(hub.commits) == 1
    assert verify("me/whole") == []


def test_a_second_push_of_one_config_leaves_the_others_byte_identical(hub, pushed, whole_run):
    before = dict(pushed)
    push_to_hub(whole_run, "me/whole", configs=["tags"], shard_bytes=2000)
    after = hub.files["me/whole"]
    assert shards(after, "tags") != shards(before, "tags")
    assert not set(shards(before, "tags")) & set(shards(after, "tags"))  # those of other shards are gone
    for path in before:
        if "tags" not in path and path not in ("README.md", "provenance.json"):
            assert after[path] == before[path], path
    old, new = (json.loads(files["provenance.json"])["configs"] for files in (before, after))
    assert {name: old[name] for name in ALL - {"tags"}} == {name: new[name] for name in ALL - {"tags"}}
    assert verify("me/whole") == []


def test_the_same_push_again_sends_and_commits_nothing(hub, pushed, whole_run):
    sent, commits = list(hub.uploads), list(hub.commits)
    push_to_hub(whole_run, "me/whole", shard_bytes=8000)
    assert (hub.uploads, hub.commits) == (sent, commits)


def test_a_push_that_dies_in_the_middle_is_repeated(hub, whole_run):
    def die(method, path):
        return 400 if method == "PUT" and len(hub.uploads) >= 3 else None

    hub.before = die
    with pytest.raises(
        DataError, match=r"me/whole at http://127.0.0.1:\d+: the Hub answered HTTP 400 .*run the same com"
    ):
        push_to_hub(whole_run, "me/whole", shard_bytes=8000)
    assert hub.files["me/whole"] == {}
    assert len(hub.uploads) == 3
    hub.before = lambda method, path: None
    push_to_hub(whole_run, "me/whole", shard_bytes=8000)
    assert len(hub.uploads) == len(set(hub.uploads))  # what had arrived was not sent again
    assert len(hub.commits) == 1
    assert verify("me/whole") == []


def test_the_answer_to_the_commit_is_lost(hub, whole_run):
    push_to_hub(whole_run, "me/whole", configs=["selected"], mode="append")
    push_to_hub(whole_run, "me/whole", configs=["selected"], mode="append")  # as after a lost answer
    assert len(rows(hub.files["me/whole"], "selected")) == 6


def test_append(hub, pushed, evolved_run, whole_run):
    before = dict(pushed)
    said = []
    with pytest.raises(DataError, match=r"selected: column open_tags is List on the Hub and not there in this run"):
        push_to_hub(evolved_run, "me/whole", configs=["selected"], mode="append")
    assert hub.files["me/whole"] == before
    push_to_hub(evolved_run, "me/whole", configs=["evolved", "tags"], mode="append", say=said.append)
    after = hub.files["me/whole"]
    for path in before:
        if path.startswith("data/"):
            assert after[path] == before[path]
    added = configs_of(evolved_run)
    for config in ("evolved", "tags"):
        assert rows(after, config) == rows(before, config) + list(iterate(added[config]))
    assert any("is not" in line or "evolved: 12 rows" in line for line in said)
    assert verify("me/whole") == []
    provenance = json.loads(after["provenance.json"])
    assert len(provenance["earlier"]) == 1
    push_to_hub(whole_run, "me/whole", shard_bytes=8000)  # replaces all, and the added shards go
    assert {path for path in hub.files["me/whole"] if path.startswith("data/")} == {
        path for path in before if path.startswith("data/")
    }
    assert "earlier" not in json.loads(hub.files["me/whole"]["provenance.json"])
    assert verify("me/whole") == []


def test_append_to_what_somebody_edited(hub, pushed, evolved_run):
    pushed["digests/evolved.txt"] += b"more"
    before = dict(pushed)
    with pytest.raises(
        DataError, match=r"digests/evolved\.txt on the Hub does not fit provenance\.json; push without app"
    ):
        push_to_hub(evolved_run, "me/whole", configs=["evolved"], mode="append")
    assert hub.files["me/whole"] == before


def test_somebody_pushes_at_the_same_time(hub, pushed, whole_run):
    before = hub.files["me/whole"]

    def meanwhile(method, path):
        if "/commit/" in path:
            hub.files["me/whole"] = {**before, "note.txt": b"mine"}

    hub.before = meanwhile
    with pytest.raises(
        DataError, match="somebody else pushed at the same time; nothing was changed; run the same comm"
    ):
        push_to_hub(whole_run, "me/whole", configs=["selected"], shard_bytes=3000)
    assert hub.files["me/whole"] == {**before, "note.txt": b"mine"}


def test_other_files_and_configs_stay(hub, evolved_run):
    head = "configs:\n- config_name: mine\n  data_files: mine/*.csv\nlicense: mit\n"
    hub.files["me/other"] = {
        "README.md": f"---\n{head}---\n\n# My words\n\nWritten by hand.\n".encode(),
        "mine/a.csv": b"a\n1\n",
        "data/train-00000-of-00001.parquet": b"not mine",
    }
    before = dict(hub.files["me/other"])
    push_to_hub(evolved_run, "me/other")
    after = hub.files["me/other"]
    card = after["README.md"].decode()
    assert "# My words" in card
    assert "Written by hand." in card
    assert "mine/*.csv" in card
    assert {path: after[path] for path in before if path != "README.md"} == {
        path: data for path, data in before.items() if path != "README.md"
    }
    assert "me/other" not in hub.private
    assert verify("me/other") == []


def test_no_token(hub, whole_run, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    asked = []
    hub.before = lambda method, path: asked.append(path)
    with pytest.raises(DataError, match=r"me/whole: no token for the Hub; make one that may write at .*hf auth login"):
        push_to_hub(whole_run, "me/whole")
    assert asked == []


@pytest.mark.parametrize("there", [True, False])
def test_somebody_elses_repository(hub, whole_run, there):
    hub.foreign.add("them")
    if there:
        hub.files["them/whole"] = {"README.md": b"theirs"}
    with pytest.raises(
        DataError, match=r"them/whole .*refuses \(HTTP 403\); the repository is somebody else's, or"
    ) as told:
        push_to_hub(whole_run, "them/whole")
    assert "hf_" not in str(told.value)
    assert hub.files == ({"them/whole": {"README.md": b"theirs"}} if there else {})
    assert hub.uploads == []


def test_a_token_that_is_not_valid(hub, whole_run):
    hub.before = lambda method, path: 401
    with pytest.raises(DataError, match=r"refuses \(HTTP 401\); the token is not valid"):
        push_to_hub(whole_run, "me/whole")


def test_a_model_has_that_name(hub, whole_run):
    hub.models.add("me/poet")
    with pytest.raises(DataError, match="me/poet: is a model; name another repository for the data set"):
        push_to_hub(whole_run, "me/poet")
    assert hub.files == {}


def test_nobody_answers(hub, whole_run, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"http://127.0.0.1:9: the Hub cannot be reached \(.*look at the network"):
        push_to_hub(whole_run, "me/whole")


def test_a_slow_line(hub, whole_run, monkeypatch):
    import threading

    from tagevol_hf.hub import remote

    monkeypatch.setattr(remote, "STALL_SECONDS", 0.2)
    said, stuck = [], threading.Event()
    hub.before = lambda method, path: stuck.wait(3) and None if "/commit/" in path else None
    with pytest.raises(DataError, match=r"no answer for 0.2 seconds; the line is slow .* run the same command again"):
        push_to_hub(whole_run, "me/whole", shard_bytes=8000, say=said.append)
    stuck.set()
    assert any(line.startswith("uploaded 8 of ") and line.endswith(" MB") for line in said)


def test_a_card_that_would_not_fit_is_not_pushed(hub, whole_run, monkeypatch):
    from tagevol_hf.hub import card

    monkeypatch.setattr(card, "dataset_card", lambda run, provenance, there, repo: "---\nlicense: mit\n---\nhello\n")
    with pytest.raises(DataError, match=r"the card does not fit, nothing was pushed: README.md: configs does not name"):
        push_to_hub(whole_run, "me/whole")
    assert hub.files == {}
    assert hub.uploads == []


def test_a_run_that_does_not_hold_together_is_not_pushed(hub, run):
    record = json.loads((run / "run.json").read_text("utf-8"))
    record["totals"]["selected"] = 99
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(
        DataError, match=r"does not hold together, nothing was pushed: selected: 6 rows, run\.json has 99"
    ):
        push_to_hub(run, "me/whole")
    assert hub.files == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configs": ["chosen"]}, "config 'chosen': expected selected, evolved, tags, comparisons, rejected"),
        ({"configs": ["comparisons"]}, "this run has no rows for comparisons; it has: selected, evolved, tags"),
        ({"mode": "add"}, "mode 'add': expected"),
    ],
)
def test_wrong_arguments(hub, evolved_run, options, message):
    with pytest.raises(DataError, match=message):
        push_to_hub(evolved_run, "me/x", **options)
    with pytest.raises(DataError, match="'no-owner': expected a repository as owner/name"):
        push_to_hub(evolved_run, "no-owner")


def test_shards_are_what_provenance_says(pushed):
    provenance = json.loads(pushed["provenance.json"])
    for config, entry in provenance["configs"].items():
        assert [shard["path"] for shard in entry["shards"]] == sorted(shards(pushed, config))
        for shard in entry["shards"]:
            assert hashlib.sha256(pushed[shard["path"]]).hexdigest() == shard["sha256"]
    assert provenance["recipe"]["text"] == pushed["recipe.yaml"].decode()
    assert provenance["prompts"]["tag_evol"]
    assert provenance["totals"]["read"] == 11
