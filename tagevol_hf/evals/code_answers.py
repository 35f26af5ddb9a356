"""The program in a model's answer: fenced blocks, code among prose, or what continues a function.

Nothing is run here. What cannot be parsed as Python is handed on where a block says that it is code, so that it is
counted as an error, not as no answer.
"""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import islice
from textwrap import dedent, indent

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+.#-]*)[^\n`]*$")
_PYTHON = frozenset({"", "python", "python3", "py", "py3", "python2", "pycon", "ipython"})
_STARTS = re.compile(r"^(?:def |class |import |from \w|async def |@\w|\w+ *=[^=])", re.MULTILINE)
_AFTER_BODY = re.compile(r"^\S", re.MULTILINE)
_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL)
_OF_PYTHON = frozenset(dir(builtins))
_FIRSTS = 3  # how many beginnings of code are tried
_CUTS = 8  # how often the end of code is looked for
_BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign)


def program_of(answer: str, names: Collection[str]) -> str | None:
    """The program in an answer: the last block that defines one of the names, after the definitions before it.

    Without such a block: the last block of Python; without blocks: the code among the prose.

    Args:
        answer: What the model said.
        names: What the program must define: the functions that its tests call. May be empty.

    Returns:
        None where there is no code.
    """
    answer = _THOUGHT.sub("", answer)
    blocks = [block for block in _blocks(answer) if block.strip()]
    for number in reversed(range(len(blocks))):
        if not names or _defines(blocks[number], names):
            return _with_earlier(blocks[:number], blocks[number])
    return blocks[-1] if blocks else _among_prose(answer, names)


def completed(prompt: str, entry: str, answer: str) -> str | None:
    """The program that an answer makes of the beginning of a function.

    The answer may hold the whole function, which then follows the prompt for the sake of its imports and helpers, or
    the rest of its body, fenced or not, with or without the first line's indentation.

    Args:
        prompt: Code that ends with the head of the function `entry` and its docstring.
        entry: The function's name.
        answer: What the model said.

    Returns:
        None where there is no code.
    """
    answer = _THOUGHT.sub("", answer)
    if answer[:1] in (" ", "\t") and (program := _continued(prompt, answer)):
        return program
    program = program_of(answer, (entry,))
    if program is not None and _defines(program, (entry,)):
        return program if "from __future__" in program else f"{prompt.rstrip()}\n    pass\n\n{program}"
    blocks = [block for block in _blocks(answer) if block.strip()]
    for text in blocks or [answer]:
        if found := _continued(prompt, text):
            return found
    return f"{prompt.rstrip()}\n    pass\n\n{program}" if program is not None else None


def called(tests: str) -> tuple[str, ...]:
    """Names of functions that tests call, without those of Python itself and without methods."""
    tree = _tree(tests)
    if tree is None:
        return ()
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = dict.fromkeys(call.id for call in calls if isinstance(call, ast.Name))
    return tuple(name for name in names if name not in _OF_PYTHON)


def _blocks(answer: str) -> Iterator[str]:
    """Blocks of Python; those of other languages, and blocks of a shell's output, are left out."""
    lines: list[str] = []
    fence, wanted = "", False
    for line in answer.splitlines():
        match = _FENCE.match(line)
        if match and not fence:
            fence, wanted, lines = match.group(1), match.group(2).lower() in _PYTHON, []
        elif match and line.strip().startswith(fence) and not match.group(2):
            if wanted:
                yield dedent("\n".join(lines))
            fence = ""
        elif fence:
            lines.append(line)
    if fence and wanted:  # the answer was cut off
        yield dedent("\n".join(lines))


def _with_earlier(earlier: list[str], block: str) -> str:
    trees = [tree for text in earlier if (tree := _tree(text)) is not None]
    kept: list[ast.stmt] = [node for tree in trees for node in tree.body if isinstance(node, _DEFINITIONS)]
    if not kept or "from __future__" in block:
        return block
    try:
        return f"{ast.unparse(ast.Module(kept, []))}\n\n{block}"
    except _BROKEN:
        return block


def _among_prose(answer: str, names: Collection[str]) -> str | None:
    """From the first line that looks like code and parses, to the last that does; best if it defines a name."""
    if _tree(answer) is not None and _defines(answer, names):
        return answer
    broken = other = None
    for start in _starts(answer, names):
        text = answer[start:]
        found = _longest(text)
        if found is not None and (not names or _defines(found, names)):
            return found
        other = other or found
        if broken is None and _tree(text) is None and _defines(text, names):
            broken = text
    return broken or other


def _starts(answer: str, names: Collection[str]) -> list[int]:
    firsts = [match.start() for match in islice(_STARTS.finditer(answer), _FIRSTS)]
    definitions = [match.start() for name in names if (match := _definition(name).search(answer))]
    return sorted({*firsts, *definitions[:_FIRSTS]})


def _definition(name: str) -> re.Pattern[str]:
    return re.compile(rf"^(?:async )?(?:def|class) {re.escape(name)}\b", re.MULTILINE)


def _longest(text: str) -> str | None:
    """The text up to where Python no longer understands it; None where that leaves no definition."""
    lines = text.splitlines()
    for _ in range(_CUTS):
        tree, wrong = _parsed("\n".join(lines))
        if tree is not None:
            last = max((node.end_lineno or 0 for node in tree.body if isinstance(node, _DEFINITIONS)), default=0)
            return "\n".join(lines[:last]) if last else None
        if not 1 < wrong <= len(lines):
            return None
        lines = lines[: wrong - 1]
    return None


def _continued(prompt: str, text: str) -> str | None:
    """The prompt and the text as the rest of its function's body; None where that is no Python."""
    text = text.rstrip()
    if not text.strip():
        return None
    for body in _bodies(text):
        program = f"{prompt.rstrip()}\n{body.rstrip()}\n"
        if body.strip() and _compiles(program):
            return program
    return None


def _bodies(text: str) -> Iterator[str]:
    """The text up to the first line that is not indented; or with the indentation that its first line, or all, lost."""
    end = _AFTER_BODY.search(text, 1)
    body = text[: end.start()] if end else text
    if text[:1].isspace():
        yield body
        yield body.expandtabs(4)
    else:
        yield indent(text, "    ")
        yield "    " + body


def _compiles(program: str) -> bool:
    """Unlike parsing, this refuses a `return` outside a function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(program, "program", "exec", dont_inherit=True)
    except _BROKEN:
        return False
    return True


def _defines(text: str, names: Collection[str]) -> bool:
    tree = _tree(text)
    if tree is None:
        return any(_definition(name).search(text) for name in names)
    return any(name in names for node in tree.body for name in _defined(node))


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name for alias in node.names)


def _tree(text: str) -> ast.Module | None:
    return _parsed(text)[0]


@lru_cache(maxsize=2)
def _parsed(text: str) -> tuple[ast.Module | None, int]:
    """The parsed text, or None and the line that is wrong, from 1; 0 where no line is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings, which are the answer's own
            return ast.parse(text), 0
    except _BROKEN as error:
        return None, getattr(error, "lineno", None) or 0
