import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import ParseError
from tagevol_hf.parsing import (
    JsonSchema,
    checked_value,
    clean_tag,
    fitting,
    has_word,
    json_value,
    object_schema,
    schema_text,
    unique_tags,
)

VALUE = {"tags": ["a", "b"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"tags": ["a", "b"]}',
        '  {"tags": ["a", "b"]}\n',
        '```json\n{"tags": ["a", "b"]}\n```',
        '```\n{"tags": ["a", "b"]}\n```\nDone.',
        'Here are my tags [1]: {"tags": ["a", "b"]} I hope this helps.',
        '{"tags": ["a", "b",],}',
        "{“tags”: [“a”, “b”]}",
    ],
)
def test_reads_json_in_the_forms_that_models_write(text):
    assert json_value(text) == VALUE


def test_keeps_raw_control_characters_and_commas_inside_strings():
    assert json_value('{"a": "one,\n]two\t, }"}') == {"a": "one,\n]two\t, }"}
    assert json_value('{"a": "x,]", "b": [1,],}') == {"a": "x,]", "b": [1]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_reply"),
        (" \n", "empty_reply"),
        ("I cannot do that.", "not_json"),
        ('{"tags": ["a", "b', "not_json"),
        ("42", "not_json"),
        ('{"a": NaN}', "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"a":' * 5_000, "not_json"),
    ],
)
def test_what_cannot_be_read_has_a_reason(text, reason):
    with pytest.raises(ParseError) as fault:
        json_value(text)
    assert fault.value.reason == reason


def test_a_cut_off_object_is_not_completed():
    with pytest.raises(ParseError, match="not_json"):
        json_value('{"tags": ["a", "b"], "final": "the text ends he')


def test_schema_faults_name_the_place():
    schema = object_schema("t", {"n": {"type": "array", "items": {"type": "integer", "maximum": 3}}})
    assert checked_value('{"n": [1, 3]}', schema) == {"n": [1, 3]}
    with pytest.raises(ParseError, match=r"wrong_schema: n/1: .*maximum of 3"):
        checked_value('{"n": [1, 4]}', schema)
    with pytest.raises(ParseError, match="wrong_schema"):
        checked_value('{"m": []}', schema)


def test_tags_are_cleaned_and_distinct():
    assert clean_tag("  Prime_Numbers. ") == "prime numbers"
    assert clean_tag("ﬁnance") == "finance"
    tags = unique_tags(["SQL", "sql", "", "…", "Straße", "数学", "data_base", "Data base"])
    assert tags == ["sql", "straße", "数学", "data base"]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list('{}[]",:\\ntrue1“”`\n\x00é')), max_size=60))
def test_any_text_gives_a_value_or_a_parse_error(text):
    def outcome():
        try:
            return json_value(text)
        except ParseError as fault:
            return fault.reason

    assert isinstance(outcome(), dict | list) or outcome() in ("not_json", "empty_reply")


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_what_json_writes_is_read_back(value):
    assert json_value(json.dumps({"value": value})) == {"value": value}


def test_a_whole_with_a_trailing_comma_goes_before_its_parts():
    assert json_value('{"1": ["a"], "2": ["b"],}') == {"1": ["a"], "2": ["b"]}
    assert json_value('```json\n{"1": ["a"], "2": ["b", ], }\n``` and more') == {"1": ["a"], "2": ["b"]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1} or {"longer": 22}', {"longer": 22}),
        ('{"longer": 22} or {"a": 1}', {"longer": 22}),
        ('say {"a": 1} {"b": 2}', {"a": 1}),  # of equal ones the first
        ('say [{"a": 1} oops', {"a": 1}),
        ('say [{"a": 1}, NaN] oops', {"a": 1}),
        ('say {"a": 1} ' + "[" * 100_000, {"a": 1}),
        ('say {"a": 1} {"b": "cut o', {"a": 1}),
        ('["a", "b",]', ["a", "b"]),
    ],
)
def test_the_longest_whole_value_counts(text, value):
    assert json_value(text) == value


@pytest.mark.parametrize("text", ['{"x": {"y": 1}, "z":', 'so: {"x": {"y": 1}, "z": [', '[{"y": 1}, "cut'])
def test_a_part_of_what_was_cut_off_is_not_the_answer(text):
    with pytest.raises(ParseError, match="not_json"):
        json_value(text)


@pytest.mark.parametrize(("size", "shown"), [(120, "x" * 120), (121, "x" * 120 + "…"), (400, "x" * 120 + "…")])
def test_a_reply_that_is_not_json_is_shown_up_to_120_characters(size, shown):
    with pytest.raises(ParseError) as fault:
        json_value("x" * size)
    assert fault.value.detail == f"no JSON object or array in {shown!r}"
    with pytest.raises(ParseError) as fault:
        json_value("two\n  lines")
    assert fault.value.detail == "no JSON object or array in 'two lines'"


def test_a_value_that_the_validator_cannot_take_is_a_wrong_one():
    with pytest.raises(ParseError) as fault:
        fitting({"n": "\ud800"}, {"type": "object", "properties": {"n": {"enum": [1]}}})
    assert fault.value.reason == "wrong_schema"
    assert fault.value.detail.startswith("\"'utf-8' codec can't encode character")
    with pytest.raises(ParseError) as fault:
        fitting([], {"type": "object"})
    assert (fault.value.reason, fault.value.detail) == ("wrong_schema", "the reply: '[] is not of type \"object\"'")


def test_an_objects_schema_demands_each_property_and_no_other():
    schema = object_schema("t", {"a": {"type": "integer"}})
    assert schema == {
        "title": "t",
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    for text in ("{}", '{"a": 1, "b": 2}', "[]"):
        with pytest.raises(ParseError, match="wrong_schema"):
            checked_value(text, schema)


def test_equal_schemas_have_one_text_which_is_made_once():
    schema = JsonSchema(b={"y": "é", "x": 1}, a=2)
    assert schema_text(schema) == '{"a":2,"b":{"x":1,"y":"é"}}' == schema_text({"a": 2, "b": {"x": 1, "y": "é"}})
    assert schema_text(schema) is schema_text(schema)


def test_a_tag_has_a_letter_or_a_digit_somewhere():
    assert [has_word(tag) for tag in ("a", "7", "+a", "数", "+-", "", "…")] == [True] * 4 + [False] * 3
