"""The command `tagevol show`: one row's whole story in the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from .cli_options import RunFolder

if TYPE_CHECKING:
    from .story import Child, Meeting, Order, Part, Story, Tag

_WIDTH, _NARROW, _INDENT, _NAME = 100, 50, 4, 15  # columns of the terminal
_HEAD, _ITEMS = 400, 24  # characters of a text, members of a list, that are shown without --full
_WHOLE = 1 << 40

# Told in another place, or said by another value.
_HIDDEN = {
    *("tags", "open_tags", "labels", "cluster", "clusters", "nearest_other"),
    *("comparisons", "score_error", "cluster_rank"),
}
_ORDER = ("budget", "round", "depth", "operator", "parent_instruction", "candidates", "chosen_tags", "plan")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def add_to(app: typer.Typer) -> None:
    """Add the command to the program's others."""
    app.command(short_help="Tell one row's story.")(show)


def show(
    run_folder: RunFolder,
    row_id: Annotated[str, typer.Option("--id", metavar="ID", help="The id of a row, or of a seed.")],
    full: Annotated[bool, typer.Option("--full", help="Show texts and lists to their ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with everything.")] = False,
) -> None:
    """Tell one row's story: its seed, tags, rewriting, answer, comparisons, and why it was chosen or not.

    tagevol show runs/quickstart --id 7a118d1c05c6d3c8/b3

    A seed's id shows the seed and all that was made of it.
    """
    from datasets.utils import disable_progress_bars

    from .story import read_story

    disable_progress_bars()
    story = read_story(run_folder, row_id)
    if as_json:
        typer.echo(json.dumps(story.plain()))
        return
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    page = Page(console, _WHOLE if full else _HEAD, _WHOLE if full else _ITEMS)
    for line in page.lines(story):
        console.print(line)


def visible(text: Any) -> str:
    """The text as a terminal may have it: what would steer the terminal, or hide, is spelt out."""
    return _UNSEEN.sub(_spelt, "" if text is None else str(text).replace("\r\n", "\n"))


def _spelt(found: re.Match[str]) -> str:
    number = ord(found.group())
    return chr(0x2400 + number) if number < 0x20 else f"\\u{number:04x}"


class Page:
    """The lines of a story.

    Args:
        console: Says how wide the terminal is.
        head: Characters of a text that are shown.
        items: Members of a list that are shown.
    """

    def __init__(self, console: Console, head: int, items: int) -> None:
        self.console, self.head, self.items = console, head, items
        self.width = max(_NARROW, min(console.width, _WIDTH)) - _INDENT - _NAME

    def lines(self, story: Story) -> Iterator[Text]:
        """All of it, in order."""
        yield Text.assemble((visible(story.id), "bold"), f"  in {visible(story.run)}: ", (story.fate, "bold"))
        yield from self._text("why", story.why)
        if story.rejection is not None:
            yield from self._rejection(story.rejection)
        for part in story.parts:
            yield Text()
            yield from self._part(story, part)
        if story.children:
            yield Text()
            yield Text(f"Made of it: {len(story.children):,}", "bold")
            for child in story.children:
                yield from self._child(child)

    def _part(self, story: Story, part: Part) -> Iterator[Text]:
        of = f"  the seed {visible(part.id)}" if part.id != story.id else ""
        yield Text.assemble((f"{part.number:>2} {visible(part.step)}", "bold"), (of, "dim"))
        if "comparisons" in part.facts or part.step == "compare":
            yield from self._comparisons(story.comparisons)
        names = sorted(part.facts, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
        for name in names:
            if name not in _HIDDEN:
                yield from self._fact(name, part.facts[name], part.facts)
        if "open_tags" in part.facts:
            yield from self._text("open tags", self._list([tag.tag for tag in story.tags]))
        if "labels" in part.facts:
            yield from self._labels(story.tags, part.facts["labels"])
        if "cluster" in part.facts:
            for number, name in story.clusters.items():
                yield from self._text("cluster", f"{number}: {name}" if name else number)

    def _fact(self, name: str, value: Any, facts: Mapping[str, Any]) -> Iterator[Text]:
        label = name.replace("_", " ")
        if name == "score" and facts.get("score_error") is not None:
            value = f"{value:.2f} ± {facts['score_error']:.2f}, from {facts.get('comparisons', 0)} comparisons"
        if name == "aspects":
            for number, aspect in enumerate(value):
                yield from self._text("" if number else label, f"{aspect['aspect']}: {self._list(aspect['tags'])}")
        elif name == "history":
            for turn in value:
                yield from self._text(str(turn.get("role")), turn.get("content"))
        else:
            yield from self._text(label, self._said(value))

    def _said(self, value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, float):
            return f"{value:.2f}"
        if isinstance(value, list):
            plain = all(isinstance(one, str | int | float) for one in value)
            return self._list(value) if plain else json.dumps(value, ensure_ascii=False)
        return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)

    def _list(self, values: list[Any]) -> str:
        more = len(values) - self.items
        return ", ".join(map(str, values[: self.items])) + (f", … (+{more:,}; --full shows all)" if more > 0 else "")

    def _labels(self, tags: tuple[Tag, ...], labels: list[str]) -> Iterator[Text]:
        yield from self._text("labels", self._list(labels))
        for tag in tags:
            if tag.label != tag.tag:
                yield from self._text(
                    "", f"{tag.tag} → {tag.label or 'dropped'}" + (f" ({tag.why})" if tag.why else "")
                )

    def _comparisons(self, meetings: tuple[Meeting, ...]) -> Iterator[Text]:
        for meeting in meetings:
            marks = ", ".join(map(_marks, meeting.orders))
            across = ", of another cluster" if meeting.across else ""
            yield from self._text("against", f"{meeting.other}{across}: {marks}; {meeting.verdict}")
            yield from self._text("", _in_one_line(meeting.instruction), self.head // 3)
            for order in meeting.orders:
                yield from self._text("", f"shown {order.place}: {order.analysis or order.fault}", self.head // 2)

    def _rejection(self, mark: Mapping[str, Any]) -> Iterator[Text]:
        attempts = mark.get("attempts")
        yield from self._text("where", f"{mark.get('stage')}" + (f", after {attempts} attempts" if attempts else ""))
        for name in ("detail", "raw"):
            if mark.get(name):
                yield from self._text(name, mark[name])

    def _child(self, child: Child) -> Iterator[Text]:
        made_by = ", ".join(f"{name} {value}" for name, value in child.made_by.items())
        score = "" if child.score is None else f", score {child.score:.2f}"
        yield Text.assemble("    ", (visible(child.id), "bold"), f"  {visible(made_by)}: {visible(child.fate)}{score}")
        yield from self._text("", _in_one_line(child.instruction), self.head // 2)

    def _text(self, name: str, value: Any, head: int = 0) -> Iterator[Text]:
        """A name and a text beside it, cut and wrapped."""
        from .report.words import cut

        shown = cut("" if value is None else str(value), head or self.head, _WHOLE)
        text = visible(shown.head)
        if shown.rest:
            text = f"{text.rstrip()} … (+{len(shown.rest):,} characters; --full shows all)"
        name = visible(name)
        if len(name) > _NAME - 2:
            yield Text(f"{' ' * _INDENT}{name}", "dim")
            name = ""
        label = f"{' ' * _INDENT}{name:<{_NAME}}"
        for line in Text(text).wrap(self.console, self.width):
            yield Text.assemble((label, "dim"), line.plain.rstrip()) if line.plain.strip() else Text()
            label = " " * len(label)


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _marks(order: Order) -> str:
    if order.own is None or order.other is None:
        return "no marks"
    return f"{order.own:g} : {order.other:g}"
