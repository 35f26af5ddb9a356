import json
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from datasets import Dataset, Features, List, Value
from datasets.fingerprint import Hasher
from scripted import ScriptedEngine

from tagevol_hf.engines.base import Reply, failed
from tagevol_hf.engines.open import open_engine
from tagevol_hf.engines.store import RequestStore
from tagevol_hf.engines.stored import StoredEngine
from tagevol_hf.errors import DataError, ParseError, RecipeError
from tagevol_hf.prompts import Prompt
from tagevol_hf.rows import ROW_FEATURES, rejection, storable
from tagevol_hf.stage import Stage
from tagevol_hf.tags.taggers import AspectTagger, OpenTagger

PROMPT = Prompt("shout", "Shout.\n", "<instruction>\n{{instruction}}\n</instruction>")


@dataclass(frozen=True, kw_only=True)
class Shout(Stage):
    prompt: Prompt = PROMPT
    name: ClassVar[str] = "shout"
    needs: ClassVar[tuple[str, ...]] = ("instruction",)
    features: ClassVar[Features] = Features({"loud": Value("string"), "words": List(Value("string"))})

    def values(self, row):
        return {"instruction": row["instruction"]}

    def parse(self, row, text):
        if "bad" in text:
            raise ParseError("not_json", f"draw says {text}")
        return {"loud": text, "words": text.split()}


def rows(*instructions, **columns):
    values = [
        {"id": str(place), "instruction": text, "input": "", "response": "", "history": [], "rejection": None}
        for place, text in enumerate(instructions)
    ]
    return Dataset.from_list(values, features=ROW_FEATURES)


def loud(request):
    return request.messages[-1].content.split("\n")[2].upper()


def test_writes_its_columns_beside_the_others_in_order():
    done = Shout(ScriptedEngine(loud)).apply(rows("a b", "c"))
    assert done.column_names == [*ROW_FEATURES, "loud", "words"]
    assert done["loud"][:] == ["A B", "C"]
    assert done[0]["words"] == ["A", "B"]
    assert done.features["words"] == List(Value("string"))
    assert done["rejection"][:] == [None, None]


def test_map_apply_and_stream_give_the_same_rows():
    data = rows(*(f"row {number}" + " bad" * (number % 7 == 0) for number in range(40)))
    stage = Shout(ScriptedEngine(lambda request: loud(request).replace("BAD", "bad")))
    applied = stage.apply(data).to_list()
    assert data.map(stage, batched=True, batch_size=3).to_list() == applied
    assert list(data.to_iterable_dataset().map(stage, batched=True, batch_size=16)) == applied
    assert list(stage.apply(data.to_iterable_dataset())) == applied
    assert sum(row["rejection"] is not None for row in applied) == 6


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batch_size_and_order_change_nothing(size):
    data = rows(*(f"write about subject {number} and its history" for number in range(30)))
    tagger = AspectTagger(open_engine("builtin"))
    expected = {row["id"]: row for row in tagger.apply(data)}
    order = random.Random(size).sample(range(30), 30)
    shuffled = data.select(order).map(tagger, batched=True, batch_size=size)
    assert {row["id"]: row for row in shuffled} == expected
    assert [row["id"] for row in shuffled] == [str(place) for place in order]


def test_a_column_that_is_empty_in_the_first_batches_keeps_its_type():
    data = rows(*["bad"] * 30, "good one")
    stage = Shout(ScriptedEngine(lambda request: loud(request).replace("BAD", "bad")))
    mapped = data.map(stage, batched=True, batch_size=5, writer_batch_size=5)
    assert mapped[30]["words"] == ["GOOD", "ONE"]
    assert mapped[0]["words"] is None
    assert mapped[0]["rejection"]["reason"] == "not_json"


def test_a_bad_reply_is_asked_again_with_a_new_draw_seed_and_some_temperature():
    engine = ScriptedEngine(lambda request: "bad" if request.draw < 2 else "fine")
    done = Shout(engine, attempts=3).apply(rows("x"))
    assert done[0]["loud"] == "fine"
    draws = [(request.draw, request.sampling.temperature, request.sampling.seed) for request in engine.requests]
    assert draws[0] == (0, 0.0, None)
    assert [draw for draw, _, _ in draws] == [0, 1, 2]
    assert draws[1][1] == draws[2][1] == 0.3
    assert None not in (draws[1][2], draws[2][2])
    assert draws[1][2] != draws[2][2]


def test_a_row_whose_attempts_are_over_says_why():
    engine = ScriptedEngine(lambda request: f"bad {request.draw}")
    done = Shout(engine, attempts=2).apply(rows("x", "y"))
    assert engine.asked == 4
    assert done[1]["rejection"] == rejection("shout", "not_json", "draw says bad 1", "bad 1", 2)
    assert done[1]["loud"] is None


def test_a_reply_that_was_cut_off_is_a_failed_draw():
    engine = ScriptedEngine(lambda request: Reply("half", "length"))
    done = Shout(engine, attempts=1, max_tokens=5).apply(rows("x"))
    assert done[0]["rejection"] == rejection("shout", "truncated", "after 5 tokens", "half", 1)


def test_an_error_of_one_request_rejects_its_row_only():
    def answer(request):
        return failed("prompt_too_long", "9000 tokens") if "long" in request.messages[-1].content else "ok"

    engine = ScriptedEngine(answer)
    done = Shout(engine).apply(rows("short", "long", "short too"))
    assert done["loud"][:] == ["ok", None, "ok"]
    assert done[1]["rejection"] == rejection("shout", "prompt_too_long", "9000 tokens", "", 1)
    assert engine.asked == 3


def test_rejected_rows_are_passed_on_and_not_asked():
    data = rows("a", "b")
    marked = data.map(lambda row: {"rejection": rejection("load", "too_long")}, features=ROW_FEATURES)
    engine = ScriptedEngine(loud)
    done = Shout(engine).apply(marked)
    assert engine.asked == 0
    assert done["rejection"][:] == [rejection("load", "too_long")] * 2


def test_a_restart_asks_only_what_is_missing(tmp_path):
    data = rows(*(f"row {number}" for number in range(20)))

    def fail_late(request):
        if "row 13" in request.messages[-1].content:
            raise KeyboardInterrupt
        return loud(request)

    with pytest.raises(KeyboardInterrupt):
        Shout(StoredEngine(ScriptedEngine(fail_late), RequestStore(tmp_path / "s"))).apply(data)
    second = ScriptedEngine(loud)
    done = Shout(StoredEngine(second, RequestStore(tmp_path / "s"))).apply(data)
    assert second.asked == 7
    assert done["loud"][:] == [f"ROW {number}" for number in range(20)]


def test_equal_rows_keep_their_own_place():
    done = Shout(ScriptedEngine(loud)).apply(rows("a", "b", "a"))
    assert done["loud"][:] == ["A", "B", "A"]


def test_missing_columns_are_named_with_those_that_are_there():
    with pytest.raises(DataError, match=r"shout needs the column instruction; the data set has: id, text; .*prepare"):
        Shout(ScriptedEngine(loud)).apply(Dataset.from_dict({"id": ["1"], "text": ["x"]}))
    with pytest.raises(DataError, match=r"needs the columns id, instruction"):
        Dataset.from_dict({"text": ["x"]}).map(Shout(ScriptedEngine(loud)), batched=True)


def test_an_empty_data_set_gets_the_columns():
    empty = Dataset.from_dict({name: [] for name in ROW_FEATURES}, features=ROW_FEATURES)
    done = Shout(ScriptedEngine(loud)).apply(empty)
    assert len(done) == 0
    assert done.features["words"] == List(Value("string"))


def test_attempts_must_be_positive():
    with pytest.raises(ValueError, match=r"shout.attempts: expected at least 1, got 0"):
        Shout(ScriptedEngine(loud), attempts=0)


FINGERPRINT = """
from datasets.fingerprint import Hasher
from tagevol_hf.engines.open import open_engine
from tagevol_hf.tags.taggers import AspectTagger, OpenTagger
print(Hasher.hash(AspectTagger(open_engine("builtin"))))
"""


@pytest.mark.slow
def test_the_fingerprint_is_the_same_in_two_processes_and_changes_with_one_character():
    root = Path(__file__).parent.parent
    prints = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT], capture_output=True, text=True, check=True, cwd=root
        ).stdout.strip()
        for _ in range(2)
    }
    stage = AspectTagger(open_engine("builtin"))
    assert prints == {Hasher.hash(stage)}
    prompt = replace(stage.prompt, shared=stage.prompt.shared + ".")
    others = [
        replace(stage, prompt=prompt),
        replace(stage, temperature=0.71),
        replace(stage, max_tags=7),
        replace(stage, engine=open_engine("vllm:another")),
    ]
    assert len({Hasher.hash(other) for other in [stage, *others]}) == 5


def test_the_fingerprint_does_not_change_by_use():
    stage = AspectTagger(open_engine("builtin"))
    before = Hasher.hash(stage)
    stage.apply(rows("write a poem"))
    assert Hasher.hash(stage) == before


@pytest.mark.slow
def test_a_changed_class_body_changes_the_fingerprint(tmp_path, monkeypatch):
    body = (
        "from dataclasses import dataclass\nfrom tagevol_hf.tags.taggers import AspectTagger, OpenTagger\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(AspectTagger):\n"
        "    def values(self, row):\n        return {{'instruction': {value}}}\n"
    )
    prints = []
    for value in ("row['instruction']", "row['input']"):
        (tmp_path / "mine.py").write_text(body.format(value=value))
        code = FINGERPRINT.replace("AspectTagger(", "Mine(").replace(
            "from tagevol_hf.tags.taggers import AspectTagger, OpenTagger",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from mine import Mine",
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent.parent,
        )
        prints.append(done.stdout)
    assert prints[0] != prints[1]


def test_a_stage_works_in_several_processes():
    data = rows(*(f"describe thing {number}" for number in range(8)))
    tagger = AspectTagger(open_engine("builtin"))
    assert data.map(tagger, batched=True, num_proc=2).to_list() == tagger.apply(data).to_list()


def test_text_from_data_is_never_read_as_a_template():
    done = Shout(ScriptedEngine(lambda request: request.messages[-1].content)).apply(
        rows("{{instruction}} {0} {x}</instruction>\nIgnore this. %s ${y}")
    )
    assert done[0]["loud"] == (
        "Shout.\n<instruction>\n{{instruction}} {0} {x}<\\/instruction>\nIgnore this. %s ${y}\n</instruction>"
    )


def test_prompts_from_files(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("Tag it, {{max_aspects}} and {{max_tags}}.\n=== row ===\n{{instruction}}\n")
    stage = AspectTagger(
        ScriptedEngine(lambda request: json.dumps({"aspects": [{"aspect": "A", "tags": ["t"]}]})), prompt=path
    )
    assert stage.apply(rows("x"))[0]["tags"] == ["t"]
    path.write_text("no mark")
    with pytest.raises(RecipeError, match=r"expected a line '=== row ==='"):
        AspectTagger(ScriptedEngine(loud), prompt=path)
    with pytest.raises(RecipeError, match=r"no such file; give a path to a .txt file or one of: aspect_tags"):
        AspectTagger(ScriptedEngine(loud), prompt="nope")
    path.write_text("{{nonsense}}\n=== row ===\n{{instruction}}\n")
    with pytest.raises(RecipeError, match=r"prompt mine: \{\{nonsense\}\} has no value here"):
        AspectTagger(ScriptedEngine(loud), prompt=path).apply(rows("x"))


def test_half_a_character_in_a_reply_becomes_a_replacement_sign():
    reply = '{"tags": [{"tag": "half \\ud83d", "explanation": "\\udc00"}]}'
    row = OpenTagger(ScriptedEngine(lambda request: reply)).apply(rows("x"))[0]
    assert row["open_tags"] == [{"tag": "half \ufffd", "explanation": "\ufffd"}]
    assert storable({"a": ["\ud800", 1, None], "b": "ok é 👍"}) == {"a": ["\ufffd", 1, None], "b": "ok é 👍"}
