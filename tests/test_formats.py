import gzip
import json

import pytest
from datasets import Dataset, IterableDataset

from tagevol_hf.errors import DataError
from tagevol_hf.formats import prepare
from tagevol_hf.rows import ROW_FEATURES
from tagevol_hf.sources import load

ALPACA = [
    {"instruction": "Add the numbers.", "input": "1 and 2", "output": "3"},
    {"instruction": "Name a colour.", "input": "", "output": "Red."},
]


def one(row, **options):
    return prepare(Dataset.from_list([row]), **options)[0]


def test_alpaca_columns():
    done = prepare(Dataset.from_list(ALPACA))
    assert done.features == ROW_FEATURES
    assert [done[0][name] for name in ("instruction", "input", "response", "history")] == [
        "Add the numbers.",
        "1 and 2",
        "3",
        [],
    ]
    assert done["rejection"][:] == [None, None]


def test_prompt_and_completion_as_text_and_as_messages():
    row = one({"prompt": "Hi?", "completion": "Hello."})
    assert (row["instruction"], row["response"]) == ("Hi?", "Hello.")
    row = one(
        {
            "prompt": [{"role": "user", "content": "Hi?"}],
            "completion": [{"role": "assistant", "content": "Hello."}],
        }
    )
    assert (row["instruction"], row["response"], row["history"]) == ("Hi?", "Hello.", [])


TURNS = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "2"},
]


def test_several_turns_stay_several_turns():
    row = one({"messages": TURNS})
    assert (row["instruction"], row["response"], row["history"]) == ("Two?", "2", TURNS[:3])
    row = one({"messages": TURNS[:4]})
    assert (row["instruction"], row["response"], row["history"]) == ("Two?", "", TURNS[:3])


def test_sharegpt_conversations():
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]
    row = one({"conversations": turns, "id": 7})
    assert (row["id"], row["instruction"], row["response"]) == ("7", "Hi", "Yo")


@pytest.mark.parametrize(
    ("turns", "detail"),
    [
        ([{"role": "assistant", "content": "x"}], "no user turn"),
        ([{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}], "a turn of the role 'tool'"),
        ([{"role": "user", "content": None}], "a turn of user without plain text"),
        ([*TURNS, {"role": "assistant", "content": "3"}], "after the last user turn, more than one reply"),
        ([], "no user turn"),
    ],
)
def test_a_conversation_that_cannot_be_used_is_kept_with_its_reason(turns, detail):
    features = None
    data = Dataset.from_dict({"messages": [turns, TURNS]}, features=features)
    bad, good = prepare(data)
    assert bad["rejection"]["reason"] == "bad_messages"
    assert bad["rejection"]["detail"] == detail
    assert good["rejection"] is None
    assert json.loads(bad["rejection"]["raw"]) == turns


def test_columns_can_be_mapped():
    data = Dataset.from_list([{"question": "1+1?", "answer": "#### 2", "level": 3}])
    row = prepare(data, {"instruction": "question", "response": "answer"})[0]
    assert (row["instruction"], row["response"], row["level"]) == ("1+1?", "#### 2", 3)


def test_a_missing_column_is_said_with_those_that_are_there():
    data = Dataset.from_list([{"question": "1+1?", "answer": "2"}])
    with pytest.raises(DataError, match=r"no known format: .* the data set has: question, answer"):
        prepare(data)
    with pytest.raises(DataError, match=r"there is no column 'q'; the data set has: question, answer"):
        prepare(data, {"instruction": "q"})
    with pytest.raises(DataError, match=r"data.columns: 'instructions' is not one of id, instruction"):
        prepare(data, {"instructions": "question"})


def test_null_and_empty_instructions_are_rejected_rows():
    data = Dataset.from_dict({"instruction": [None, "  ", "x"], "output": ["a", None, None]})
    reasons = [mark and mark["reason"] for mark in prepare(data)["rejection"]]
    assert reasons == ["empty_instruction", "empty_instruction", None]


def test_a_very_long_row_is_rejected_with_its_size():
    done = prepare(Dataset.from_list([{"instruction": "x" * 100_000}, {"instruction": "y"}]))
    assert done[0]["rejection"]["reason"] == "too_long"
    assert done[0]["rejection"]["detail"] == "100000 characters, data.max_chars is 50000"
    assert len(done[0]["instruction"]) == 100_000
    assert prepare(Dataset.from_list([{"instruction": "x" * 100_000}]), max_chars=100_000)[0]["rejection"] is None


def test_a_repeated_id_is_rejected_and_keeps_its_text():
    done = prepare(Dataset.from_dict({"id": ["a", "b", "a"], "instruction": ["x", "y", "z"]}))
    assert done["id"][:] == ["a", "b", "a#2"]
    assert [mark and mark["reason"] for mark in done["rejection"]] == [None, None, "duplicate_id"]
    assert done[2]["instruction"] == "z"


def test_ids_come_from_the_text_and_equal_rows_are_numbered():
    data = Dataset.from_list([*ALPACA, ALPACA[0]])
    ids = prepare(data)["id"][:]
    assert ids[2] == f"{ids[0]}#2"
    assert prepare(data.select([1, 0]))["id"][:] == [ids[1], ids[0]]
    assert prepare(data)["rejection"][:] == [None] * 3


def test_further_columns_stay_and_clashing_ones_are_renamed():
    row = one({"instruction": "x", "topic": "t", "score": 3, "tags": ["own"]})
    assert (row["topic"], row["source_score"], row["source_tags"]) == ("t", 3, ["own"])


def test_prepared_data_stays_as_it_is():
    done = prepare(Dataset.from_list(ALPACA))
    assert prepare(done) is done


def test_a_stream_is_prepared_as_well():
    data = Dataset.from_list(ALPACA)
    stream = prepare(data.to_iterable_dataset())
    assert isinstance(stream, IterableDataset)
    assert list(stream) == prepare(data).to_list()
    assert list(stream) == prepare(data).to_list()


def test_all_null_columns_can_be_prepared():
    done = prepare(Dataset.from_dict({"instruction": [None, None], "output": [None, None]}))
    assert [mark["reason"] for mark in done["rejection"]] == ["empty_instruction"] * 2


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.jsonl.gz", "a.parquet", "a.csv"])
def test_files_of_each_kind(tmp_path, name):
    path = tmp_path / name
    lines = "".join(json.dumps(row) + "\n" for row in ALPACA)
    data = Dataset.from_list(ALPACA)
    if name == "a.json":
        path.write_text(json.dumps(ALPACA))
    elif name == "a.jsonl":
        path.write_text(lines)
    elif name == "a.jsonl.gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif name == "a.parquet":
        data.to_parquet(path)
    else:
        data.to_csv(path)
    done = prepare(load(str(path)))
    assert done["instruction"][:] == [row["instruction"] for row in ALPACA]
    assert done[1]["input"] == ""


def test_globs_saved_folders_and_limits(tmp_path):
    for part in range(3):
        (tmp_path / f"part-{part}.jsonl").write_text(json.dumps({"instruction": str(part)}) + "\n")
    assert load(f"{tmp_path}/part-*.jsonl")["instruction"][:] == ["0", "1", "2"]
    assert len(load(f"{tmp_path}/part-*.jsonl", limit=2)) == 2
    Dataset.from_list(ALPACA).save_to_disk(tmp_path / "saved")
    assert len(load(str(tmp_path / "saved"))) == 2


def test_what_cannot_be_read_is_one_clear_line(tmp_path):
    (tmp_path / "broken.json").write_text('[{"instruction": "x"')
    for source in (str(tmp_path / "none.json"), str(tmp_path / "broken.json"), f"{tmp_path}/*.parquet"):
        with pytest.raises(DataError, match=r"data.source '.*': cannot be read \(") as fault:
            load(source)
        assert "\n" not in str(fault.value)
