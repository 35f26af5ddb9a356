import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.tags.pool import TagPool

ROWS = [
    {"id": f"r{number}", "aspects": [{"aspect": "skill", "tags": ["sql", f"tag {number}"]}]} for number in range(20)
]
ODD = ["007", "1e3", "null", "", " ", "日本語", "👩‍👩‍👧", "\ud800", "a\udfffb", '"q"', "back\\slash", "\u2028", "\x00"]
ODD += ["\u00e9", "e\u0301"]


def test_saved_and_loaded(tmp_path):
    pool = TagPool.merge([TagPool.from_rows(ROWS, "math"), TagPool({"sql": {"skill": 3}}, "list")])
    pool.save(tmp_path / "pool.json")
    assert TagPool.load(tmp_path / "pool.json") == pool
    body = json.loads((tmp_path / "pool.json").read_text("utf-8"))
    entry = next(entry for entry in body["tags"] if entry["tag"] == "sql")
    assert (entry["count"], entry["aspects"], entry["sources"]) == (23, {"skill": 23}, {"list": 3, "math": 20})
    assert entry["seeds"]["skill"][:2] == [[0, 3], 1]
    assert body["rows"] == {"list": [""], "math": sorted(row["id"] for row in ROWS)}


def test_the_order_of_the_rows_leaves_no_trace(tmp_path):
    shuffled = [{**row, "aspects": row["aspects"][::-1]} for row in ROWS]
    random.Random(3).shuffle(shuffled)
    TagPool.from_rows(ROWS, "s").save(tmp_path / "a.json")
    TagPool.from_rows(shuffled, "s").save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_odd_names_survive(tmp_path):
    rows = [{"id": tag, "aspects": [{"aspect": tag, "tags": ODD}]} for tag in ODD]
    pool = TagPool.from_rows(rows, "\udc80 source")
    pool.save(tmp_path / "pool.json")
    assert TagPool.load(tmp_path / "pool.json") == pool
    (tmp_path / "pool.json").read_text("utf-8")  # valid UTF-8 all the same


def is_written_in_one_way(text):
    """Two surrogates that together are one character are that character in JSON; alone they stay what they are."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") == text


texts = st.text(st.characters(exclude_categories=()), max_size=4).filter(is_written_in_one_way)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.dictionaries(texts, st.dictionaries(texts, st.integers(1, 2**31 - 1), min_size=1), min_size=1), texts)
def test_any_pool_survives(tmp_path_factory, counts, source):
    file = tmp_path_factory.mktemp("pool") / "pool.json"
    TagPool(counts, source).save(file)
    assert TagPool.load(file) == TagPool(counts, source)
    assert TagPool.load(file).aspects == counts


def test_format_1_is_still_read(tmp_path):
    old = {"format": 1, "tags": [{"tag": "sql", "count": 3, "aspects": {"field": 1, "skill": 2}}]}
    (tmp_path / "pool.json").write_text(json.dumps(old))
    assert TagPool.load(tmp_path / "pool.json") == TagPool({"sql": {"field": 1, "skill": 2}})


SOUND = {"format": 2, "rows": {"s": ["a"]}, "tags": [{"tag": "t", "seeds": {"x": [0]}}]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a tag pool (no valid JSON: "),
        ('{"format": 2, "tags": [{"tag": "sq', "a half-written file?"),
        ("[" * 100_000, "not a tag pool (no valid JSON: "),
        ("[]", 'not a tag pool (expected a JSON object with "format" and a list "tags")'),
        ('{"entries": []}', 'not a tag pool (expected a JSON object with "format" and a list "tags")'),
        ('{"format": 9, "tags": []}', "tag pool of format 9, expected 1 or 2; make it again"),
        ('{"format": 2, "tags": []}', "the tag pool has no tag; make it from rows that have tags"),
        ('{"format": 1, "tags": [{"tag": 1, "aspects": {"a": 1}}]}', "expected a text, got 1"),
        ('{"format": 1, "tags": [{"tag": "a", "aspects": {"a": true}}]}', "expected a whole number from 1, got True"),
        ('{"format": 1, "tags": [{"tag": "a", "aspects": {"a": 1e400}}]}', "expected a whole number from 1, got inf"),
        ('{"format": 1, "tags": [7]}', "not a tag pool (tags[0]: "),
        (json.dumps({**SOUND, "rows": {}}), "not a tag pool (tags[0]: "),
        (json.dumps({**SOUND, "rows": {"s": [7]}}), "not a tag pool (rows: TypeError('expected a text, got 7'))"),
        (json.dumps(SOUND).replace("[0]", "[-1]"), "expected a whole number from 0, got -1"),
        (json.dumps(SOUND).replace("[0]", "[[0, 0]]"), "expected a whole number from 1, got 0"),
        (json.dumps(SOUND).replace("[0]", "[[0]]"), "not a tag pool (tags[0]: "),
    ],
)
def test_a_file_that_is_no_pool(tmp_path, text, message):
    file = tmp_path / "pool.json"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        TagPool.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "pool.json").write_bytes(b"\xff\xfe\x00PK")
    with pytest.raises(DataError, match=r"pool\.json: not a tag pool \(no valid JSON: 'utf-8' codec"):
        TagPool.load(tmp_path / "pool.json")


def test_a_pool_cut_anywhere_is_refused(tmp_path):
    TagPool.from_rows(ROWS[:2], "s").save(tmp_path / "whole.json")
    whole = (tmp_path / "whole.json").read_bytes().rstrip()
    for length in range(len(whole)):
        (tmp_path / "cut.json").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.json: not a tag pool"):
            TagPool.load(tmp_path / "cut.json")
