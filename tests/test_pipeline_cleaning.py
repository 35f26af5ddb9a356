"""Recipes that clean: benchmarks' questions and near duplicates leave, each with its reason."""

import json

import pytest

from tagevol_hf.errors import DataError, MissingExtraError, RecipeError
from tagevol_hf.pipeline import curate
from tagevol_hf.plan import plan
from tagevol_hf.recipe import recipe_from

QUESTION = "A baker sells 24 rolls in the morning and 36 in the afternoon; how many rolls does he sell in one day?"
ROWS = [
    {"instruction": "Describe a river delta for a class of ten.", "output": "Sand."},
    {"instruction": QUESTION, "output": "60"},
    {"instruction": "describe a river delta for a class of ten!", "output": "Sand and water."},
    {"instruction": "Please answer.", "input": QUESTION.upper(), "output": "60"},
    {"instruction": "Quote a question about a baker.", "output": QUESTION},
]


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "rows.jsonl", ROWS)


@pytest.fixture
def bench(tmp_path):
    return write(tmp_path / "bench.jsonl", [{"question": "Why?", "answer": "So."}, {"question": QUESTION}])


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def recipe(source, *steps):
    engines = {"default": "builtin"}
    return recipe_from({"name": "t", "data": {"source": source}, "engines": engines, "steps": list(steps)})


def run(source, folder, *steps):
    return curate(recipe(source, *steps), folder)


def step(done, name):
    return next(step for step in done.record["steps"] if step["name"] == name)


def test_questions_of_a_benchmark_leave_with_their_place(source, bench, tmp_path):
    done = run(source, tmp_path / "run", {"decontaminate": {"against": [bench]}})
    assert len(done.selected) == 3
    assert [row["rejection"]["reason"] for row in done.rejected] == ["contaminated"] * 2
    detail = done.rejected[0]["rejection"]["detail"]
    assert detail.startswith("bench.jsonl row 1: 13-gram, share 1.00: a baker sells rolls in the morning")
    assert step(done, "decontaminate")["summary"] == {
        "rows": 5, "contaminated": 2, "by_reference": {"bench.jsonl": 2}, "by_how": {"13-gram": 2}, "action": "reject",
    }  # fmt: skip
    report = json.loads((done.path / "contamination.json").read_text())
    assert [leak["row"] for leak in report["leaks"]] == [1, 3]
    assert (done.record["totals"]["asked"], done.record["totals"]["rejected"]) == (0, {"contaminated": 2})


def test_benchmarks_of_one_name_are_told_apart_without_their_folders(source, bench, tmp_path):
    (tmp_path / "more").mkdir()
    other = write(tmp_path / "more" / "bench.jsonl", [{"problem": QUESTION}])
    done = run(source, tmp_path / "run", {"decontaminate": {"against": [bench, other]}})
    assert step(done, "decontaminate")["summary"]["by_reference"] == {"bench.jsonl": 2, "bench.jsonl (2)": 2}
    assert str(tmp_path) not in done.rejected[0]["rejection"]["detail"]


def test_a_report_rejects_nothing_and_responses_are_looked_at_where_asked(source, bench, tmp_path):
    options = {"against": [{"source": bench, "columns": {"instruction": "question"}}], "action": "report"}
    done = run(source, tmp_path / "run", {"decontaminate": {**options, "columns": ["instruction", "response"]}})
    assert (len(done.selected), len(done.rejected)) == (5, 0)
    assert step(done, "decontaminate")["summary"]["contaminated"] == 3


def test_of_near_duplicates_the_longest_answer_stays(source, tmp_path):
    pytest.importorskip("rensa", reason="rensa is not installed")
    done = run(source, tmp_path / "run", "near_duplicates")
    assert done.rejected["rejection"][0]["reason"] == "near_duplicate"
    assert done.rejected["response"][:] == ["Sand.", "60"]
    kept = next(row["id"] for row in done.selected if row["response"] == "Sand and water.")
    assert done.rejected["rejection"][0]["detail"] == f"{kept} is kept, similarity 1.00"
    assert step(done, "near_duplicates")["summary"]["duplicates"] == 2


@pytest.mark.slow
def test_near_duplicates_by_vectors(source, tmp_path):
    options = {"by": "embedding", "threshold": 0.9, "embedder": "builtin"}
    done = run(source, tmp_path / "run", {"near_duplicates": options})
    assert done.rejected["response"][:] == ["Sand.", "60"]
    assert step(done, "near_duplicates")["summary"]["by"] == "builtin-ngrams-2-4-512"


def test_what_is_missing_is_told_before_anything_is_asked(source, bench, tmp_path, monkeypatch):
    steps = ({"evol_instruct": {}}, {"decontaminate": {"against": [bench, "none.jsonl"]}})
    with pytest.raises(DataError, match=r"decontaminate\.against: none\.jsonl: 'none\.jsonl': cannot be read"):
        run(source, tmp_path / "a", *steps)
    with pytest.raises(DataError, match=r"against: .*bench\.jsonl stands there twice; leave one out"):
        run(source, tmp_path / "b", {"evol_instruct": {}}, {"decontaminate": {"against": [bench, bench]}})
    strange = write(tmp_path / "strange.jsonl", [{"a": 1}])
    with pytest.raises(DataError, match=r"against: .*no known format.* name them by columns"):
        run(source, tmp_path / "c", {"evol_instruct": {}}, {"decontaminate": {"against": [strange]}})
    monkeypatch.setattr("tagevol_hf.pipeline.cleaning.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rensa is not installed; .*tagevol_hf\[dedup\]"):
        run(source, tmp_path / "d", {"evol_instruct": {}}, "near_duplicates")
    for name in "abcd":
        record = json.loads((tmp_path / name / "run.json").read_text())
        assert (record["status"], record["asked"]) == ("stopped", 0)


def test_a_source_in_one_line():
    against = ["gsm8k-test.jsonl", "openai/gsm8k#main:test", "a/b#:test", "a/b#c"]
    options = recipe("x.jsonl", {"decontaminate": {"against": against}}).option("decontaminate")
    assert [(part.source, part.config, part.split) for part in options.against] == [
        ("gsm8k-test.jsonl", None, "train"),
        ("openai/gsm8k", "main", "test"),
        ("a/b", None, "test"),
        ("a/b", "c", "train"),
    ]
    planned = plan(recipe("x.jsonl", {"decontaminate": {"against": against}}, "near_duplicates"), 100)
    assert [(step.name, step.rows, step.requests) for step in planned] == [
        ("decontaminate", 100, 0), ("near_duplicates", 100, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"decontaminate.against: Field required"),
        ({"against": []}, r"decontaminate.against: List should have at least 1 item"),
        ({"against": ["x"], "shares": 1}, 'shares is not a field; did you mean "share"'),
        ({"against": ["x"], "near": 2}, r"decontaminate.near: Input should be less than or equal to 1"),
        ({"against": [{"source": "x", "splits": "y"}]}, 'did you mean "split"'),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        recipe("x.jsonl", {"decontaminate": options})
