"""The card of a published data set: what it tells, what it leaves alone, and what it never holds."""

import json
import re
from importlib import resources

import pytest
import yaml
from hub_runs import EVOLVE, make_run, seeds

from tagevol_hf.errors import DataError
from tagevol_hf.formats import WRITTEN
from tagevol_hf.hub import licences, push_to_hub, verify
from tagevol_hf.hub.card import dataset_card
from tagevol_hf.hub.readme_check import head_of

pytestmark = pytest.mark.slow  # needs finished runs and a push

MARKS = re.compile(r"<!-- tagevol card [0-9a-f]+:.*?<!-- tagevol card: end -->", re.DOTALL)


@pytest.fixture
def provenance(published):
    return json.loads(published.files["me/whole"]["provenance.json"])


@pytest.fixture
def card(published):
    return published.files["me/whole"]["README.md"].decode()


def section(card, title):
    return card.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(text):
    """Cells of all rows of the tables in a text, without heads."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_it_tells_how_the_set_was_made(card, provenance, whole_run):
    record = json.loads((whole_run / "run.json").read_text("utf-8"))
    rows = table(section(card, "How it was made"))
    for step in record["steps"]:
        numbers = [step["rows_in"], step["added"], step["not_chosen"], sum(step["rejected"].values()), step["rows_out"]]
        assert [f"`{step['name']}`", *(f"{n:,}" for n in numbers)] in rows
    assert ["`empty_instruction`", "1"] in [row[:2] for row in rows]
    assert ["seed", "3"] in rows
    for name, digest in provenance["prompts"].items():
        assert [f"`{name}`", f"`{digest}`"] in rows
    assert provenance["recipe"]["text"].strip() in card
    assert "6 instructions, made with tagevol_hf out of 11 read" in card.replace("\\_", "_")
    assert "**Made by rules, without a language model:**" in card
    assert "Not looked for: the recipe has no step `decontaminate`" in section(card, "Contamination")
    assert "2505.24165" in section(card, "Citation")
    assert "2507.03673" in section(card, "Citation")
    judged = dict(row[:2] for row in table(section(card, "How far the judge can be relied upon")))
    summary = next(step["summary"] for step in record["steps"] if step["name"] == "compare")
    assert judged["comparisons with a score"] == f"{summary['n']:,}"


def test_each_column_is_explained(card, provenance):
    told = {row[0]: row[1] for row in table(section(card, "What is in it")) if len(row) == 2}
    known = yaml.safe_load((resources.files("tagevol_hf.hub") / "columns.yaml").read_text("utf-8"))
    assert set(WRITTEN) <= set(known)
    columns = [
        name for config in ("selected", "evolved", "rejected") for name in provenance["configs"][config]["features"]
    ]
    for name in columns:
        assert told[f"`{name}`"] != "of the source, unchanged", name


def test_its_head_loads_each_config(card, provenance):
    head = head_of(card)
    assert [entry["config_name"] for entry in head["configs"]] == list(provenance["configs"])
    assert [entry.get("default", False) for entry in head["configs"]] == [True, False, False, False, False]
    assert head["size_categories"] == ["n<1K"]
    assert head["tags"] == ["tagevol", "instruction-tuning", "synthetic", "tag-evol", "tacos"]
    assert "license" not in head  # that of rows.jsonl is not known, and is not guessed


def test_the_loading_example_is_python(card):
    example = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert example.count("load_dataset(") == 5
    compile(example, "card", "exec")


def test_the_same_run_gives_the_same_card(whole_run, provenance, card):
    assert dataset_card(whole_run, provenance, None, "me/whole") == card
    assert dataset_card(whole_run, provenance, card, "me/whole") == card


def test_a_persons_text_and_head_stay(whole_run, provenance, card):
    mine = (
        "---\n# mine: keep\nlicense: cc0-1.0\nlanguage: [de]  # both\nconfigs:\n- config_name: mine\n"
        "  data_files: mine/*.csv\n# what follows is about tags\ntags: [poems]\n---\n\n# Mine\n\nBy hand — <b>so</b>.\n"
    )
    first = dataset_card(whole_run, provenance, mine, "me/whole")
    head = head_of(first)
    assert first.startswith(
        "---\n# mine: keep\nlicense: cc0-1.0\nlanguage: [de]  # both\n# what follows is about tags\n"
    )
    assert (head["license"], head["language"], head["tags"]) == ("cc0-1.0", ["de"], ["poems"])
    assert head["configs"][0] == {"config_name": "mine", "data_files": "mine/*.csv"}
    assert [entry["config_name"] for entry in head["configs"][1:]] == list(provenance["configs"])
    assert first.count("\n# Mine\n\nBy hand — <b>so</b>.\n") == 1
    around = first.replace("# Mine", "# My own").rstrip() + "\n\nA last word.\n"
    fewer = {**provenance, "configs": {name: provenance["configs"][name] for name in ("selected", "tags")}}
    second = dataset_card(whole_run, fewer, around, "me/whole")
    assert MARKS.sub("", second).split("---\n", 2)[2] == MARKS.sub("", around).split("---\n", 2)[2]
    assert 'load_dataset("me/whole", "comparisons"' not in second


def test_what_a_person_changed_in_our_head_stays(whole_run, provenance, card):
    for mine in (
        card.replace("pretty_name: small", "pretty_name: Small but mine"),
        card.replace("pretty_name: small", "pretty_name: small # mine"),
    ):
        again = dataset_card(whole_run, {**provenance, "name": "other"}, mine, "me/whole")
        assert mine.splitlines()[1] in again
    again = dataset_card(whole_run, {**provenance, "name": "other"}, card, "me/whole")
    assert head_of(again)["pretty_name"] == "other"


def test_stale_facts_about_our_configs_go_and_others_stay(whole_run, provenance, card):
    info = [
        {"config_name": "selected", "splits": [{"name": "train", "num_examples": 1}]},
        {"config_name": "mine", "splits": [{"name": "train", "num_examples": 7}]},
    ]
    there = f"---\n{yaml.safe_dump({'dataset_info': info})}---\nMine.\n"
    head = head_of(dataset_card(whole_run, provenance, there, "me/whole"))
    assert head["dataset_info"] == info[1:]


def test_a_head_that_is_no_yaml_is_refused(whole_run, provenance):
    with pytest.raises(DataError, match=r"README\.md: its head is not valid YAML"):
        dataset_card(whole_run, provenance, "---\na: [b\n---\nMine.\n", "me/whole")


def test_data_that_our_configs_would_hide_is_not_touched(hub, whole_run):
    hub.files["me/old"] = {"README.md": b"# Mine\n", "train.csv": b"a\n1\n", "more.csv": b"a\n2\n"}
    before = dict(hub.files["me/old"])
    with pytest.raises(DataError, match=r"no config in its README\.md names more\.csv and others, which nobody could"):
        push_to_hub(whole_run, "me/old")
    assert hub.files["me/old"] == before


def test_hostile_names_stay_text(whole_run, provenance):
    evil = "x | y\n# Big\n<script>alert(1)</script> ![a](http://evil) <!-- tagevol card: end -->"
    bad = {
        **provenance,
        "name": evil,
        "engines": {"default": {"identity": evil, "language_model": True}},
        "prompts": {evil: "`1`"},
        "versions": {evil: "1"},
        "steps": [{**step, "name": evil} if step["name"] == "load" else step for step in provenance["steps"]],
    }
    card = dataset_card(whole_run, bad, None, "me/whole")
    bare = re.sub(r"(`+).*?\1", "", card.split("\n---\n", 1)[1], flags=re.DOTALL)
    assert "<script" not in bare
    assert not re.search(r"(?<!\\)\]\(http://evil", bare)
    assert not re.search(r"(?m)^# Big", bare)
    assert bare.count("<!-- tagevol card: end -->") == 1
    assert head_of(card)["pretty_name"] == evil
    assert dataset_card(whole_run, bad, card, "me/whole") == card


def test_licences_are_carried_over_and_conflicts_named(provenance, whole_run):
    def told(*sources, engines=None):
        first, *rest = sources
        recipe = {"name": "t", "data": {**first, "also": rest}}
        body = {**provenance, "recipe": {**provenance["recipe"], "text": yaml.safe_dump(recipe)}}
        card = dataset_card(whole_run, {**body, "engines": engines or {}}, None, "me/whole")
        return head_of(card).get("license"), section(card, "Sources, models and licences")

    gsm8k, alpaca = {"source": "openai/gsm8k"}, {"source": "tatsu-lab/alpaca", "revision": "abc"}
    assert told(gsm8k)[0] == "mit"
    assert told(gsm8k, alpaca)[0] == "cc-by-nc-4.0"
    assert told(gsm8k, {"source": "x.json", "license": "apache-2.0"})[0] == "other"
    license_name, words = told(alpaca, {"source": "databricks/databricks-dolly-15k"})
    assert license_name is None
    assert "ask for different licences of what is made from them: no single one fits the whole set" in words
    assert ["tatsu-lab/alpaca", "abc", "rows", "cc-by-nc-4.0"] in table(words)
    license_name, words = told(gsm8k, {"source": "…/mine.jsonl"})
    assert license_name is None
    assert "**Look up before use:** the licence of …/mine.jsonl is not known to this tool" in words
    llama = {"default": {"identity": "meta-llama/Llama-2-7b-chat-hf@f5db02", "language_model": True}}
    license_name, words = told(gsm8k, engines={**llama, "compare": {"identity": "gpt-4o", "language_model": True}})
    assert license_name == "mit"
    assert ["meta-llama/Llama-2-7b-chat-hf", "f5db02", "default", "llama2"] in table(words)
    assert "does not allow to improve other large language models than Llama" in words
    assert "gpt-4o (terms of its vendor)" in words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "apache-2.0"),
        ("Qwen/Qwen2.5-Math-7B-Instruct", "apache-2.0"),
        ("Qwen/Qwen2.5-72B-Instruct", ""),  # of another licence
        ("Qwen/Qwen2.5-3B-Instruct", ""),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3.1"),
        ("meta-llama/Meta-Llama-3-8B", "llama3"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "apache-2.0"),
        ("Qwen2.5-7B@0123456789ab", ""),  # a folder of that name
    ],
)
def test_a_models_licence_is_known_or_left_open(name, expected):
    (model,) = licences.models_of({"default": {"identity": name, "language_model": True}})
    assert model.license == expected


def test_measures_and_contamination(tmp_path, hub):
    rows = seeds(8)
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": rows[2]["instruction"]}) + "\n", encoding="utf-8")
    cleaning = {"decontaminate": {"against": [str(tmp_path / "bench.jsonl")]}}
    run = make_run(tmp_path / "cleaned", rows, [cleaning, *EVOLVE, {"measure": {}}])
    push_to_hub(run, "me/cleaned")
    card = hub.files["me/cleaned"]["README.md"].decode()
    said = section(card, "Contamination")
    assert "Of 8 rows, 1 with a benchmark's question in them were rejected." in said
    assert ["bench.jsonl", "1", "1"] in table(said)
    assert rows[2]["instruction"] not in said
    figures = section(card, "Diversity and difficulty")
    assert "measured on 14 rows" in figures
    measured = json.loads((run / "measures.json").read_text("utf-8"))
    assert len(table(figures)) >= len(next(iter(measured["groups"].values())))
    assert verify("me/cleaned") == []
