import json
import re

import pytest
from datasets import Dataset
from scripted import ScriptedEngine

from tagevol_hf.errors import DataError
from tagevol_hf.rows import ROW_FEATURES, rejection
from tagevol_hf.tags.taggers import OpenTagger
from tagevol_hf.tags.turns import tag_turns


def conversations(*turns, marks=()):
    """Rows with these user turns, an answer after each."""

    def history(texts):
        spoken = [[{"role": "user", "content": text}, {"role": "assistant", "content": "so"}] for text in texts[:-1]]
        return [turn for pair in spoken for turn in pair]

    return Dataset.from_dict(
        {
            "id": [f"r{place}" for place in range(len(turns))],
            "instruction": [texts[-1] for texts in turns],
            "input": ["more" for _ in turns],
            "response": ["so" for _ in turns],
            "history": [history(texts) for texts in turns],
            "rejection": [rejection("load", "too_long") if place in marks else None for place in range(len(turns))],
        },
        features=ROW_FEATURES,
    )


def words(request):
    """A tag for each word of the query; no JSON for a turn that says so."""
    query = re.search(r"<query>\n(.*)\n</query>", request.messages[-1].content).group(1)
    if "fail" in query:
        return "no"
    return json.dumps({"tags": [{"tag": word, "explanation": query} for word in query.split()]})


def test_every_user_turn_is_asked_about_by_itself():
    engine = ScriptedEngine(words)
    done = tag_turns(conversations(["plan trip", "book trip now"], ["poem"]), OpenTagger(engine))
    assert engine.asked == 3
    assert [[tag["tag"] for tag in tags] for tags in done["open_tags"]] == [["plan", "trip", "book", "now"], ["poem"]]
    assert done["open_tags"][0][1]["explanation"] == "plan trip"  # of its first turn
    assert done["turn_tags"][:] == [[2, 3], [1]]
    assert done["input"][:] == ["more", "more"]
    assert not any("more" in request.messages[-1].content.rsplit("<query>")[-1] for request in engine.requests)


def test_a_turn_that_fails_counts_for_nothing_and_a_row_without_any_is_rejected():
    done = tag_turns(conversations(["fail", "poem"], ["fail a", "fail b"]), OpenTagger(ScriptedEngine(words)))
    assert done["turn_tags"][:] == [[1], None]
    assert done["rejection"][0] is None
    assert done["rejection"][1]["reason"] == "not_json"
    assert done["rejection"][1]["stage"] == "open_tags"


def test_rejected_rows_are_not_asked_about():
    engine = ScriptedEngine(words)
    done = tag_turns(conversations(["a", "b"], ["c"], marks=[0]), OpenTagger(engine))
    assert engine.asked == 1
    assert done["rejection"][0]["reason"] == "too_long"
    assert done["turn_tags"][:] == [None, [1]]


def test_empty_data_and_missing_columns():
    assert len(tag_turns(conversations(), OpenTagger(ScriptedEngine(words)))) == 0
    with pytest.raises(DataError, match="tag_turns needs the columns history; the data set has: id, instruction"):
        tag_turns(conversations(["a"]).remove_columns("history"), OpenTagger(ScriptedEngine(words)))
