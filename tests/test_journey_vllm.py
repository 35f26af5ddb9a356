"""The whole journey through real vLLM on CPU, in this process and through its own server.

The model is tiny and random, made in the test. Structured output still makes every reply fit its schema.
"""

import json

import jsonschema_rs
import pytest
from datasets import Dataset
from recording import RecordingEngine

import tagevol_hf as te
from tagevol_hf.recipe import recipe_from

pytestmark = pytest.mark.slow

TASKS = ["Explain tides.", "Sort a list.", "Plan a trip.", "Write a poem.", "Add 2 and 3.", "Name a bird."]


def rows():
    return te.prepare(Dataset.from_dict({"instruction": TASKS}))


def check_budget(evolved):
    for row in evolved:
        assert len(row["chosen_tags"]) == len(set(row["chosen_tags"])) == row["budget"]
        assert set(row["chosen_tags"]) <= set(row["candidates"])
        assert not set(row["chosen_tags"]) & set(row["seed_tags"])


def journey(engine):
    """All steps by Python; every structured reply must fit its schema."""
    engine = RecordingEngine(engine)
    tagged = te.AspectTagger(engine, max_aspects=2, max_tags=2).apply(rows())
    pool = te.TagPool.from_dataset(tagged)
    drawn = te.draw_candidates(tagged, pool, [1, 2, 3], candidates=6)
    evolved, lost = te.split_rejected(te.TagEvol(engine, max_chars=80, attempts=8).apply(drawn))
    assert len(evolved) + len(lost) == 3 * len(TASKS)
    assert len(evolved) >= 2 * len(TASKS)
    check_budget(evolved)
    answered = te.Responder(engine, temperature=1.0, max_tokens=600, attempts=8).apply(evolved)
    best = te.tacos(answered, engine, n=5, k=2)
    assert len(best.selected) == 5
    assert len(best.selected) + len(best.not_chosen) + len(best.rejected) == len(evolved)
    scored = te.SingleScorer(engine, attempts=8).apply(best.selected)
    graded, _ = te.baseline("alpagasus", scored, 2, engine=engine)
    rated, chosen = te.baseline("deita", graded, 2, engine=engine)
    assert len(chosen.choices) <= 2
    assert {"single_score", "grade", "complexity", "quality"} <= set(rated.column_names)
    structured = [(request, reply) for request, reply in engine.seen if request.schema and not reply.reason]
    assert {reply.reason for _, reply in engine.seen} <= {"", "prompt_too_long"}  # its context is small
    assert len(structured) >= 6 * len(TASKS)
    for request, reply in structured:
        assert reply.finish_reason == "stop", f"{request.schema['title']} was cut off"
        jsonschema_rs.validator_for(dict(request.schema)).validate(json.loads(reply.text))


def test_in_this_process(vllm_engine):
    journey(vllm_engine)


def test_through_its_own_server(vllm_server):
    engine = te.open_engine(vllm_server)
    journey(engine.engine)
    engine.close()


STEPS = [
    {"aspect_tags": {"max_aspects": 2, "max_tags": 2}},
    {"tag_pool": {}},
    {"tag_evol": {"budgets": [1, 2], "candidates": 6, "max_chars": 80, "attempts": 8}},
    {"respond": {"temperature": 1.0, "max_tokens": 600, "attempts": 8}},
    {"open_tags": {"max_tags": 2}},
    {"normalize_tags": {}},
    {"cluster": {"k": 2}},
    {"single_score": {"attempts": 8}},
    {"compare": {"plan": "swiss", "comparisons": 1, "max_tokens": 1500, "score": "bradley-terry"}},
    {"select": {"n": 4}},
]


def test_a_recipe_through_its_own_server(vllm_server, tmp_path):
    Dataset.from_dict({"instruction": TASKS}).to_json(tmp_path / "tasks.jsonl")
    recipe = recipe_from(
        {
            "name": "served",
            "data": {"source": str(tmp_path / "tasks.jsonl")},
            "engines": {"default": vllm_server},
            "steps": STEPS,
        }
    )
    run = te.curate(recipe, tmp_path / "run")
    totals = run.record["totals"]
    assert totals["selected"] == len(run.selected) == 4
    assert totals["read"] + totals["added"] == 4 + totals["not_chosen"] + sum(totals["rejected"].values())
    assert not {"not_json", "wrong_schema", "wrong_count", "not_a_candidate"} & set(totals["rejected"])
    check_budget(run.selected)
    again = te.curate(recipe, tmp_path / "run")
    assert again.record["totals"]["asked"] == 0
    assert again.selected.to_list() == run.selected.to_list()
