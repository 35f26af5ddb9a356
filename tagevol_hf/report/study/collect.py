"""From compare.json to plain values for the page; whatever is missing is empty."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..values import list_of, mapping_of, number_of, read_json
from ..words import cut, moment, without_secrets
from .charts import BarChart, LineChart, Points, bar_chart, line_chart
from .examples import Example, read_examples
from .tables import (
    COST,
    MAIN,
    Arms,
    Table,
    differences_of,
    engines_of,
    figure_of,
    label_of,
    made_of,
    measures_of,
    name_of,
    reasons_of,
    said_as,
    steps_of,
    table_of,
)
from .trained import TrainedPart, trained_of

_MOST_LINES = 6


@dataclass(frozen=True)
class StudyPage:
    """All that the template shows."""

    name: str
    question: str
    written: str
    arms: tuple[str, ...]
    complete: bool
    by_rule: str
    doubts: tuple[str, ...]
    main: Table
    trained: TrainedPart | None
    curves: tuple[LineChart, ...]
    bars: tuple[BarChart, ...]
    groups: tuple[LineChart, ...]
    reasons: Table
    measures: tuple[tuple[str, str, tuple[str, ...]], ...]
    notes: tuple[tuple[str, str], ...]
    examples: tuple[Example, ...]
    example_notes: tuple[str, ...]
    cost: Table
    steps: Table
    differences: Table
    engines: tuple[tuple[str, str, str, str], ...]
    made: Table
    facts: tuple[tuple[str, str], ...]


def collect(folder: Path) -> StudyPage:
    """Read a study's folder.

    Raises:
        DataError: If there is no readable compare.json.
    """
    body = read_json(folder / "compare.json")
    if not body:
        raise DataError(f"{folder}: no compare.json that can be read; make one with: tagevol compare STUDY")
    arms = [arm for arm in list_of(body.get("arms")) if isinstance(arm, Mapping)]
    done = [arm for arm in arms if arm.get("status") == "complete"]
    definitions = {str(key): str(text) for key, text in mapping_of(body.get("definitions")).items()}
    plot = [str(name) for name in list_of(body.get("plot")) if name in definitions]
    curves = _curves(body, done, plot, definitions)
    examples, notes = read_examples({name_of(arm): folder / str(arm.get("folder", "")) for arm in done})
    return StudyPage(
        name=str(body.get("name") or "study"),
        question=str(body.get("question") or ""),
        written=moment(body["written"]) if body.get("written") else "",
        arms=tuple(map(name_of, arms)),
        complete=len(done) == len(arms),
        by_rule=_by_rule([str(name) for name in list_of(body.get("by_rule"))], arms),
        doubts=tuple(without_secrets(text)[:1000] for text in list_of(body.get("doubts"))),
        main=table_of(MAIN, arms, definitions),
        trained=trained_of(body),
        curves=curves,
        bars=() if curves else _bars(done, plot, definitions),
        groups=_groups(done, plot, definitions),
        reasons=reasons_of(arms),
        measures=measures_of(done, definitions),
        notes=tuple((name_of(arm), cut(note, 600).head) for arm in done for note in list_of(arm.get("notes"))),
        examples=examples,
        example_notes=notes,
        cost=table_of(COST, done, definitions),
        steps=steps_of(arms),
        differences=differences_of(mapping_of(body.get("differences")), done),
        engines=engines_of(done),
        made=made_of(arms, mapping_of(body.get("recipes"))),
        facts=_facts(body),
    )


def _curves(
    body: Mapping[str, Any], done: Arms, plot: Sequence[str], definitions: Mapping[str, str]
) -> tuple[LineChart, ...]:
    """One line a figure over the values of a sweep."""
    places = {name: place for name, place in mapping_of(body.get("places")).items() if number_of(place) is not None}
    axis = str(body.get("axis") or "").rpartition(".")[2].replace("_", " ")
    charts = []
    for figure in plot:
        points = sorted(
            (places[name_of(arm)], value)
            for arm in done
            if name_of(arm) in places and (value := figure_of(arm, figure)) is not None
        )
        charts.append(line_chart(label_of(figure), definitions[figure], axis, {figure: points}, said_as(figure)))
    return tuple(chart for chart in charts if chart)


def _bars(done: Arms, plot: Sequence[str], definitions: Mapping[str, str]) -> tuple[BarChart, ...]:
    charts = []
    for name in plot:
        values = {name_of(arm): figure_of(arm, name) for arm in done}
        charts.append(bar_chart(label_of(name), definitions[name], values, said_as(name)))
    return tuple(chart for chart in charts if chart)


def _groups(done: Arms, plot: Sequence[str], definitions: Mapping[str, str]) -> tuple[LineChart, ...]:
    """One line an arm over its budgets or rounds."""
    charts = []
    for figure in plot:
        series = {name_of(arm): points for arm in done if len(points := _by_group(arm, figure)) > 1}
        names = " or ".join(dict.fromkeys(group.split()[0] for arm in done for group in mapping_of(arm.get("groups"))))
        shown = dict(list(series.items())[:_MOST_LINES])
        charts.append(line_chart(label_of(figure), definitions[figure], names, shown, said_as(figure)))
    return tuple(chart for chart in charts if chart)


def _by_group(arm: Mapping[str, Any], figure: str) -> Points:
    points = []
    for group, figures in mapping_of(arm.get("groups")).items():
        number, value = re.search(r"-?\d+$", str(group)), number_of(mapping_of(figures).get(figure))
        if number and value is not None:
            points.append((float(number.group()), value))
    return sorted(points)


def _by_rule(ruled: Sequence[str], arms: Arms) -> str:
    """Which arms the built-in engine answered: "all", names, or ""."""
    others = [name_of(arm) for arm in arms if arm.get("engines") and name_of(arm) not in ruled]
    return "all" if ruled and not others else ", ".join(ruled)


def _facts(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    facts = [
        ("Command", without_secrets(body.get("command"))),
        ("Written", moment(body["written"]) if body.get("written") else ""),
        ("tagevol_hf", str(body.get("version") or "")),
    ]
    return tuple((name, value) for name, value in facts if value)
