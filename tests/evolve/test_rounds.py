"""Evolution in rounds: chains, failed rounds, operators, elimination; the sums hold."""

import hashlib
import json
import pickle
import random
from collections import Counter

import pytest
from datasets import Dataset, concatenate_datasets
from scripted import ScriptedEngine

from tagevol_hf.engines.open import open_engine
from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.evolve.auto_evol import AutoEvol, load_method
from tagevol_hf.evolve.eliminate import Eliminator, EqualityJudge, bad_answer
from tagevol_hf.evolve.evol_instruct import ALL_OPERATORS, OPERATORS, EvolInstruct
from tagevol_hf.evolve.respond import Responder
from tagevol_hf.evolve.rounds import evolve_in_rounds
from tagevol_hf.formats import prepare
from tagevol_hf.rows import split_rejected


def seeds(count=3, **columns):
    texts = [f"Sort the list number {place}." for place in range(count)]
    return prepare(Dataset.from_dict({"id": [f"s{n}" for n in range(count)], "instruction": texts, **columns}))


def parent_of(request):
    return request.messages[-1].content.rpartition("<instruction>\n")[2].partition("\n</instruction>")[0]


def longer(request):
    """A model that adds one word, and says so in the form of either method."""
    return json.dumps({"final": f"{parent_of(request)} Again."} | extra(request))


def extra(request):
    return {"work": "w"} if request.schema["title"] == "auto_evol" else {}


@pytest.mark.parametrize("kind", [EvolInstruct, AutoEvol])
def test_each_round_starts_from_the_round_before(kind):
    engine = ScriptedEngine(longer)
    done = evolve_in_rounds(seeds(2), kind(engine), rounds=3)
    assert done["id"][:] == ["s0/e1", "s0/e2", "s0/e3", "s1/e1", "s1/e2", "s1/e3"]
    first = [row for row in done if row["seed_id"] == "s0"]
    assert [row["instruction"] for row in first] == [
        "Sort the list number 0." + " Again." * number for number in (1, 2, 3)
    ]
    assert [row["parent_instruction"] for row in first] == [
        "Sort the list number 0.",
        *(r["instruction"] for r in first[:2]),
    ]
    assert [(row["round"], row["depth"], row["response"]) for row in first] == [(1, 1, ""), (2, 2, ""), (3, 3, "")]
    assert {row["seed_instruction"] for row in first} == {"Sort the list number 0."}
    assert engine.asked == 6, "one call a seed and round"


def test_a_failed_round_is_a_rejected_row_and_the_next_starts_from_the_last_good_one():
    def sulks(request):
        again = parent_of(request).count("Again")
        return "no" if again == 1 and request.sampling.seed % 2 == 0 else longer(request)

    done = evolve_in_rounds(seeds(40), EvolInstruct(ScriptedEngine(sulks), attempts=1), rounds=3)
    good, lost = split_rejected(done)
    assert len(good) + len(lost) == 120
    assert len(lost) > 5
    for row in lost:
        assert (row["rejection"]["reason"], row["rejection"]["stage"]) == ("not_json", "evol_instruct")
        assert row["instruction"] == row["parent_instruction"]
    by_id = {row["id"]: row for row in done}
    for row in lost:
        if row["round"] < 3:
            after = by_id[f"{row['seed_id']}/e{row['round'] + 1}"]
            assert after["parent_instruction"] == row["parent_instruction"]
            assert after["depth"] == row["depth"]


def test_a_rejected_seed_is_not_asked_about_and_leaves_once_a_round():
    data = seeds(2, input=["", "x" * 60_000])
    engine = ScriptedEngine(longer)
    good, lost = split_rejected(evolve_in_rounds(data, AutoEvol(engine), rounds=2))
    assert (good["seed_id"][:], lost["seed_id"][:], engine.asked) == (["s0", "s0"], ["s1", "s1"], 2)
    assert {mark["reason"] for mark in lost["rejection"]} == {"too_long"}


def test_numbers_and_columns():
    stage = EvolInstruct(ScriptedEngine(longer))
    with pytest.raises(DataError, match=r"evol_instruct.rounds: expected 1 to 10, got 11"):
        evolve_in_rounds(seeds(), stage, rounds=11)
    with pytest.raises(DataError, match=r"evol_instruct needs the column input; the data set has: id, instruction"):
        evolve_in_rounds(seeds().select_columns(["id", "instruction"]), stage)
    assert len(evolve_in_rounds(seeds().select([]), stage)) == 0


def test_rotation_gives_each_operator_once_before_one_comes_again():
    done = evolve_in_rounds(seeds(200), EvolInstruct(ScriptedEngine(longer)), rounds=5)
    for start in range(0, 1000, 5):
        assert sorted(done["operator"][start : start + 5]) == sorted(OPERATORS)
    firsts = Counter(done["operator"][::5])
    assert all(20 <= firsts[name] <= 65 for name in OPERATORS), firsts


def test_random_operators_and_the_sixth_one():
    stage = EvolInstruct(ScriptedEngine(longer), assign="random", operators=ALL_OPERATORS)
    counts = Counter(evolve_in_rounds(seeds(200), stage, rounds=3)["operator"])
    assert all(60 <= counts[name] <= 140 for name in ALL_OPERATORS), counts


@pytest.mark.parametrize("operators", [(), ("deepn",)])
def test_unknown_operators(operators):
    with pytest.raises(ValueError, match=r"evol_instruct.operators: expected some of constraints, deepen"):
        EvolInstruct(ScriptedEngine(longer), operators=operators)


def test_unknown_ways_of_assigning_and_missing_texts():
    with pytest.raises(ValueError, match=r'evol_instruct.assign: expected "rotate" or "random", got \'rotated\''):
        EvolInstruct(ScriptedEngine(longer), assign="rotated")
    with pytest.raises(ValueError, match=r"evol_instruct.texts: expected one for each of 5, got 1"):
        EvolInstruct(ScriptedEngine(longer), texts=("say it in verse",))


def test_each_operator_has_its_words_and_its_schema_is_the_same_for_all():
    engine = ScriptedEngine(longer)
    evolve_in_rounds(seeds(30), EvolInstruct(engine, operators=ALL_OPERATORS, assign="random"), rounds=1)
    shared = {request.messages[0].content.partition("<instruction>")[0] for request in engine.requests}
    assert len(shared) == len(ALL_OPERATORS)
    assert len({json.dumps(request.schema) for request in engine.requests}) == 1
    assert {(request.sampling.temperature, request.sampling.max_tokens) for request in engine.requests} == {(0.7, 2048)}


@pytest.mark.parametrize(
    ("operator", "final", "reason"),
    [
        ("deepen", "sort the list number 0", "unchanged"),
        ("deepen", "Sort the list number 0 " + "slowly " * 60, "too_much_growth"),
        ("breadth", "Sort the list number 0 " + "slowly " * 60, "too_much_growth"),
        ("complicate_input", "Sort the list number 0: " + "[3, 1], " * 60, None),
        ("breadth", "Name three rare ways of merging two heaps.", None),
        ("deepen", "#Rewritten Prompt#: sort the list", "leaked_prompt"),
        ("deepen", "Sort lists with respect to the given prompt.", "leaked_prompt"),
        ("deepen", "I'm sorry, but I can't help with that.", "refusal"),
    ],
)
def test_the_checks_fit_the_operator(operator, final, reason):
    stage = EvolInstruct(
        ScriptedEngine(lambda request: json.dumps({"final": final})), operators=(operator,), attempts=1
    )
    row = evolve_in_rounds(seeds(1), stage, rounds=1)[0]
    assert (row["rejection"] and row["rejection"]["reason"]) == reason


def equality(request):
    second = request.messages[0].content.rpartition("<second_instruction>\n")[2]
    return json.dumps({"difference": "d", "equal": second.count("Again") == 2})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Use the built-in sort: it is stable.", None),
        ("I'm sorry, I cannot sort this.", "apology"),
        ("Sorry " + "words " * 90, None),
        ("...", "empty_answer"),
        ("It is the one that you have.", None),
        ("it is, and so are they!", "empty_answer"),
        ("42", None),
        ("", "empty_answer"),
    ],
)
def test_bad_answers(answer, reason):
    assert bad_answer(answer) == reason


def test_elimination_inside_a_round_keeps_the_parent_for_the_next():
    judge = EqualityJudge(ScriptedEngine(equality))
    responder = Responder(
        ScriptedEngine(lambda request: "Sorry, no." if "number 1." in request.messages[-1].content else "Done.")
    )
    stage = EvolInstruct(ScriptedEngine(longer), attempts=1)
    done = {row["id"]: row for row in evolve_in_rounds(seeds(2), stage, 3, Eliminator(judge, responder))}
    assert {key: row["rejection"] and row["rejection"]["reason"] for key, row in done.items()} == {
        "s0/e1": None,
        "s0/e2": "no_information_gain",
        "s0/e3": "no_information_gain",
        "s1/e1": "apology",
        "s1/e2": "apology",
        "s1/e3": "apology",
    }
    assert done["s0/e1"]["response"] == "Done."
    assert done["s0/e3"]["parent_instruction"] == done["s0/e1"]["instruction"]
    assert (done["s0/e1"]["gained"], done["s0/e2"]["gained"]) == (True, False)
    assert done["s1/e1"]["rejection"]["raw"] == "Sorry, no."


@pytest.mark.parametrize("kind", [EvolInstruct, AutoEvol])
def test_an_eliminated_row_names_its_method(kind):
    responder = Responder(ScriptedEngine(lambda request: "Sorry, no."))
    row = evolve_in_rounds(seeds(1), kind(ScriptedEngine(longer)), 1, Eliminator(None, responder))[0]
    assert (row["rejection"]["stage"], row["rejection"]["reason"]) == (kind.name, "apology")


@pytest.mark.parametrize(
    "eliminator", [(None, None), (EqualityJudge, None), (None, Responder), (EqualityJudge, Responder)]
)
def test_each_way_of_elimination_keeps_the_sums(eliminator):
    engine = open_engine("builtin")
    judge, responder = (kind and kind(engine) for kind in eliminator)
    done = evolve_in_rounds(seeds(10), EvolInstruct(engine), 3, Eliminator(judge, responder))
    good, lost = split_rejected(done)
    assert len(good) + len(lost) == 30
    assert all(row["response"] for row in good) == (responder is not None)


def moody(request):
    digest = hashlib.sha256(request.key("moody").encode()).digest()
    return "no" if digest[0] % 4 == 0 else longer(request)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EvolInstruct, AutoEvol])
def test_shuffled_or_in_two_halves_the_same_rows_by_id(kind):
    def run(data):
        done = evolve_in_rounds(data, kind(ScriptedEngine(moody), attempts=2), rounds=3)
        return {
            row["id"]: (row["instruction"], row["operator"], row["depth"], row["rejection"] is None) for row in done
        }

    data = seeds(40)
    expected = run(data)
    assert 0 < sum(not good for *_, good in expected.values()) < 30
    order = random.Random(1).sample(range(40), 40)
    assert run(data.select(order)) == expected
    assert run(data.select(order[:17])) | run(data.select(order[17:])) == expected


def test_a_stage_keeps_the_texts_that_it_was_made_with():
    engine = open_engine("builtin")
    stage = EvolInstruct(engine, texts=("say it in verse",), operators=("deepen",))
    again = pickle.loads(pickle.dumps(stage))
    assert (again.texts, again.operators) == (("say it in verse",), ("deepen",))
    method = pickle.loads(pickle.dumps(AutoEvol(engine, method="1. Do it."))).method
    assert method == "1. Do it."
    assert AutoEvol(engine).method == load_method("published")


def test_methods_by_name_and_by_file(tmp_path):
    assert len(load_method("initial").splitlines()) == 4
    assert len(load_method("published").splitlines()) == 7
    (tmp_path / "mine.txt").write_text("1. Add a twist.\n{{braces}} stay\n")
    method = load_method(tmp_path / "mine.txt")
    engine = ScriptedEngine(longer)
    evolve_in_rounds(seeds(1), AutoEvol(engine, method=method), rounds=1)
    assert "1. Add a twist.\n{{braces}} stay\n</method>" in engine.requests[0].messages[0].content
    with pytest.raises(
        RecipeError, match=r"'methods/best': no such text; give a path to a .txt file or one of: initial, "
    ):
        load_method("best")
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(RecipeError, match="the file is blank"):
        load_method(tmp_path / "blank.txt")


def test_halves_joined_again_are_one_data_set():
    data = seeds(6)
    halves = [evolve_in_rounds(data.shard(2, n), EvolInstruct(ScriptedEngine(longer)), 2) for n in (0, 1)]
    assert len(concatenate_datasets(halves)) == 12
