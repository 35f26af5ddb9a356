"""Writes the reference while the site is built: commands, recipe, Python names, errors; nothing of it is kept."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import tagevol_hf
from tagevol_hf import errors
from tagevol_hf.cli import app
from tagevol_hf.rows import REASONS
from tagevol_hf.schema import recipe_schema

_EXITS = """| exit status | meaning |
|---|---|
| 0 | done |
| 1 | a bug: please report what was printed |
| 2 | the recipe, the data, a file, an engine or the command line is not right; the message says what to do |
| 3 | a cap on requests, tokens or cost was reached; the same command goes on from there |
| 130 | stopped by Ctrl-C or SIGTERM; the same command goes on from there |
"""
_GROUPS = {
    "Data": ("sources", "formats", "rows", "streams"),
    "Engines": ("engines", "stage", "prompts"),
    "Tags": ("tags",),
    "Evolution": ("evolve",),
    "Selection": ("selection",),
    "Measures and cleaning": ("measure", "metrics"),
    "Recipes, runs and training": ("recipe", "recipe_file", "pipeline", "run_folder", "run_files", "figures", "evals"),
    "Errors": ("errors",),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"cli": _commands, "recipe": _recipe, "python": _names, "errors": _errors}
    for name, write in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(write())))
    return files


def _commands() -> Iterator[str]:
    yield f"# Commands\n\nEvery command explains itself by `--help`; this is the same text.\n\n{_EXITS}"
    group = typer.main.get_command(app)
    yield from _command(group, None, "tagevol")


def _command(command: Any, parent: Any, name: str) -> Iterator[str]:
    """A command's help, and that of its sub-commands; `command` is of the click that Typer brings or takes."""
    context = command.context_class(command, parent=parent, info_name=name, max_content_width=88)
    level = "###" if parent is not None and parent.parent is not None else "##"
    yield f"\n{level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    for part in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from _command(command.get_command(context, part), context, part)


def _recipe() -> Iterator[str]:
    schema = recipe_schema()
    yield "# Recipe\n\n`tagevol schema` writes this as a JSON schema, with which an editor completes and checks.\n"
    yield "## Top level\n"
    yield from _table({name: part for name, part in schema["properties"].items() if name != "steps"})
    for name in ("Data", "Source", "Limits", "Price"):
        yield f"\n## {name}\n\n{_sentence(schema['$defs'][name])}\n"
        yield from _table(schema["$defs"][name].get("properties", {}))
    yield "\n## Steps\n\nThe steps run in the order of the recipe; `{}` takes every default.\n"
    for choice in schema["properties"]["steps"]["items"]["anyOf"]:
        for name, part in choice.get("properties", {}).items():
            body = schema["$defs"][part["$ref"].rpartition("/")[2]]
            yield f"\n### {name}\n\n{_sentence(part if part.get('description') else body)}\n"
            yield from _table(body.get("properties", {}))
    if "AdaptiveBudget" in schema["$defs"]:
        yield "\n### Adaptive budgets\n"
        yield from _table(schema["$defs"]["AdaptiveBudget"]["properties"])


def _sentence(part: Mapping[str, Any]) -> str:
    return str(part.get("description", "")).replace("\n", " ")


def _table(fields: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not fields:
        yield "No fields."
        return
    yield "| field | value | default | meaning |\n|---|---|---|---|"
    for name, part in fields.items():
        default = "" if "default" not in part else f"`{_plain(part['default'])}`"
        yield f"| `{name}` | {_kind(part)} | {default} | {_cell(_sentence(part))} |"


def _plain(value: Any) -> str:
    return "…" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)


def _kind(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_kind(each) for each in part["anyOf"]))
    if "$ref" in part:
        return str(part["$ref"].rpartition("/")[2])
    kind = str(part.get("type", "any value"))
    if kind == "array":
        return f"list of {_kind(part.get('items', {}))}"
    return kind + _range(part)


def _range(part: Mapping[str, Any]) -> str:
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    told = [f"{sign} {part[name]}" for name, sign in signs if name in part]
    return f" {', '.join(told)}" if told else ""


def _cell(text: str) -> str:
    """Text for a cell of a table; what stands between backticks is code already."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))


def _names() -> Iterator[str]:
    yield "# Python\n\nThe names of `import tagevol_hf as te`; importing it loads no model library.\n"
    for group, homes in _GROUPS.items():
        yield f"\n## {group}\n"
        for name, home in tagevol_hf._HOME.items():
            if home.partition(".")[0] in homes:
                yield f"\n::: tagevol_hf.{home}.{name}\n"
    told = {home for homes in _GROUPS.values() for home in homes}
    if left := {home for home in tagevol_hf._HOME.values() if home.partition(".")[0] not in told}:
        raise KeyError(f"docs/hooks.py: no group for the public names of {sorted(left)}")


def _errors() -> Iterator[str]:
    yield f"# Errors and reasons\n\n```text\n{inspect.getdoc(errors)}\n```\n\n## Exit status\n\n{_EXITS}"
    yield "\n## Reasons of rejection\n\nA row that cannot be used stays in the run, in `rejected`, with one of these.\n"
    yield "| reason | meaning |\n|---|---|"
    yield from (f"| `{reason}` | {_cell(meaning)} |" for reason, meaning in REASONS.items())
