"""What is wrong with a recipe's file is said in the user's words, before anything is asked."""

import re

import pytest
from run_folders import ROOT

from tagevol_hf.errors import RecipeError
from tagevol_hf.recipe_file import load_recipe

GOOD = "name: small\ndata: {source: none.jsonl}\nengines: {default: 'ENGINE'}\nsteps: [respond: {}]\n"


def fault_of(folder, text, *overrides):
    file = folder / "mine.yaml"
    file.write_text(text) if isinstance(text, str) else file.write_bytes(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, overrides)
    said = str(caught.value).replace(str(file), "mine.yaml")
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("steps", "stpes"), 'mine.yaml: stpes is not a field of a recipe; did you mean "steps"?'),
        (
            "# nothing\n",
            "mine.yaml: the file is empty; a recipe holds name, data, engines, steps: see "
            "recipes/quickstart/curate.yaml",
        ),
        (
            (ROOT / "recipes/quickstart/sft-tiny.yaml").read_text(),
            "mine.yaml: this is a training recipe, not one to curate by; it is taken by: "
            "tagevol train RUN --sft mine.yaml",
        ),
        (
            (ROOT / "recipes/quickstart/study.yaml").read_text(),
            "mine.yaml: this is a study, not one recipe; it is taken by: tagevol compare mine.yaml",
        ),
        ("name: a: b\n", "mine.yaml: not valid YAML (line 1, column 8: mapping values are not allowed here)"),
        (b"name: \xff\n", "mine.yaml: not UTF-8 text (byte 6); save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, text, said):
    assert fault_of(tmp_path, text) == said


def test_a_control_character_is_told_with_its_place(tmp_path):
    said = fault_of(tmp_path, "name: \x07\n")
    assert "position 6" in said
    assert "<unicode string>" not in said


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("buitin", "engine 'buitin': is not an engine; did you mean \"builtin\"?"),
        (
            "vlm:Qwen/Qwen2.5-7B",
            "engine 'vlm:Qwen/Qwen2.5-7B': is not an engine; did you mean \"vllm:Qwen/Qwen2.5-7B\"?",
        ),
        ("gpt-9", "engine 'gpt-9': expected builtin (rules"),
        ("vllm:", "engine 'vllm:': no model is named; expected vllm:MODEL"),
        ("vllm:M?dtype", "engine 'M': option 'dtype' has no value; expected dtype=VALUE"),
        ("http://h/v1?retrys=2#m", "'retrys' is not an option; did you mean \"retries\"?"),
        ("http:///v1#m", "expected http(s)://HOST:PORT/v1"),
        ("batch:https://h/v1", "no model is named; expected batch:https://h/v1#MODEL"),
    ],
)
def test_a_misspelt_engine_is_found_when_the_recipe_is_read(tmp_path, engine, said):
    assert fault_of(tmp_path, GOOD.replace("ENGINE", engine)).startswith("mine.yaml: engines.default: ")
    assert said in fault_of(tmp_path, GOOD.replace("ENGINE", engine))
    assert said in fault_of(tmp_path, GOOD.replace("ENGINE", "builtin"), f"engines.respond='{engine}'")


@pytest.mark.parametrize(
    "engine",
    [
        "builtin",
        "vllm:/no/such/folder?tensor_parallel_size=4",
        "transformers:me/none",
        "http://127.0.0.1:9/v1,http://b/v1",
    ],
)
def test_an_engine_is_neither_started_nor_looked_for(tmp_path, engine):
    (tmp_path / "mine.yaml").write_text(GOOD.replace("ENGINE", engine))
    assert load_recipe(tmp_path / "mine.yaml").engine("respond") == engine


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("recipes/quickstar", "recipes/quickstart"),
        ("recipes/tacos/alpaca52k", "recipes/tacos/alpaca-52k"),
        ("recipes/tag-evol/math/evol_instruct.yaml", "recipes/tag-evol/math/evol-instruct.yaml"),
    ],
)
def test_a_misspelt_recipe_of_the_project_is_named(given, meant):
    with pytest.raises(RecipeError, match=rf"{re.escape(given)}: no such recipe; did you mean {re.escape(meant)}\?"):
        load_recipe(given)


def test_a_fault_of_the_command_line_is_told_with_its_key_but_not_its_value(tmp_path):
    said = fault_of(tmp_path, GOOD.replace("ENGINE", "builtin"), "engines.default=vlm:m", "respond.attempts=2")
    assert said.startswith("mine.yaml with --set engines.default, respond.attempts: engines.default: engine 'vlm:m'")
    said = fault_of(tmp_path, GOOD, "engines.default=http://me:secret@host/v1#m")
    assert "secret" not in said
