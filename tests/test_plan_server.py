"""Planned requests are made requests at a local server, too; a run that a cap stopped goes on to the same result."""

import json

import pytest
from stand_in_server import StandInServer
from test_plan_made import ALPACA, RECIPES, assert_tokens

from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.builtin import BuiltinEngine
from tagevol_hf.errors import LimitError
from tagevol_hf.pipeline import curate
from tagevol_hf.plan import plan
from tagevol_hf.recipe import recipe_from

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ALPACA.exists(), reason=f"the recorded data are not here: {ALPACA}"),
]
ROWS, FEWER = 1000, 300


def by_rule(body):
    """The built-in engine's reply, so that every first reply can be used."""
    form = body.get("response_format") or {}
    schema = form.get("json_schema", {}).get("schema")
    messages = tuple(Message(turn["role"], turn["content"]) for turn in body["messages"])
    request = Request(messages, Sampling(max_tokens=body.get("max_tokens", 1024)), schema)
    ((_, reply),) = BuiltinEngine().stream([request])
    return reply.text or "{}"


@pytest.fixture
def server():
    with StandInServer(answer=by_rule) as server:
        yield server


def asked(server):
    """Requests about rows; the first ones only find out what the server can do."""
    return [json.dumps(body, sort_keys=True) for body in server.bodies if len(body["messages"][-1]["content"]) > 100]


def made_by(name, server, folder, count=ROWS, **more):
    rows = json.loads(ALPACA.read_text(encoding="utf-8"))[:count]
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"source": str(folder / "rows.jsonl"), "columns": {"response": "output"}}
    body = {"name": name, "data": source, "engines": {"default": server.spec}, "steps": RECIPES[name], **more}
    return recipe_from(body)


@pytest.mark.parametrize("name", RECIPES)
def test_requests_planned_are_requests_made_at_a_server(name, server, tmp_path):
    recipe = made_by(name, server, tmp_path)
    run = curate(recipe, tmp_path / "run")
    planned = {step.name: step.requests for step in plan(recipe, ROWS)}
    assert {step["name"]: step["asked"] for step in run.record["steps"] if step["name"] != "load"} == planned
    assert len(asked(server)) == sum(planned.values())
    assert_tokens(recipe, run.record["steps"], tmp_path / "preview")


def test_a_run_that_a_cap_stopped_goes_on_to_the_same_result(server, tmp_path):
    whole = curate(made_by("both", server, tmp_path / "a", FEWER), tmp_path / "whole")
    every = asked(server)
    server.bodies.clear()
    capped = made_by("both", server, tmp_path / "a", FEWER, limits={"max_requests": len(every) // 3 + 1})
    for _ in range(2):
        with pytest.raises(LimitError):
            curate(capped, tmp_path / "capped")
    run = curate(capped, tmp_path / "capped")
    assert sorted(asked(server)) == sorted(every)  # each once, over all three
    for part in ("selected", "not_chosen", "rejected"):
        assert getattr(run, part).to_list() == getattr(whole, part).to_list()
