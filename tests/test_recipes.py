"""The recipes of the project: valid, as the papers have them, and each runs from its own kind of rows."""

import json
from pathlib import Path

import pytest
import yaml

from tagevol_hf.pipeline import curate
from tagevol_hf.prompts import load_prompt
from tagevol_hf.recipe import recipe_from
from tagevol_hf.recipe_file import load_recipe
from tagevol_hf.study import arms_of, load_study, run_study
from tagevol_hf.study.trained.comparing import check_sections

ROOT = Path(__file__).parent.parent / "recipes"
TRAINED = sorted({*ROOT.glob("**/studies/trained.yaml"), ROOT / "quickstart" / "study.yaml"})
STUDIES = sorted({*ROOT.glob("**/studies/*.yaml")} - {*TRAINED})
TRAINING = sorted(ROOT.glob("**/sft-*.yaml"))
CURATING = sorted({*ROOT.glob("**/*.yaml")} - {*STUDIES, *TRAINED, *TRAINING})
LOCAL = {  # the columns of the data set on the Hub: instruction, input, response
    "math": ("question", None, "answer"),
    "code": ("instruction", "input", "output"),
    "general": ("instruction", "context", "response"),
    "quickstart": ("instruction", "input", "output"),
    "alpaca-52k": ("instruction", "input", "output"),
    "evol-70k": ("instruction", None, "output"),
}
EMBEDDING = ("normalize_tags", "cluster", "baseline", "compare_selections")
SEEDS = [json.loads(line) for line in (ROOT / "quickstart" / "seeds.jsonl").read_text("utf-8").splitlines()]


def local_rows(folder, domain, count=16):
    names = dict(zip(LOCAL[domain], ("instruction", "input", "output"), strict=True))
    rows = [{name: seed[own] for name, own in names.items() if name} for seed in SEEDS[::2][:count]]
    path = folder / f"{domain}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def domain_of(file):
    return next(part for part in reversed(file.parts) if part in LOCAL)


def offline(file, path):
    """The recipe with local rows, the built-in engine and no test set."""
    body = load_recipe(file, [f"data.source={path}", "engines={default: builtin}"]).plain()
    for step in body["steps"]:
        if "measure" in step:
            step["measure"] |= {"references": [], "sample": 2}
        for name in EMBEDDING:
            if name in step:
                step[name]["embedder"] = "builtin"
    body["data"]["config"] = None
    return recipe_from(body)


SLOWLY = [
    pytest.param(file, marks=[pytest.mark.slow] * (file.name != "curate.yaml"), id=str(file.relative_to(ROOT)))
    for file in CURATING
]


@pytest.mark.parametrize("file", SLOWLY)
def test_each_recipe_runs_on_rows_of_its_own_kind(file, tmp_path):
    recipe = load_recipe(file)
    assert recipe_from(recipe.plain()) == recipe
    run = curate(offline(file, local_rows(tmp_path, domain_of(file), 30)), tmp_path / "r")
    totals = run.record["totals"]
    assert totals["read"] + totals["added"] == (
        totals["selected"] + totals["not_chosen"] + sum(totals["rejected"].values())
    )
    assert totals["selected"] > 0
    assert all(row["response"] for row in run.selected)


@pytest.mark.parametrize(("domain", "budgets"), [("math", [1, 3, 5]), ("code", [3, 5, 7]), ("general", [3, 5, 7])])
def test_the_figures_are_those_of_the_paper(domain, budgets):
    ours, evol, auto = (
        load_recipe(ROOT / "tag-evol" / domain / f"{name}.yaml") for name in ("curate", "evol-instruct", "auto-evol")
    )
    step = ours.option("tag_evol")
    assert (step.budgets, step.candidates, step.temperature, step.max_tokens) == (budgets, 21, 0.7, 2048)
    assert (ours.option("respond").temperature, ours.option("respond").max_tokens) == (0, 4096)
    assert (evol.option("evol_instruct").rounds, evol.option("evol_instruct").eliminate) == (3, [])
    assert len(evol.option("evol_instruct").operators) == 5
    assert (auto.option("auto_evol").rounds, auto.option("auto_evol").top_p) == (3, 0.95)
    assert auto.option("auto_evol").method == ("initial" if domain == "code" else "published")
    assert ours.data == evol.data == auto.data
    assert ours.engines == evol.engines == auto.engines


def test_the_seeds_of_mathematics_are_gsm8k_and_all_of_math():
    data = load_recipe(ROOT / "tag-evol" / "math").data
    assert (data.source, data.config) == ("openai/gsm8k", "main")
    assert len({part.config for part in data.also}) == 7
    assert {part.source for part in data.also} == {"EleutherAI/hendrycks_math"}


@pytest.mark.parametrize("file", sorted(ROOT.glob("**/tag_evol.txt")), ids=lambda file: file.parent.name)
def test_a_domains_prompt_has_all_that_the_packages_own_has(file):
    own, ours = load_prompt(file), load_prompt("tag_evol")
    assert own.row == ours.row
    for name in ("budget", "most_words", "example_numbers"):
        assert own.shared.count(f"{{{{{name}}}}}") == ours.shared.count(f"{{{{{name}}}}}")


@pytest.mark.parametrize("data", ["alpaca-52k", "evol-70k"])
def test_tacos_is_that_of_the_paper(data):
    recipe, release = load_recipe(ROOT / "tacos" / data), load_recipe(ROOT / "tacos" / data / "release.yaml")
    assert recipe.option("open_tags").temperature == release.option("open_tags").temperature == 0.6
    assert recipe.option("open_tags").granularity == "coarse"
    assert (recipe.clusters, release.clusters) == (50, 50)
    assert recipe.option("cluster").embedder == "phrase-bert"
    assert recipe.option("select").n == release.option("select").n == 1000
    assert (recipe.option("compare").orders, recipe.option("compare").comparisons) == ("both", 2)
    assert (release.option("cluster").assign, release.option("cluster").same_labels) == ("release", "longest")
    compare = release.option("compare")
    assert (compare.plan, compare.comparisons, compare.orders) == ("adjacent", 1, "one")


def test_the_ablations_leave_out_one_thing_each():
    whole, scored, alone = (
        load_recipe(ROOT / "tacos" / "alpaca-52k" / f"{name}.yaml")
        for name in ("curate", "without-comparison", "without-clusters")
    )
    assert whole.data == scored.data == alone.data
    assert scored.option("compare") is None
    assert scored.option("select").by == "single_score"
    assert scored.option("cluster") == whole.option("cluster")
    assert (alone.clusters, alone.option("select").allocate) == (1, "global")
    assert alone.option("compare") == whole.option("compare")


ARMS = {"budgets": 15, "methods": 3, "transfer": 3, "tagging": 4, "ablations": 4, "baselines": 7}


@pytest.mark.slow
@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_each_study_is_one_command(file, tmp_path, monkeypatch):
    """As `tagevol compare FILE` runs it, on local rows with the built-in engine."""
    monkeypatch.chdir(tmp_path)
    domain = {"transfer": "code", "ablations": "alpaca-52k", "baselines": "alpaca-52k"}.get(file.stem, "math")
    path = local_rows(tmp_path, domain)
    if file.stem == "transfer":
        math = ROOT / "tag-evol" / "math" / "curate.yaml"
        curate(offline(math, local_rows(tmp_path, "math")), tmp_path / "runs" / "tag-evol-math")
    body = yaml.safe_load(file.read_text())
    for arm in [body, *body.get("arms", {}).values()]:
        if "recipe" in arm:
            arm["recipe"] = str(file.parent / arm["recipe"])
    for arm in body.get("arms", {}).values():
        steps = dict(load_recipe(arm.get("recipe") or body["recipe"]).steps)
        local = {f"{name}.embedder": "builtin" for name in EMBEDDING if name in steps}
        arm["set"] = {**arm.get("set", {}), **local, **({"select.n": 5} if "select" in steps else {})}
    fixed = {"data.source": str(path), "data.config": None}
    body["set"] = {**body.get("set", {}), **fixed}
    body["engines"], body["measure"] = {"default": "builtin"}, {"sample": 3}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(body))
    study, source = load_study(tmp_path / "study.yaml")
    found = run_study(study, arms_of(study, source), tmp_path / "compared")
    assert not found.failed, found.failed
    assert len(found.outcomes) == ARMS[file.stem]
    assert (tmp_path / "compared" / "compare.json").exists()


@pytest.mark.parametrize("file", TRAINED, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_study_with_trainings_is_valid(file):
    """The quickstart's is run in test_study_training.py; the others need models that are not here."""
    study, source = load_study(file)
    assert len(arms_of(study, source)) >= 3
    check_sections(study.train, study.evaluate, run_code=False)
    assert (ROOT.parent / "accelerate_configs" / f"{study.train.accelerate or 'cpu'}.yaml").is_file()
    assert study.evaluate.against in study.arm_names
