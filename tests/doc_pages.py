"""Reads a page of the documentation into blocks, and runs them in their order as a reader would.

How a page marks what is not simply run: `<!-- not run: REASON -->`, `<!-- exit 3 -->` or `<!-- prints -->` on the line
before a block. A block with a title is a file; `text` without a title is only shown.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import typer.main
import yaml
from markdown_it import MarkdownIt

from tagevol_hf.cli import app
from tagevol_hf.errors import RecipeError
from tagevol_hf.project import project_file

ROOT = Path(__file__).parent.parent
SHOWN = {"text", "", "console", "css", "html"}
RUN = {"sh", "python", "yaml", "json", "jsonl"}
_LIMIT = 240  # seconds of a block


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, title, text and line, and the comment before it."""

    language: str
    title: str
    text: str
    line: int
    comment: str = ""


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    found, comment = [], ""
    for token in MarkdownIt().parse(page):
        if token.type == "fence":
            language, _, rest = token.info.strip().partition(" ")
            title = re.search(r'title="([^"]+)"', rest)
            line = (token.map or [0])[0] + 1
            found.append(Block(language, title[1] if title else "", token.content, line, comment))
        marked = re.fullmatch(r"<!-- (.*?) -->", token.content.strip()) if token.type == "html_block" else None
        comment = marked[1] if marked else ""
    return found


def run_page(page: str, folder: Path) -> None:
    """Run the blocks of a page in a folder.

    Raises:
        AssertionError: With the line of the block that did not do what the page says.
    """
    names: dict[str, object] = {"__name__": "__page__"}
    said = ""
    for block in blocks_of(page):
        where = f"line {block.line}: "
        kind, _, rest = block.comment.partition(":")
        if kind == "not run":
            assert rest.strip(), f"{where}a block that is not run says why"
            check_unrun(block, where)
        elif block.comment == "prints":
            _check_printed(block.text, said, where)
        elif block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language not in SHOWN:
            assert block.language in RUN, f"{where}a block of {block.language!r} is not known"
            said = _run(block, folder, names, where)


def _run(block: Block, folder: Path, names: dict[str, object], where: str) -> str:
    if block.language == "sh":
        return _shell(block, folder, where)
    if block.language == "python":
        return _python(block, folder, names, where)
    list(yaml.safe_load_all(block.text))  # JSON is YAML, too
    return ""


def _shell(block: Block, folder: Path, where: str) -> str:
    exit_code = int(block.comment.removeprefix("exit ")) if block.comment.startswith("exit ") else 0
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=_surroundings(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    assert done.returncode == exit_code, f"{where}exit status {done.returncode}\n{block.text}\n{done.stdout[-3000:]}"
    return done.stdout


def _surroundings(folder: Path) -> dict[str, str]:
    """`tagevol` and `python` as if the package were installed, offline, in a terminal of 100 columns."""
    programs = folder.parent / f"{folder.name}-programs"
    if not programs.exists():
        programs.mkdir()
        for name, text in {
            "tagevol": f'exec {shlex.quote(sys.executable)} -c "from tagevol_hf.cli import main; main()" "$@"',
            "python": f'exec {shlex.quote(sys.executable)} "$@"',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(stat.S_IRWXU)
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    library = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PATH": path, "PYTHONPATH": library, "COLUMNS": "100", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}


def _python(block: Block, folder: Path, names: dict[str, object], where: str) -> str:
    said, before = io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said):
            exec(compile("\n" * block.line + block.text, "page", "exec"), names)
    except Exception as fault:
        raise AssertionError(f"{where}{type(fault).__name__}: {fault}\n{block.text}") from fault
    finally:
        os.chdir(before)
    return said.getvalue()


def _check_printed(text: str, said: str, where: str) -> None:
    """Each shown line stands in what the block before printed; `…` stands for anything."""
    plain = " ".join(said.split())
    for line in filter(None, map(str.strip, text.splitlines())):
        pattern = ".*?".join(re.escape(" ".join(part.split())) for part in line.split("…"))
        assert re.search(pattern, plain), f"{where}the page shows {line!r}, the block before said:\n{said[-3000:]}"


def check_unrun(block: Block, where: str) -> None:
    """What can be said of a block that is not run: it compiles, and its commands, options and recipes are there."""
    if block.language == "python":
        compile(block.text, "page", "exec")
    if block.language != "sh":
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["tagevol"]:
            _check_command(words[1:], where)
        for word in words:
            if word.startswith("recipes/"):
                _check_there(word, where)


def _check_there(recipe: str, where: str) -> None:
    try:
        project_file(recipe)
    except RecipeError as fault:
        raise AssertionError(f"{where}there is no {recipe}") from fault


def _check_command(words: list[str], where: str) -> None:
    command = typer.main.get_command(app)  # of the click that Typer brings or takes
    context = command.context_class(command, info_name="tagevol")
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"{where}tagevol has no command {words[0]!r}"
        command, words = found, words[1:]
        context = command.context_class(command, parent=context, **command.context_settings)
    try:
        command.make_parser(context).parse_args(list(words))
    except Exception as fault:
        raise AssertionError(f"{where}{command.name}: {fault}") from fault
