import json

import pytest
from datasets import Dataset
from scripted import ScriptedEngine

from tagevol_hf.formats import prepare
from tagevol_hf.tags.taggers import AspectTagger, OpenTagger

ROWS = [{"messages": [{"role": "user", "content": "First question"}, {"role": "assistant", "content": "Reply"},
                      {"role": "user", "content": "Second question"}]}]  # fmt: skip


def data(rows=ROWS):
    return prepare(Dataset.from_list(rows))


def aspects(*pairs):
    return json.dumps({"aspects": [{"aspect": name, "tags": tags} for name, tags in pairs]})


def test_aspects_are_kept_and_tags_flattened():
    text = aspects(("Required Skill", ["Prime_Numbers", "proof by induction "]), ("Topic", ["prime numbers", "!"]))
    row = AspectTagger(ScriptedEngine(lambda request: text)).apply(data())[0]
    assert row["tags"] == ["prime numbers", "proof by induction"]
    assert row["aspects"] == [
        {"aspect": "required skill", "tags": ["prime numbers", "proof by induction"]},
        {"aspect": "topic", "tags": ["prime numbers"]},
    ]


def test_the_tagger_sees_all_user_turns_and_not_the_input():
    engine = ScriptedEngine(lambda request: aspects(("a", ["b"])))
    AspectTagger(engine).apply(data())
    AspectTagger(engine).apply(data([{"instruction": "Do it", "input": "secret input", "output": "x"}]))
    assert "First question\n\nSecond question" in engine.requests[0].messages[0].content
    assert "Reply" not in engine.requests[0].messages[0].content
    assert "secret" not in engine.requests[1].messages[0].content
    assert engine.requests[0].sampling.temperature == 0.7
    assert engine.requests[0].sampling.max_tokens == 2048


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (aspects(("a", ["..."])), "no_tags"),
        (aspects(), "wrong_schema"),
        (aspects(("a", ["x" * 61])), "wrong_schema"),
        ('["a"]', "wrong_schema"),
        ("tags: a, b", "not_json"),
    ],
)
def test_what_cannot_be_used_has_its_reason(text, reason):
    row = AspectTagger(ScriptedEngine(lambda request: text), attempts=1).apply(data())[0]
    assert row["rejection"]["reason"] == reason


def test_open_tags_keep_the_first_explanation():
    tags = [
        {"tag": "Math", "explanation": " one "},
        {"tag": "math", "explanation": "two"},
        {"tag": "数学", "explanation": ""},
    ]
    row = OpenTagger(ScriptedEngine(lambda request: json.dumps({"tags": tags}))).apply(data())[0]
    assert row["open_tags"] == [{"tag": "math", "explanation": "one"}, {"tag": "数学", "explanation": ""}]


def test_granularity_changes_the_prompt():
    engine = ScriptedEngine(lambda request: json.dumps({"tags": [{"tag": "a", "explanation": ""}]}))
    for granularity in ("coarse", "fine"):
        OpenTagger(engine, granularity=granularity).apply(data())
    coarse, fine = (request.messages[0].content for request in engine.requests)
    assert "labels coarse: " in coarse
    assert "labels fine: " in fine
