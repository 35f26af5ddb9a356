import json
import random

import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine

from tagevol_hf.engines.open import open_engine
from tagevol_hf.errors import DataError
from tagevol_hf.evolve.respond import Responder
from tagevol_hf.evolve.tag_evol import TagEvol, draw_candidates
from tagevol_hf.rows import REASONS, ROW_FEATURES, split_rejected
from tagevol_hf.tags.pool import TagPool

POOL = TagPool({f"tag {number:02d}": {"aspect": 1} for number in range(60)})
TAGGED = Features({**ROW_FEATURES, "tags": List(Value("string"))})


def seeds(count=4, tags=("tag 00", "tag 01")):
    values = [
        {"id": f"s{place}", "instruction": f"Sort the list number {place}.", "input": "3 1 2", "response": "old",
         "history": [], "rejection": None, "tags": list(tags)}
        for place in range(count)
    ]  # fmt: skip
    return Dataset.from_list(values, features=TAGGED)


def answer(chosen, final="Sort the list number 0 and prove that the order is stable.", **others):
    return json.dumps({"chosen": chosen, "plan": "p", "rewritten": final, "final": final, **others})


def evolve(text, budget=3, attempts=1, **options):
    drawn = draw_candidates(seeds(1), POOL, [budget])
    return TagEvol(ScriptedEngine(lambda request: text), attempts=attempts, **options).apply(drawn)[0]


def test_one_row_a_seed_and_budget_each_with_its_own_candidates():
    drawn = draw_candidates(seeds(2), POOL, [1, 3, 5])
    assert drawn["id"][:] == ["s0/b1", "s0/b3", "s0/b5", "s1/b1", "s1/b3", "s1/b5"]
    assert drawn["budget"][:] == [1, 3, 5] * 2
    assert all(len(set(row["candidates"])) == 21 for row in drawn)
    assert all(not {"tag 00", "tag 01"} & set(row["candidates"]) for row in drawn)
    assert len({tuple(row["candidates"]) for row in drawn}) == 6
    assert (drawn[0]["seed_instruction"], drawn[0]["input"], drawn[0]["response"]) == (
        "Sort the list number 0.",
        "3 1 2",
        "",
    )


def test_the_draw_depends_on_the_row_alone():
    data = seeds(20)
    expected = {row["id"]: row["candidates"] for row in draw_candidates(data, POOL)}
    order = random.Random(3).sample(range(20), 12)
    for row in draw_candidates(data.select(order), POOL, [5, 1]):
        assert row["candidates"] == expected[row["id"]]
    other = draw_candidates(data, POOL, seed=43)
    assert other[0]["candidates"] != expected["s0/b1"]


def test_a_pool_that_is_too_small_rejects_the_row():
    small = TagPool({"tag 00": {"a": 1}, "new": {"a": 1}, "newer": {"a": 1}})
    drawn = draw_candidates(seeds(1), small, [2, 3], candidates=21)
    assert drawn[0]["rejection"] is None
    assert drawn[1]["rejection"]["reason"] == "too_few_candidates"
    assert drawn[1]["rejection"]["detail"] == "2 foreign tags in the pool, the budget is 3"


@pytest.mark.parametrize(("budgets", "candidates"), [([], 21), ([0], 21), ([16], 21), ([1, 1], 21), ([5], 4)])
def test_numbers_out_of_range(budgets, candidates):
    with pytest.raises(DataError, match=r"tag_evol\.(budgets|candidates): expected"):
        draw_candidates(seeds(1), POOL, budgets, candidates)


def test_the_chosen_tags_come_by_number_exactly_b_of_them():
    row = evolve(answer([3, 1, 21]))
    assert row["chosen_tags"] == [row["candidates"][0], row["candidates"][2], row["candidates"][20]]
    assert row["instruction"] == "Sort the list number 0 and prove that the order is stable."
    assert (row["seed_instruction"], row["plan"], row["rejection"]) == ("Sort the list number 0.", "p", None)


LEAK = "Rewritten Instruction: sort the list and count"
LONG = " ".join(["word"] * 200)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (answer([1, 2]), "wrong_count"),
        (answer([1, 2, 3, 4]), "wrong_count"),
        (answer([1, 2, 22]), "not_a_candidate"),
        (answer([0, 1, 2]), "not_a_candidate"),
        (answer([1, 2, 2]), "repeated_choice"),
        (answer([1, 2, "no such tag"]), "not_a_candidate"),
        (answer(["one", "two", "three"]), "not_a_candidate"),
        (answer([1, 2, None]), "wrong_schema"),
        (answer([1, 2, 2.5]), "wrong_schema"),
        (answer([True, 2, 3]), "wrong_schema"),
        (answer("1, 2, 3"), "wrong_schema"),
        (answer([1, 2, 3], final=" sort THE list\nnumber 0."), "unchanged"),
        (answer([1, 2, 3], final="   "), "empty_reply"),
        (answer([1, 2, 3], final=LEAK), "leaked_prompt"),
        (answer([1, 2, 3], final=LONG), "too_much_growth"),
        (answer([1, 2, 3], extra=1), "wrong_schema"),
        ("I would rather not.", "not_json"),
        ("", "empty_reply"),
        (answer([1, 2, 3])[:-20], "not_json"),
    ],
)
def test_each_violation_has_its_reason_and_the_row_keeps_its_text(text, reason):
    row = evolve(text)
    assert row["rejection"]["reason"] == reason
    assert row["rejection"]["raw"] == text
    assert row["instruction"] == "Sort the list number 0."
    assert row["chosen_tags"] is None


def test_numbers_as_text_and_names_in_place_of_numbers_are_read():
    drawn = draw_candidates(seeds(1), POOL, [4])[0]["candidates"]
    row = evolve(answer(["3", 1.0, f"5. {drawn[4]}", drawn[7].upper()]), budget=4)
    assert row["chosen_tags"] == [drawn[0], drawn[2], drawn[4], drawn[7]]
    assert evolve(answer([f"6. {drawn[4]}", 1, 2, 3]), budget=4)["rejection"]["reason"] == "not_a_candidate"
    assert evolve(answer([drawn[0], 1, 2, 3]), budget=4)["rejection"]["reason"] == "repeated_choice"


def test_an_own_tag_among_the_candidates_is_caught():
    drawn = draw_candidates(seeds(1), POOL, [1]).to_list()
    drawn[0]["candidates"][4] = "tag 01"
    stage = TagEvol(ScriptedEngine(lambda request: answer([5])), attempts=1)
    data = Dataset.from_list(drawn, features=draw_candidates(seeds(1), POOL, [1]).features)
    assert stage.apply(data)[0]["rejection"]["reason"] == "own_tag"


def test_the_schema_and_the_shared_prompt_are_the_same_for_all_rows_of_a_budget():
    engine = ScriptedEngine(lambda request: answer([1]))
    TagEvol(engine, attempts=1).apply(draw_candidates(seeds(20), POOL, [1, 2]))
    assert len({json.dumps(request.schema) for request in engine.requests}) == 2
    for start in (0, 1):
        prompts = [request.messages[0].content for request in engine.requests[start::2]]
        shared = prompts[0].split("<instruction>")[0]
        assert all(prompt.startswith(shared) for prompt in prompts)
    assert "exactly 2 of the candidates" in prompts[0]
    assert "at most 40 words longer" in prompts[0]


@pytest.mark.parametrize("budget", range(1, 8))
def test_the_built_in_engine_keeps_every_budget(budget):
    done, lost = split_rejected(TagEvol(open_engine("builtin")).apply(draw_candidates(seeds(30), POOL, [budget])))
    assert (len(done), len(lost)) == (30, 0)
    for row in done:
        assert len(set(row["chosen_tags"])) == budget
        assert set(row["chosen_tags"]) <= set(row["candidates"])
        assert all(tag in row["instruction"] for tag in row["chosen_tags"])


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80),
        st.builds(
            answer,
            st.lists(st.one_of(st.integers(-3, 30), st.text(max_size=3), st.none(), st.floats()), max_size=6),
            st.text(max_size=40),
        ),
    )
)
def test_no_reply_breaks_a_run(text):
    row = evolve(text)
    assert (row["rejection"] is None) == (row["chosen_tags"] is not None)
    assert row["rejection"] is None or row["rejection"]["reason"] in REASONS


def test_responses_go_on_with_the_conversation():
    engine = ScriptedEngine(lambda request: "  The answer. \n")
    data = seeds(1).to_list()
    data[0]["history"] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    row = Responder(engine).apply(Dataset.from_list(data, features=TAGGED))[0]
    assert row["response"] == "The answer."
    request = engine.requests[0]
    assert [(turn.role, turn.content) for turn in request.messages[:2]] == [
        ("system", "Be brief."),
        ("user", "Hi"),
    ]
    assert request.messages[2].content.endswith("<additional_input>\n3 1 2\n</additional_input>")
    assert (request.sampling.temperature, request.schema) == (0.0, None)
