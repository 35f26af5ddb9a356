"""Studies on the built-in engine: arms, one store, restarts, failures, caps, and what makes arms hard to compare."""

import json
import os
import time

import pytest

from tagevol_hf.engines.usage import Limits
from tagevol_hf.errors import DataError, LimitError, RecipeError
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe_file import load_recipe
from tagevol_hf.study import arms_of, compare_runs, load_study, run_study
from tagevol_hf.study.figures import figures_of

THINGS = ["a river delta", "the tides", "prime numbers", "a train timetable", "a rye bread", "an old map", "a tax form"]
RECIPE = """
name: base
data: {source: seeds.jsonl}
engines: {default: builtin}
steps: [aspect_tags: {}, tag_pool: {}, tag_evol: {budgets: [1]}]
"""
SWEEP = """
name: saturation
question: What does a larger budget do?
recipe: curate.yaml
sweep: {key: tag_evol.budgets, values: [[1], [2], [3]], name: "b={}"}
measure: {sample: 4}
"""
ARMS = """
name: two
recipe: curate.yaml
arms: {one: , two: {set: {tag_evol.budgets: [2, 3]}}}
measure: {sample: 0}
"""


def write_seeds(file, count=12):
    rows = [{"instruction": f"Explain {THINGS[n % 7]} to a class of {n + 5} pupils."} for n in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def place(tmp_path):
    write_seeds(tmp_path / "seeds.jsonl")
    (tmp_path / "curate.yaml").write_text(RECIPE)
    return tmp_path


def study_file(place, text):
    file = place / "study.yaml"
    file.write_text(text)
    return file


def run(file, out, settings=(), limit=None, caps=None):
    told = []
    study, file = load_study(file)
    comparison = run_study(
        study, arms_of(study, file, settings, limit), out, "tagevol compare", caps, lambda *a: told.append(a)
    )
    return comparison, told


def saved(out):
    return json.loads((out / "compare.json").read_text(encoding="utf-8"))


def arms(file, settings=()):
    study, file = load_study(file)
    return {arm.name: arm for arm in arms_of(study, file, settings)}


def test_a_sweep_shares_one_store_and_says_what_it_found(place):
    comparison, _ = run(study_file(place, SWEEP), place / "out")
    body = saved(place / "out")
    assert [arm["name"] for arm in body["arms"]] == ["b=1", "b=2", "b=3"]
    assert body["places"] == {"b=1": 1.0, "b=2": 2.0, "b=3": 3.0}
    assert (body["axis"], body["by_rule"], comparison.failed) == ("tag_evol.budgets", ["b=1", "b=2", "b=3"], [])
    first, second, _ = (arm["figures"] for arm in body["arms"])
    assert (first["rows_in"], first["accepted"], first["rejected"], first["rejected_share"]) == (12, 12, 0, 0)
    assert (first["asked"], first["stored"]) == (12 + 12 + 8, 0)
    assert (second["asked"], second["stored"], second["calls"]) == (12 + 8, 12, 32)
    assert (second["evolution_calls"], second["calls_per_instruction"], second["longest_chain"]) == (12, 1, 1)
    assert second["reply_obedience"] == second["obedience"] == 1
    assert set(first) <= set(body["definitions"])
    assert body["differences"] == {"tag_evol.budgets": {"b=1": [1], "b=2": [2], "b=3": [3]}}
    assert body["doubts"] == []
    assert len({arm["seeds"]["digest"] for arm in body["arms"]}) == 1
    assert (place / "out" / "store.sqlite").exists()
    assert not list((place / "out").glob("*/store.sqlite"))


@pytest.mark.slow
def test_a_finished_arm_is_run_again_only_when_its_recipe_or_its_files_changed(place):
    file = study_file(place, ARMS)
    first, _ = run(file, place / "out")
    again, told = run(file, place / "out")
    assert told == [("one", None), ("two", None)]
    assert again.outcomes[0].figures == first.outcomes[0].figures
    _, told = run(file, place / "out", ["two:tag_evol.budgets=[2]"])
    assert [(arm, step and step.name) for arm, step in told[:2]] == [("one", None), ("two", "load")]
    assert sum(step.asked for _, step in told if step) == 0  # budget 2 was asked before
    write_seeds(place / "seeds.jsonl", 13)
    later, told = run(file, place / "out")
    assert [outcome.figures["rows_in"] for outcome in later.outcomes] == [13, 13]
    assert {arm for arm, step in told if step and step.asked} == {"one", "two"}


def test_an_arm_without_rows_does_not_stop_the_others(place):
    text = ARMS.replace("arms: {one: ,", "arms: {bare: {set: {data.max_chars: 1}}, one: ,")
    comparison, _ = run(study_file(place, text), place / "out")
    assert comparison.failed == ["bare"]
    bare, one, _ = saved(place / "out")["arms"]
    assert (bare["status"], bare["rejected"], bare["figures"]) == ("failed", {"too_long": 12}, {})
    assert "no row is left (too_long 12)" in bare["message"]
    assert one["status"] == "complete"
    assert comparison.doubts[0].startswith("bare failed: load: no row is left")


def test_caps_hold_for_all_arms_together_and_what_is_there_is_compared(place):
    file = study_file(place, ARMS)
    with pytest.raises(LimitError, match=r"^arm two: stopped at the limit"):
        run(file, place / "out", caps=Limits(max_requests=30))
    assert [arm["status"] for arm in saved(place / "out")["arms"]] == ["complete", "not run"]
    comparison, _ = run(file, place / "out", caps=Limits(max_requests=30))
    assert comparison.failed == []
    assert comparison.outcomes[1].figures["calls"] == 12 + 24
    again, _ = run(file, place / "out", caps=Limits(max_requests=1))  # all is there: nothing is asked
    assert again.failed == []


def test_settings_for_all_arms_and_for_one(place):
    found = arms(study_file(place, ARMS), ["tag_evol.candidates=9", "two:seed=7", "data.limit=5"])
    assert [found[name].recipe.option("tag_evol").candidates for name in ("one", "two")] == [9, 9]
    assert [found[name].recipe.seed for name in ("one", "two")] == [42, 7]
    assert [found[name].recipe.option("tag_evol").budgets for name in ("one", "two")] == [[1], [2, 3]]
    swept = arms(study_file(place, SWEEP), ["b=2:seed=7"])
    assert [arm.recipe.seed for arm in swept.values()] == [42, 7, 42]


def test_a_steps_option_is_for_all_arms_that_have_the_step(place):
    tacos = "open_tags: {}, normalize_tags: {}, cluster: {}, compare: {}, select: {n: 9}"
    for name, steps in (("tacos", tacos), ("random", "baseline: {method: random, n: 9}")):
        listed = "".join(f"  - {step}\n" for step in steps.replace(": {}, ", ": {}\n").split("\n"))
        (place / f"{name}.yaml").write_text(
            f"name: {name}\ndata: {{source: seeds.jsonl}}\nengines: {{default: builtin}}\nsteps:\n{listed}"
        )
    text = "name: s\narms:\n  a: {recipe: tacos.yaml}\n  b: {recipe: random.yaml}\n"
    found = arms(study_file(place, text), ["select.n=3", "baseline.n=4"])
    assert found["a"].recipe.option("select").n == 3
    assert found["b"].recipe.option("baseline").n == 4
    with pytest.raises(RecipeError, match=r"arm a: --set respond\.temperature=1: the recipe has no step respond"):
        arms(study_file(place, text), ["respond.temperature=1"])


def test_paths_count_from_the_study_and_engines_and_measures_are_the_studys(place):
    (place / "deep").mkdir()
    write_seeds(place / "deep" / "own.jsonl", 3)
    (place / "curate.yaml").write_text(RECIPE.replace("tag_evol: {budgets: [1]}", "tag_evol: {}, measure: {sample: 9}"))
    text = """
name: s
recipe: ../curate.yaml
set: {data.source: own.jsonl, tag_evol.temperature: 0.00001}
engines: {default: builtin, respond: "http://127.0.0.1:1/v1#m"}
measure: {sample: 3, by: budget}
arms: {a: {}, b: {set: {seed: 1}}}
"""
    found = arms(study_file(place / "deep", text))
    recipe = found["a"].recipe
    assert recipe.data.source == str((place / "deep" / "own.jsonl").resolve())
    assert recipe.option("tag_evol").temperature == 0.00001
    assert recipe.engines == {"default": "builtin", "respond": "http://127.0.0.1:1/v1#m"}
    assert [name for name, _ in recipe.steps] == ["aspect_tags", "tag_pool", "tag_evol", "measure"]
    assert (recipe.option("measure").sample, recipe.option("measure").by) == (3, "budget")


def test_arms_of_other_methods_are_measured_by_their_own_column(place):
    (place / "rounds.yaml").write_text(RECIPE.replace("tag_evol: {budgets: [1]}", "evol_instruct: {rounds: 4}"))
    text = ARMS.replace("sample: 0", "by: round").replace("one: ,", "one: {recipe: rounds.yaml},")
    found = arms(study_file(place, text))
    assert [arm.recipe.option("measure").by for arm in found.values()] == ["round", ""]


def test_the_figures_of_rounds():
    step = {
        "name": "evol_instruct",
        "asked": 20,
        "stored": 4,
        "rows_out": 16,
        "rejected": {},
        "redrawn": {},
        "failed": {},
    }
    totals = {"read": 8, "added": 16, "selected": 16, "not_chosen": 0, "rejected": {"refusal": 8}, "asked": 20}
    totals |= {"stored": 4, "prompt_tokens": 5, "completion_tokens": 6, "cost": 0.5}
    run = {"totals": totals, "steps": [step], "seconds": 1.0}
    figures = figures_of(run, {"steps": [{"evol_instruct": {"rounds": 3}}]})
    assert (figures["longest_chain"], figures["evolution_calls"], figures["calls_per_instruction"]) == (3, 24, 1.5)
    assert (figures["rejected_share"], figures["cost"], figures["calls"]) == (8 / 24, 0.5, 24)
    assert "reply_obedience" not in figures


def test_replies_that_broke_the_budget_count_although_others_replaced_them():
    step = {"name": "tag_evol", "asked": 10, "stored": 0, "rows_out": 7, "failed": {"timeout": 1}}
    step |= {"redrawn": {"wrong_count": 2}, "rejected": {"own_tag": 1, "not_json": 1}}
    totals = {
        "read": 9,
        "added": 0,
        "selected": 7,
        "not_chosen": 0,
        "rejected": {"own_tag": 1, "not_json": 1},
        "asked": 10,
    }
    totals |= {"stored": 0, "prompt_tokens": 5, "completion_tokens": 6, "cost": 0}
    figures = figures_of({"totals": totals, "steps": [step], "seconds": 1.0}, {})
    assert figures["reply_obedience"] == 7 / 10
    assert (figures["failed"], figures["longest_chain"]) == (1, 1)
    assert "cost" not in figures


def test_a_sweep_over_words_has_no_axis(place):
    text = SWEEP.replace(
        'tag_evol.budgets, values: [[1], [2], [3]], name: "b={}"', "aspect_tags.method, values: [fine, coarse]"
    )
    found = arms(study_file(place, text))
    assert {name: arm.value for name, arm in found.items()} == {"method=fine": None, "method=coarse": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("recipe:", "recipes:"), 'study.yaml.recipes is not a field; did you mean "recipe"?'),
        (("set:", "sets:"), 'study.yaml.arms.two.sets is not a field; did you mean "set"?'),
        (("sample: 0", "samples: 0"), 'study.yaml.measure.samples is not a field; did you mean "sample"?'),
        (("tag_evol.budgets", "tag_evol.budget"), 'arm two: .*tag_evol.budget is not a field; did you mean "budgets"?'),
        (("tag_evol.budgets", "tag_evo.budgets"), 'arm two: .*did you mean "tag_evol"?'),
        (("one: ,", "../up: ,"), r"arm '\.\./up': expected letters, digits and"),
        (("one: ,", "Two: ,"), "arm 'two': two arms have this name"),
        (("one: ,", "store.sqlite: ,"), "arm 'store.sqlite': expected"),
        (("recipe: curate.yaml", ""), "recipe: expected a recipe's file, or one for each arm"),
        (("recipe: curate.yaml", "recipe: none.yaml"), "arm one: none.yaml: no such recipe"),
        (("arms: {one: , two: {set: {tag_evol.budgets: [2, 3]}}}", ""), "expected either arms, as .* or a sweep"),
        (("name: two", "name: ../two"), "study.yaml.name: String should match pattern"),
        ((ARMS, "[1]"), "expected keys and values"),
        ((ARMS, "a: [b"), "not valid YAML"),
    ],
)
def test_a_study_that_is_wrong_is_refused_in_one_line(place, change, message):
    with pytest.raises(RecipeError, match=message) as caught:
        arms(study_file(place, ARMS.replace(*change)))
    assert "\n" not in str(caught.value)


def test_a_setting_of_an_unknown_arm(place):
    with pytest.raises(RecipeError, match=r'tow is not an arm of this study; did you mean "two"\?'):
        arms(study_file(place, ARMS), ["tow:seed=1"])


def test_a_name_of_a_sweep_needs_a_place_for_the_value(place):
    with pytest.raises(RecipeError, match=r"sweep.name: expected a name with \{\} in the place"):
        arms(study_file(place, SWEEP.replace("b={}", "b")))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match=r"no such study; give a YAML file or a folder that holds study\.yaml"):
        load_study(tmp_path)


def test_a_run_folder_is_not_overwritten_and_two_processes_do_not_share_a_study(place):
    import filelock

    file = study_file(place, ARMS)
    (place / "out").mkdir()
    with filelock.FileLock(place / "out" / ".lock"), pytest.raises(DataError, match="another process is working on"):
        run(file, place / "out")
    (place / "out" / "run.json").write_text("{}")
    with pytest.raises(DataError, match="a run folder; give the study another folder by --out"):
        run(file, place / "out")


def test_figures_that_no_arm_has_are_named(place):
    comparison, _ = run(study_file(place, ARMS + "plot: [rejected_shares, difficulty]"), place / "out")
    assert comparison.doubts[0] == 'plot: no arm has the figure rejected_shares; did you mean "rejected_share"?'


def finished_run(place, name, *settings, text=RECIPE):
    file = place / f"{name}.yaml"
    file.write_text(text)
    curate(load_recipe(file, settings), place / name)
    return place / name


def test_finished_runs_are_compared_and_measured_without_asking(place):
    runs = [finished_run(place, "a"), finished_run(place, "b", "tag_evol.budgets=[2,3]")]
    before = {path: path.stat().st_mtime_ns for folder in runs for path in folder.rglob("*") if path.is_file()}
    comparison = compare_runs(runs, place / "out")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [one.figures["accepted"] for one in comparison.outcomes] == [12, 24]
    assert "words_mean" in comparison.outcomes[0].figures
    assert "difficulty" not in comparison.outcomes[0].figures
    assert comparison.doubts == ()
    assert saved(place / "out")["arms"][0]["folder"] == str((place / "a").resolve())


def test_what_should_be_equal_and_is_not(place):
    one = finished_run(place, "a")
    write_seeds(place / "seeds.jsonl", 13)
    other = finished_run(place, "b", "seed=7")
    record = json.loads((other / "run.json").read_text())
    record["engines"]["default"]["identity"] = "another"
    record["version"] = "0.0.1"
    (other / "run.json").write_text(json.dumps(record))
    doubts = " ".join(compare_runs([one, other], place / "out").doubts)
    assert "The arms have different numbers of seeds: a: 12; b: 13." in doubts
    assert "different engines for evolution: a: builtin@" in doubts
    assert "b: another." in doubts
    assert "The arms differ in the seed of the random choices: a: 42; b: 7." in doubts
    assert "version of tagevol_hf" in doubts


def test_other_seeds_of_the_same_number(place):
    one = finished_run(place, "a")
    text = (place / "seeds.jsonl").read_text()
    (place / "seeds.jsonl").write_text(text.replace("pupils", "adults"))
    other = finished_run(place, "b")
    (place / "seeds.jsonl").write_text("".join(reversed(text.splitlines(keepends=True))))
    shuffled = finished_run(place, "c")
    assert compare_runs([one, shuffled], place / "out").doubts == ()
    assert compare_runs([one, other], place / "out").doubts[0].startswith("The arms have different seeds: a: ")


def test_runs_that_cannot_be_compared(place):
    one = finished_run(place, "a")
    for folders in ([one], [one, place / "." / "a"]):
        with pytest.raises(RecipeError, match="expected a study, or two or more different run folders"):
            compare_runs(folders, place / "out")
    with pytest.raises(DataError, match="a run folder; give the comparison another folder by --out"):
        compare_runs([one, place / "none"], one)
    with pytest.raises(DataError, match="not a run folder"):
        compare_runs([one, place / "none"], place / "out")
    other = place / "b"
    other.mkdir()
    (other / "run.json").write_text('{"status": "running"}')
    with pytest.raises(DataError, match=r"not finished \(status 'running'\); finish it with"):
        compare_runs([one, other], place / "out")


def test_seeds_and_files_are_looked_at_by_time_not_by_name(place):
    """A file that is older than the run says nothing."""
    file = study_file(place, ARMS)
    run(file, place / "out")
    long_ago = time.time() - 1000
    os.utime(place / "seeds.jsonl", (long_ago, long_ago))
    _, told = run(file, place / "out")
    assert told == [("one", None), ("two", None)]
