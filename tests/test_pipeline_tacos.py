"""The journeys of TACOS in all its forms and of the ways that it is compared with, on the built-in engine."""

import json

import pytest
from datasets import load_from_disk

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe import recipe_from

THINGS = ["a river delta", "the tides", "prime numbers", "a train timetable", "a rye bread", "an old map", "a tax form"]
TAGGED = ({"open_tags": {}}, {"normalize_tags": {"embedder": "builtin"}})
CLUSTERED = (*TAGGED, {"cluster": {"k": 4, "embedder": "builtin"}})


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    rows = [
        {"instruction": f"Explain {THINGS[n % 7]} to {n + 5} pupils.", "output": "It is so. " * (1 + n % 5) + f"#{n}"}
        for n in range(40)
    ]
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run(source, folder, *steps, **changes):
    body = {"name": "t", "data": {"source": source}, "engines": {"default": "builtin"}, "steps": list(steps), **changes}
    done = curate(recipe_from(body), folder)
    totals = done.record["totals"]
    assert totals["read"] == totals["selected"] + totals["not_chosen"] + sum(totals["rejected"].values())
    return done


def step(done, name):
    return next(step for step in done.record["steps"] if step["name"] == name)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "plan", ["k-regular", "swiss", *(pytest.param(plan, marks=SLOW) for plan in ("adjacent", "anchor"))]
)
def test_each_plan_says_its_cost_before_and_asks_just_that(source, tmp_path, plan, capfd):
    compare = {"compare": {"plan": plan, "score": "bradley-terry" if plan == "swiss" else "mean"}}
    prices = {"default": {"prompt": 1.0, "completion": 1.0}}
    done = run(source, tmp_path / "run", *CLUSTERED, compare, {"select": {"n": 10}}, prices=prices)
    record = step(done, "compare")
    said = next(line for line in capfd.readouterr().err.splitlines() if line.startswith("compare: "))
    assert said.startswith(f"compare: {record['asked']} comparisons planned, about ")
    assert "cost about" in said
    assert record["summary"]["pairs"] == record["asked"] == record["summary"]["n"]
    assert record["summary"]["plan"] == plan
    assert len(done.selected) == 10
    assert {"score", "score_error", "length_controlled_score", "cluster_rank", "why"} <= set(done.selected.column_names)


def test_the_release_keeps_the_longest_of_each_set_of_clusters_and_says_so(source, tmp_path):
    cluster = {"cluster": {"k": 3, "assign": "release", "same_labels": "longest", "embedder": "builtin"}}
    compare = {"compare": {"plan": "adjacent", "comparisons": 1, "orders": "one"}}
    tags = ({"open_tags": {}}, {"normalize_tags": {"preset": "release", "alpha": 2}})
    done = run(source, tmp_path / "run", *tags, cluster, compare, {"select": {"n": 3}})
    lost = [row for row in done.rejected if row["rejection"]["reason"] == "same_clusters"]
    assert lost
    kept = {row["id"]: row for part in (done.selected, done.not_chosen) for row in part}
    for row in lost:
        winner = next(kept[row_id] for row_id in kept if row["rejection"]["detail"].startswith(f"{row_id} "))
        assert winner["clusters"] == row["clusters"]
        assert len(winner["response"]) >= len(row["response"])


def test_without_comparison_each_response_is_scored_by_itself(source, tmp_path):
    done = run(source, tmp_path / "run", *CLUSTERED, "single_score", {"select": {"n": 8, "by": "single_score"}})
    assert step(done, "single_score")["asked"] == 40
    assert len(done.selected) == 8
    assert "score" not in done.selected.column_names


def test_both_scores_show_how_far_they_agree(source, tmp_path):
    done = run(source, tmp_path / "run", *CLUSTERED, "single_score", "compare", {"select": {"n": 8}})
    agreement = step(done, "compare")["summary"]["agreement_with_single"]
    assert -1 <= agreement <= 1


@pytest.mark.parametrize(
    "allocate", ["sqrt", *(pytest.param(name, marks=SLOW) for name in ("equal", "proportional", "global"))]
)
def test_each_allocation_gives_just_as_many(source, tmp_path, allocate):
    by = "length_controlled_score" if allocate == "sqrt" else "score"
    done = run(source, tmp_path / "run", *CLUSTERED, "compare", {"select": {"n": 11, "allocate": allocate, "by": by}})
    assert len(done.selected) == 11


OTHERS = ("longest", "full", "instag", "k-center", "deita")


@pytest.mark.parametrize("method", ["random", "alpagasus", *(pytest.param(name, marks=SLOW) for name in OTHERS)])
def test_each_baseline_in_place_of_select(source, tmp_path, method):
    done = run(source, tmp_path / "run", *TAGGED, {"baseline": {"method": method, "n": 5, "embedder": "builtin"}})
    assert len(done.selected) == (40 if method == "full" else 5)
    assert step(done, "baseline")["asked"] == {"alpagasus": 40, "deita": 80}.get(method, 0)
    assert all(done.selected["why"])


def test_one_table_of_all_selections(source, tmp_path):
    table = {"compare_selections": {"methods": ["random", "longest", "instag", "k-center"], "embedder": "builtin"}}
    done = run(source, tmp_path / "run", *CLUSTERED, "compare", {"select": {"n": 10}}, table)
    body = json.loads((done.path / "selections.json").read_text())
    assert "selected" in json.dumps(body)
    assert "longest" in json.dumps(body)
    assert step(done, "compare_selections")["rows_out"] == len(done.selected) == 10


def test_the_chosen_are_refined(source, tmp_path):
    done = run(source, tmp_path / "run", *CLUSTERED, "compare", {"select": {"n": 5}}, "refine")
    assert step(done, "refine")["asked"] == 10
    assert step(done, "refine")["summary"] == {"responses_refined": 5, "instructions_refined": 5}
    assert all(row["original_response"] in row["response"] for row in done.selected)


def test_conversations_are_tagged_turn_by_turn(tmp_path):
    turns = [
        [("user", f"Explain {thing}."), ("assistant", "So."), ("user", f"Now compare {thing} with {n} maps.")]
        for n, thing in enumerate(THINGS)
    ]
    rows = [{"messages": [{"role": role, "content": text} for role, text in each]} for each in turns]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(str(path), tmp_path / "run", {"open_tags": {"turns": "each"}}, {"normalize_tags": {"alpha": 1}})
    assert step(done, "open_tags")["asked"] == 14
    assert all(len(row["turn_tags"]) == 2 for row in done.selected)


def test_a_second_run_asks_nothing_and_gives_the_same(source, tmp_path):
    steps = (*CLUSTERED, "single_score", {"compare": {"plan": "swiss"}}, {"select": {"n": 8}}, "refine")
    one = run(source, tmp_path / "run", *steps)
    before = one.selected.to_dict()
    two = run(source, tmp_path / "run", *steps)
    assert two.record["totals"]["asked"] == 0
    assert two.selected.to_dict() == before
    assert len(load_from_disk(str(two.path / "comparisons"))) == step(two, "compare")["summary"]["pairs"]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (({"select": {"n": 3}},), "select needs the step cluster before it"),
        ((*CLUSTERED, {"select": {"n": 3}}), "select needs the step compare before it"),
        ((*CLUSTERED, {"select": {"n": 3, "by": "single_score"}}), "select needs the step single_score before it"),
        (({"baseline": {"method": "instag", "n": 3}},), "baseline needs the step normalize_tags before it"),
        ((*TAGGED, "refine"), "refine needs the step select before it"),
        (
            (*TAGGED, "compare_selections", {"baseline": {"method": "full", "n": 3}}),
            "compare_selections needs the step baseline before it",
        ),
        (
            (*CLUSTERED, "compare", {"select": {"n": 3}}, {"baseline": {"method": "full", "n": 3}}),
            "select and baseline stand in one recipe, and each selects; compare_selections shows",
        ),
        ((*TAGGED, {"cluster": {"same_labels": "longest"}}), "which needs assign: release"),
        (({"baseline": {"method": "longer", "n": 3}},), "baseline.method: Input should be"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(source, tmp_path, steps, message):
    with pytest.raises(RecipeError, match=message):
        run(source, tmp_path / "run", *steps)


def test_what_auto_was_found_to_be_stays_for_a_run(source, tmp_path):
    steps = ({"open_tags": {}}, "normalize_tags", {"cluster": {"k": 3}}, {"baseline": {"method": "random", "n": 5}})
    one = run(source, tmp_path / "run", *steps)
    assert (one.path / "embedder.txt").read_text() == "builtin"  # the tests have no Hub
    assert step(one, "cluster")["summary"]["embedder"] == "builtin-ngrams-2-4-512"
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "model2vec"}')
    (one.path / "embedder.txt").write_text(str(broken))
    with pytest.raises(DataError, match="cannot be loaded"):
        run(source, tmp_path / "run", *steps)


@pytest.mark.parametrize("judge", ["compare", "single_score"])
def test_responses_under_another_name_are_missed_before_the_judge_is_asked(tmp_path, judge):
    source = tmp_path / "rows.jsonl"
    rows = [{"instruction": f"Explain {thing}.", "answer": "So."} for thing in THINGS]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = (*CLUSTERED, judge, {"select": {"n": 2, "by": "score" if judge == "compare" else "single_score"}})
    with pytest.raises(DataError, match=f"{judge}: none of the 7 rows has a response .*data.columns"):
        run(str(source), tmp_path / "run", *steps)
    asked = {step["name"]: step["asked"] for step in json.loads((tmp_path / "run" / "run.json").read_text())["steps"]}
    assert not asked.get(judge)


def test_rows_without_a_response_are_told_before_the_comparisons(tmp_path, capfd):
    source = tmp_path / "rows.jsonl"
    rows = [{"instruction": f"Explain {thing}.", "output": "So." * (n % 2)} for n, thing in enumerate(THINGS)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(str(source), tmp_path / "run", *CLUSTERED, "compare", {"select": {"n": 2}})
    assert "compare: 4 of 7 rows have no response" in capfd.readouterr().err


@pytest.mark.parametrize("method", ["ifd", "perplexity"])
def test_a_way_without_its_language_model_is_told_before_anything_is_asked(source, tmp_path, method):
    table = {"compare_selections": {"methods": [method]}}
    with pytest.raises(RecipeError, match=rf"compare_selections\.model: {method} reads .*--set compare_selections\.m"):
        run(source, tmp_path / "run", *CLUSTERED, "compare", {"select": {"n": 5}}, table)
    steps = json.loads((tmp_path / "run" / "run.json").read_text())["steps"]
    assert [step["name"] for step in steps if step["asked"]] == []


def test_ways_that_embed_nothing_open_no_embedder(source, tmp_path):
    nowhere = str(tmp_path / "no-model")
    done = run(source, tmp_path / "run", {"baseline": {"method": "longest", "n": 5, "embedder": nowhere}})
    assert len(done.selected) == 5
    run(source, tmp_path / "auto", {"baseline": {"method": "random", "n": 5}})
    assert not (tmp_path / "auto" / "embedder.txt").exists()


def test_the_builtin_engine_keeps_to_the_number_of_tags(source, tmp_path):
    done = run(source, tmp_path / "run", {"open_tags": {"max_tags": 1}}, {"baseline": {"method": "full", "n": 1}})
    assert step(done, "open_tags")["asked"] == 40
    assert {len(tags) for tags in done.selected["open_tags"]} == {1}


@pytest.mark.parametrize(
    ("embedder", "message"),
    [
        ("phrase-bert", "cluster.embedder: Phrase-BERT is not in the local cache, and HF_HUB_OFFLINE is set; --set cl"),
        ("./nowhere", r"cluster.embedder: ./nowhere: no such folder; --set cluster.embedder=builtin needs no model"),
    ],
)
def test_an_embedder_that_cannot_be_had_is_told_before_anything_is_asked(source, tmp_path, embedder, message):
    with pytest.raises(DataError, match=message):
        run(source, tmp_path / "run", *TAGGED, {"cluster": {"embedder": embedder}})
    assert json.loads((tmp_path / "run" / "run.json").read_text())["steps"] == []


def test_what_the_selection_warns_of_is_said(source, tmp_path):
    done = run(source, tmp_path / "run", *CLUSTERED, "compare", {"select": {"n": 99}})
    assert step(done, "select")["summary"]["warning"] == "99 rows asked for, there are 40: all are taken"
