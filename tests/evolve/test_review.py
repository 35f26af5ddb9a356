"""A second look at evolved instructions by another engine."""

import json

import pytest
from evolve.evolving import GOOD, POOL, answer, seeds
from scripted import ScriptedEngine

from tagevol_hf.evolve.review import TagReview
from tagevol_hf.evolve.tag_evol import TagEvol, draw_candidates

EVOLVED = TagEvol(ScriptedEngine(lambda request: answer("paper"))).apply(draw_candidates(seeds(1), POOL, [3]))


def reviewed(reply, **options):
    engine = ScriptedEngine(lambda request: reply if isinstance(reply, str) else json.dumps(reply), "reviewer")
    return engine, TagReview(engine, **options).apply(EVOLVED)[0]


def found(integrated=(True, True, True), core_kept=True, hallucinated=()):
    return {"integrated": list(integrated), "core_kept": core_kept, "hallucinated": list(hallucinated)}


def test_a_clean_review_notes_and_keeps():
    engine, row = reviewed(found())
    assert row["rejection"] is None
    assert (row["integrated_tags"], row["core_kept"], row["hallucinated"]) == (row["chosen_tags"], True, [])
    prompt = engine.requests[0].messages[0].content
    assert f"<instruction>\n{GOOD}\n</instruction>" in prompt
    assert f"1. {row['chosen_tags'][0]}\n2. {row['chosen_tags'][1]}" in prompt


@pytest.mark.parametrize(
    ("reply", "options", "reason"),
    [
        (found((True, False, True)), {}, "tag_not_integrated"),
        (found(core_kept=False), {}, "core_task_lost"),
        (found((False, True, True), core_kept=False), {"reject": ("core_task_lost",)}, "core_task_lost"),
        (found(hallucinated=["Use 17 words."]), {"reject": ("hallucinated_constraint",)}, "hallucinated_constraint"),
        (found(hallucinated=["Use 17 words."]), {}, None),
        (found((False, False, False), core_kept=False), {"reject": ()}, None),
    ],
)
def test_findings_reject_only_where_they_are_told_to(reply, options, reason):
    engine, row = reviewed(reply, **options)
    assert (row["rejection"] and row["rejection"]["reason"]) == reason
    assert engine.asked == 1, "a verdict is not asked again until it suits"
    assert row["core_kept"] == reply["core_kept"], "the findings stay with a rejected row"
    if reason:
        assert (row["rejection"]["stage"], row["rejection"]["attempts"]) == ("review", 1)
        assert json.loads(row["rejection"]["raw"]) == reply


@pytest.mark.parametrize("reply", [found((True, True)), found((True,) * 4), "yes", {"integrated": [True] * 3}])
def test_a_reply_of_another_form_is_asked_again_and_then_rejected(reply):
    engine, row = reviewed(reply, attempts=2)
    assert (row["rejection"]["reason"], engine.asked) == ("not_json" if reply == "yes" else "wrong_schema", 2)
    assert (row["integrated_tags"], row["core_kept"]) == (None, None)


def test_the_schema_is_the_same_for_all_rows_of_a_budget():
    engine = ScriptedEngine(
        lambda request: json.dumps(found([True] * request.schema["properties"]["integrated"]["minItems"]))
    )
    maker = ScriptedEngine(
        lambda request: answer("paper", list(range(1, 1 + request.schema["properties"]["chosen"]["minItems"])))
    )
    TagReview(engine).apply(TagEvol(maker).apply(draw_candidates(seeds(10), POOL, [1, 5])))
    assert len({json.dumps(request.schema) for request in engine.requests}) == 2
    assert engine.asked == 20


def test_an_unknown_finding_is_refused():
    with pytest.raises(ValueError, match=r"review\.reject: 'tag_lost' is not a finding; known: tag_not_integrated, "):
        TagReview(ScriptedEngine(lambda request: ""), reject=("tag_lost",))
