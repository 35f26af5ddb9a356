"""What should be equal in all arms of a comparison and is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .outcome import Outcome


def doubts_of(outcomes: Sequence[Outcome], plot: Sequence[str] = ()) -> Iterator[str]:
    """What makes the arms hard to compare, one line each."""
    for one in outcomes:
        if one.status != "complete":
            yield f"{one.name} {'failed' if one.status == 'failed' else 'was not run'}: {one.message}"
    done = [one for one in outcomes if one.status == "complete"]
    yield from _seeds(done)
    yield from _engines(done)
    yield from _measures(done)
    for what, values in (
        ("seed of the random choices", {one.name: one.seed for one in done}),
        ("version of tagevol_hf", {one.name: one.version for one in done}),
    ):
        if len(set(values.values())) > 1:
            yield f"The arms differ in the {what}: {_said(values)}."
    yield from _drawn(done, plot)


def _seeds(done: Sequence[Outcome]) -> Iterator[str]:
    rows = {one.name: one.seeds.get("rows") for one in done}
    if None in rows.values():
        lacking = ", ".join(name for name, number in rows.items() if number is None)
        yield f"Whether the seeds are the same cannot be said: the first step's rows are gone ({lacking})."
    elif len(set(rows.values())) > 1:
        yield f"The arms have different numbers of seeds: {_said(rows)}."
    elif len({one.seeds["digest"] for one in done}) > 1:
        yield f"The arms have different seeds: {_said({one.name: one.seeds['digest'] for one in done})}."


def _engines(done: Sequence[Outcome]) -> Iterator[str]:
    """Engines of the same role that are not the same."""
    for role in dict.fromkeys(role for one in done for role in one.engines):
        used = {one.name: _identity(one.engines[role]) for one in done if role in one.engines}
        if len(set(used.values())) > 1:
            yield f"The arms ask different engines for {role.replace('_', ' ')}: {_said(used)}."


def _identity(engine: Mapping[str, Any]) -> str:
    return str(engine.get("identity") or engine.get("spec") or "")


def _measures(done: Sequence[Outcome]) -> Iterator[str]:
    """Figures that were not measured alike."""
    differing = [
        key
        for key in dict.fromkeys(key for one in done for key in one.definitions)
        if len({one.definitions[key] for one in done if key in one.definitions}) > 1
    ]
    if differing:
        yield f"These figures are defined in more than one way: {', '.join(differing)}."
    tagged = {one.name: round(one.figures["tagged"]) for one in done if "tagged" in one.figures}
    if len(set(tagged.values())) > 1:
        yield f"Diversity grows with the sample, and the samples have different sizes: {_said(tagged)}."


def _drawn(done: Sequence[Outcome], plot: Sequence[str]) -> Iterator[str]:
    known = tuple(dict.fromkeys(figure for one in done for figure in one.figures))
    for name in plot if known else ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(known)}"
            yield f"plot: no arm has the figure {name}; {hint}"


def _said(values: Mapping[str, Any]) -> str:
    """Which arms have which value, the most frequent one first: "a, b: 64; c: 63"."""
    arms: dict[Any, list[str]] = {}
    for name, value in values.items():
        arms.setdefault(value, []).append(name)
    ranked = sorted(arms.items(), key=lambda item: -len(item[1]))
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in ranked)
