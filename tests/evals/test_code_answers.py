"""Programs in answers: blocks, prose, continued functions."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.evals.code_answers import called, completed, program_of

ADD = "def add(a, b):\n    return a + b"
WRONG = "def add(a, b):\n    return a - b"
HELPER, HELPED = "def helper(a, b):\n    return a + b", "def add(a, b):\n    return helper(a, b)"
DOCUMENTED = 'def add(a, b):\n    """As in:\n\n    >>> add(1, 2)\n    """\n    return a + b'
INDENTED = ADD.replace("\n", "\n   ")
PROMPT = 'from typing import List\n\n\ndef add(a, b):\n    """Add two numbers.\n\n    >>> add(1, 2)\n    3\n    """\n'


def fenced(code, language="python"):
    return f"```{language}\n{code}\n```"


def works(program, name="add"):
    space = {}
    exec(program, space)  # of this file's own text
    return space[name](2, 3) == 5


@pytest.mark.parametrize(
    "answer",
    [
        ADD,
        fenced(ADD),
        fenced(ADD, ""),
        fenced(ADD, "Python"),
        fenced(ADD).replace("```", "~~~"),
        fenced(ADD).replace("\n", "\r\n"),
        f"Here it is:\n\n{fenced(ADD)}\n\nThis adds two numbers.",
        f"Here it is:\n\n```python\n{ADD}",
        f"Here it is.\n\n{ADD}\n\nThis works because adding is simple.",
        f"Sure!\n{ADD}\nDone",
        f"First try:\n{fenced(WRONG)}\nThat is wrong. Better:\n{fenced(ADD)}",
        f"{fenced(ADD)}\nUse it so:\n{fenced('print(add(1, 2))')}\nIt prints:\n{fenced('3', 'text')}",
        f"Install it:\n{fenced('pip install add', 'bash')}\n{fenced(ADD)}",
        f"{fenced(HELPER)}\nand\n{fenced(HELPED)}",
        f"1. Like this:\n   ```python\n   {INDENTED}\n   ```",
        f"<think>maybe {fenced(WRONG)}</think>\n{fenced(ADD)}",
        fenced("add = lambda a, b: a + b"),
        "add = lambda a, b: a + b",
        "MAX = 5\n" + ADD,
        "MAX=5\n" + ADD,
        fenced(DOCUMENTED),
        "The limit is x = y here.\n\n" + ADD,
    ],
)
def test_the_program_is_found(answer):
    assert works(program_of(answer, ("add",)))


@pytest.mark.parametrize(
    "answer",
    [
        "    return a + b",
        "    return a + b\n\n\ndef main():\n    print(add(input(), 1))\n\nmain()",
        "    return a + b\n# Test\nassert add(1, 1) == 3",
        "return a + b",
        "total = a\n    total += b\n    return total",
        "total = a\ntotal += b\nreturn total",
        fenced("    return a + b"),
        fenced("return a + b"),
        "Fill in the body:\n" + fenced("total = a\ntotal += b\nreturn total"),
        fenced(ADD),
        fenced("def add(a: int, b: List[int]):\n    return a + b"),
        fenced(PROMPT + "    return a + b"),
        PROMPT + "    return a + b",
        "from __future__ import annotations\n" + ADD,
        "    if a:\n        return a + b\n\n    return b\n```\n\nExplanation: it adds.",
        "\treturn a + b",
    ],
)
def test_a_function_is_completed(answer):
    program = completed(PROMPT, "add", answer)
    assert works(program)


@pytest.mark.parametrize(
    "answer", ["", "  \n", "I cannot do that.", "Let us think: adding is easy, isn't it?", "```\n```"]
)
def test_no_code(answer):
    assert program_of(answer, ("add",)) is None
    assert completed(PROMPT, "add", answer) is None


def test_broken_code_is_handed_on():
    assert "return a +" in program_of(fenced("def add(a, b):\n    return a +"), ("add",))
    assert "return a +" in completed(PROMPT, "add", fenced("def add(a, b):\n    return a +"))
    assert "return a +" in program_of("So:\ndef add(a, b):\n    return a +", ("add",))


def test_names_that_tests_call():
    assert called("assert add(1, len([2])) == 3\nassert set(mul(2, 3)) == {x.f()}") == ("add", "mul")
    assert called("assert (") == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 100_000,
        "a." * 50_000,
        "def f(:\n" * 12_000,
        "x = 1\n" * 16_000,
        "```" * 33_000,
        "\0" * 100_000,
        "def add(a):\n    " + "(" * 99_000,
        "    " * 25_000,
        "x = " + "1+" * 50_000 + "1",
        "```python\n" * 9_000,
    ],
)
def test_long_and_odd_texts_are_read_in_time(text):
    for found in (program_of(text, ("add",)), completed(PROMPT, "add", text)):
        assert found is None or isinstance(found, str)


@given(st.text(alphabet="`~\n deflambd():=x'\"\\#python\t", max_size=120) | st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read(text):
    program_of(text, ("add",))
    found = completed(PROMPT, "add", text)
    assert found is None or "def add" in found


@given(st.lists(st.sampled_from(["x = 1", "import math", "def add(a, b):\n    return a + b"]), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_fence_changes_nothing(statements):
    code = "\n".join(statements)
    assert ast.dump(ast.parse(program_of(fenced(code), ()))) == ast.dump(ast.parse(code))
