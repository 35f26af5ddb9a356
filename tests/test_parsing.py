import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import ParseError
from tagevol_hf.parsing import checked_value, clean_tag, json_value, object_schema, unique_tags

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
