"""Names of engines: what is one, and what is said of the others."""

import pytest

from tagevol_hf.engines.kinds import IN_MEMORY, KINDS, check_name, kind_of
from tagevol_hf.errors import EngineError

GOOD = [
    *("builtin", " builtin ", "vllm:Qwen/Qwen2.5-7B-Instruct?tensor_parallel_size=2", "vllm-serve:m", "transformers:m"),
    *("http://localhost:8000/v1#m", "http://a/v1,http://b/v1#m?timeout=5", "batch:https://api.example.org/v1#m"),
]


@pytest.mark.parametrize("spec", GOOD)
def test_names_that_engines_can_be_made_of(spec):
    check_name(spec)


@pytest.mark.parametrize("spec", ["http://h:1/v1?timeout=5&retries=2#m", "http://h:1/v1?timeout=5#m?retries=2"])
def test_options_of_a_server_stand_before_or_behind_its_model(spec):
    engine = kind_of(spec).make(spec, None)
    assert repr(engine.__reduce__()[0].args) == "(['http://h:1/v1'], 'm')"
    given = engine.__reduce__()[0].keywords
    assert (given["timeout"], given["retries"]) == (5, 2)


def test_a_name_belongs_to_one_kind():
    begun = [begin for kind in KINDS for begin in kind.begins]
    assert [kind_of(f"{begin}x" if begin != "builtin" else begin).begins.count(begin) for begin in begun] == [1] * 7
    assert IN_MEMORY == ("vllm:", "vllm-serve:", "transformers:")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("builtn", "engine 'builtn': is not an engine; did you mean \"builtin\"?"),
        ("builtin2", "engine 'builtin2': is not an engine; did you mean \"builtin\"?"),
        ("vlm:Qwen/Q", "engine 'vlm:Qwen/Q': is not an engine; did you mean \"vllm:Qwen/Q\"?"),
        ("htp://h:1/v1#m", "engine 'htp://h:1/v1#m': is not an engine; did you mean \"http://h:1/v1#m\"?"),
        ("gpt-7", "engine 'gpt-7': expected builtin (rules, no language model), vllm:MODEL[?option=value&…], "),
        ("vllm:?max_model_len=5", "engine 'vllm:': no model is named; expected vllm:MODEL, a Hub id or a folder"),
        ("http://h:1/v1#m?tiemout=5", "engine 'http://h:1/v1': 'tiemout' is not an option; did you mean \"timeout\"?"),
        ("http://h:1/v1?timeout=5#m?timeout=6", "option 'timeout' is given twice; keep one"),
        ("batch:https://h/v1", "batch"),
    ],
)
def test_names_that_none_can_be_made_of(spec, said):
    with pytest.raises(EngineError) as error:
        check_name(spec)
    assert said in str(error.value)
