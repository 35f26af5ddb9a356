import json
import pickle

import pytest
from datasets import Dataset
from scripted import ScriptedEngine

from tagevol_hf.errors import DataError
from tagevol_hf.formats import prepare
from tagevol_hf.rows import split_rejected
from tagevol_hf.tags.pool import TagPool
from tagevol_hf.tags.taggers import AspectFiller, AspectNamer, AspectTagger, OpenTagger, flat_aspects

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
    assert "prefer the common name" in coarse
    assert "labels fine: " in fine
    assert "prefer the common name" not in fine


def test_a_granularity_that_is_none():
    with pytest.raises(ValueError, match=r"open_tags\.granularity: expected coarse or fine, got 'medium'"):
        OpenTagger(ScriptedEngine(lambda request: ""), granularity="medium")


def test_a_prompt_of_ones_own_goes_before_the_granularity(tmp_path):
    (tmp_path / "mine.txt").write_text("Label it.\n=== row ===\n<query>\n{{instruction}}\n</query>\n")
    engine = ScriptedEngine(lambda request: json.dumps({"tags": [{"tag": "a", "explanation": ""}]}))
    OpenTagger(engine, prompt=tmp_path / "mine.txt", granularity="fine").apply(data())
    assert engine.requests[0].messages[0].content.startswith("Label it.\n")


FACTS = [
    {"instruction": f"Question {number} about tides, please", "input": "secret", "output": "x"} for number in range(6)
]


def two_calls(request):
    """Two aspects for the even questions, one for the odd; tags that name question and aspect."""
    number = int(request.messages[-1].content.rpartition("Question ")[2].split()[0])
    names = ["Field of Knowledge", "skill"][: 2 - number % 2]
    if request.schema["title"] == "name_aspects":
        return json.dumps({"aspects": names})
    return json.dumps({str(place): [f"Tag_{number} of {name}"] for place, name in enumerate(names, 1)})


def test_aspects_first_then_the_tags_under_each():
    engine = ScriptedEngine(two_calls)
    named = AspectNamer(engine).apply(data(FACTS))
    assert named[0]["aspect_names"] == ["field of knowledge", "skill"]
    filled = AspectFiller(engine).apply(named)
    assert filled[0]["aspects"] == [
        {"aspect": "field of knowledge", "tags": ["tag 0 of field of knowledge"]},
        {"aspect": "skill", "tags": ["tag 0 of skill"]},
    ]
    assert filled[1]["tags"] == ["tag 1 of field of knowledge"]
    assert engine.asked == 12
    assert TagPool.from_dataset(filled).aspects["tag 2 of skill"] == {"skill": 1}


def test_the_second_call_has_one_schema_for_each_number_of_aspects():
    engine = ScriptedEngine(two_calls)
    AspectFiller(engine, max_tags=5).apply(AspectNamer(engine, max_aspects=3).apply(data(FACTS)))
    first, second = engine.requests[:6], engine.requests[6:]
    assert len({id(request.schema) for request in first}) == 1
    assert first[0].schema["properties"]["aspects"]["maxItems"] == 3
    assert len({id(request.schema) for request in second}) == 2
    assert {tuple(request.schema["required"]) for request in second} == {("1",), ("1", "2")}
    assert second[0].schema["properties"]["1"]["maxItems"] == 5


def test_both_calls_share_their_beginning_and_see_no_input():
    engine = ScriptedEngine(two_calls)
    AspectFiller(engine).apply(AspectNamer(engine).apply(data(FACTS)))
    for requests in (engine.requests[:6], engine.requests[6:]):
        texts = [request.messages[-1].content for request in requests]
        assert len({text.partition("<instruction>\n")[0] for text in texts}) == 1
        assert not any("secret" in text or "{{" in text for text in texts)
    assert texts[0].endswith("<aspects>\n1. field of knowledge\n2. skill\n</aspects>")
    assert "between 1 and 8" in texts[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"aspects": ["..."]}', "no_tags"),
        ('{"aspects": []}', "wrong_schema"),
        ('{"aspects": ["a", "b", "c", "d", "e", "f", "g"]}', "wrong_schema"),
        ('{"aspects": "skill"}', "wrong_schema"),
        ("skill, field", "not_json"),
        ("", "empty_reply"),
    ],
)
def test_aspects_that_cannot_be_used(text, reason):
    row = AspectNamer(ScriptedEngine(lambda request: text), attempts=1).apply(data())[0]
    assert (row["rejection"]["stage"], row["rejection"]["reason"]) == ("name_aspects", reason)
    assert row["aspect_names"] is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"1": ["!"], "2": ["?"]}', "no_tags"),
        ('{"1": ["a"]}', "wrong_schema"),
        ('{"1": ["a"], "2": ["b"], "3": ["c"]}', "wrong_schema"),
        ('{"skill": ["a"], "field": ["b"]}', "wrong_schema"),
        ('{"1": [], "2": ["b"]}', "wrong_schema"),
        ('{"1": "a", "2": "b"}', "wrong_schema"),
        ('[["a"], ["b"]]', "wrong_schema"),
        ("1. a 2. b", "not_json"),
    ],
)
def test_tags_under_aspects_that_cannot_be_used(text, reason):
    named = data().add_column("aspect_names", [["skill", "field"]])
    row = AspectFiller(ScriptedEngine(lambda request: text), attempts=1).apply(named)[0]
    assert (row["rejection"]["stage"], row["rejection"]["reason"]) == ("aspect_tags", reason)
    assert (row["aspects"], row["tags"]) == (None, None)


def test_an_aspect_without_a_usable_tag_is_left_out():
    named = data().add_column("aspect_names", [["skill", "field"]])
    text = 'Here it is:\n```json\n{"1": ["."], "2": ["Sea_tides"]}\n```'
    row = AspectFiller(ScriptedEngine(lambda request: text)).apply(named)[0]
    assert (row["aspects"], row["tags"]) == ([{"aspect": "field", "tags": ["sea tides"]}], ["sea tides"])


def test_a_row_that_the_first_call_lost_is_not_asked_again():
    def answer(request):
        return "" if "Question 2" in request.messages[-1].content else two_calls(request)

    engine = ScriptedEngine(answer)
    named = AspectNamer(engine, attempts=1).apply(data(FACTS))
    asked = engine.asked
    good, lost = split_rejected(AspectFiller(engine).apply(named))
    assert (len(good), len(lost), engine.asked - asked) == (5, 1, 5)
    assert (lost[0]["rejection"]["stage"], lost[0]["tags"]) == ("name_aspects", None)


def test_the_second_call_needs_the_first():
    with pytest.raises(DataError, match="aspect_tags needs the column aspect_names"):
        AspectFiller(ScriptedEngine(two_calls)).apply(data(FACTS))


@pytest.mark.parametrize("kind", [AspectNamer, AspectFiller, OpenTagger])
def test_they_pickle_to_their_specification(kind, tmp_path):
    from tagevol_hf.engines.open import open_engine

    stage = kind(open_engine("builtin", store=tmp_path / "s.sqlite"), temperature=0.2)
    again = pickle.loads(pickle.dumps(stage))
    assert again.spec() == stage.spec()
    assert again.request(row := {"id": "a", "instruction": "x", "aspect_names": ["y"]}) == stage.request(row)


def test_open_tags_go_where_aspects_are_expected():
    tagged = Dataset.from_list([
        {"id": "a", "open_tags": [{"tag": "math", "explanation": "x"}, {"tag": "prime numbers", "explanation": ""}]},
        {"id": "b", "open_tags": None},
        {"id": "c", "open_tags": [{"tag": "math", "explanation": "y"}]},
    ])  # fmt: skip
    flat = flat_aspects(tagged)
    assert flat["tags"][:] == [["math", "prime numbers"], None, ["math"]]
    assert flat["aspects"][0] == [{"aspect": "", "tags": ["math", "prime numbers"]}]
    assert flat["aspects"][1] is None
    assert TagPool.from_dataset(flat).aspects == {"math": {"": 2}, "prime numbers": {"": 1}}
    assert flat.features["aspects"] == AspectTagger.features["aspects"]
    with pytest.raises(DataError, match=r"flat_aspects needs the column open_tags; .* apply OpenTagger first"):
        flat_aspects(data())


@pytest.mark.slow
def test_both_calls_on_real_vllm(vllm_engine):
    options = {"attempts": 1, "max_tokens": 900}
    named = AspectNamer(vllm_engine, max_aspects=3, **options).apply(data(FACTS))
    good, lost = split_rejected(AspectFiller(vllm_engine, max_tags=2, **options).apply(named))
    assert len(good) + len(lost) == len(FACTS)
    assert {row["rejection"]["reason"] for row in lost} <= {"no_tags", "truncated"}  # the form always holds
    assert len(good) > 0
    for row in good:
        assert {part["aspect"] for part in row["aspects"]} <= set(row["aspect_names"])
        assert all(1 <= len(part["tags"]) <= 2 for part in row["aspects"])
