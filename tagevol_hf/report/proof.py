"""What trainings and evaluations left: curves, and the loss before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .figures import SMALL, Curve, curve
from .values import list_of, mapping_of, number_of, read_json
from .words import Cut, cut, decimal, duration, plural, without_secrets


@dataclass(frozen=True)
class Chart:
    """One curve over the steps of a training, with what it shows and in which unit."""

    title: str
    unit: str
    curve: Curve


@dataclass(frozen=True)
class Training:
    """One training: its folder, the model that it started from, facts such as "96 rows", its loss and its curves."""

    name: str
    base: str
    facts: tuple[str, ...]
    first_loss: float | None
    last_loss: float | None
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Sample:
    """A reply to a held-out instruction before and after training."""

    instruction: Cut
    before: Cut | None
    after: Cut | None


@dataclass(frozen=True)
class Evaluation:
    """One evaluation; a metric is (name, before, after)."""

    caption: str
    loss_before: float | None
    loss_after: float | None
    metrics: tuple[tuple[str, float | None, float | None], ...]
    samples: tuple[Sample, ...]


def model_folder(run_folder: Path) -> Path | None:
    """The folder in a run folder that holds the latest training or evaluation."""
    found = [file for name in ("train.json", "eval.json") for file in run_folder.glob(f"*/{name}")]
    found.sort(key=lambda file: (file.stat().st_mtime, str(file)))
    return found[-1].parent if found else None


_TRAININGS, _CURVES = 6, 6  # shown


def trainings(run_folder: Path) -> tuple[Training, ...]:
    """The trainings in a run folder that left a train.json, the latest first."""
    files = sorted(run_folder.glob("*/train.json"), key=lambda file: (-file.stat().st_mtime, str(file)))
    found = (_training(file.parent.name, read_json(file)) for file in files)
    return tuple(one for one in found if one is not None)[:_TRAININGS]


def _training(name: str, raw: Mapping[str, Any]) -> Training | None:
    if not raw:
        return None
    points = _points(raw.get("loss_history"))
    first, last = (number_of(raw.get(name)) for name in ("first_loss", "last_loss"))
    if points:
        first = points[0][1] if first is None else first
        last = points[-1][1] if last is None else last
    base = without_secrets(raw.get("base_model") or raw.get("model") or "")
    return Training(name, base, _facts(raw), first, last, tuple(_charts(raw, points)))


def _charts(raw: Mapping[str, Any], losses: Sequence[tuple[float, float]]) -> Iterator[Chart]:
    """The curves that have two points at least."""
    unit = "nats a learned token"
    series = [("Training loss", unit, losses), ("Held-out loss", unit, _points(raw.get("held_out_history")))]
    tasks = [mapping_of(entry) for entry in list_of(raw.get("task_history"))]
    names = dict.fromkeys(name for entry in tasks for name in entry if name not in ("step", "epoch"))
    for name in list(names)[: _CURVES - len(series)]:
        figures = [{"step": entry.get("step"), "loss": entry.get(name)} for entry in tasks]
        series.append((cut(str(name).replace("_", " "), 80).head.capitalize(), "", _points(figures)))
    size = (640.0, 260.0) if sum(len(points) > 1 for _, _, points in series) < 2 else SMALL
    for title, named, points in series:
        if drawn := curve(points, *size):
            yield Chart(title, named, drawn)


def _facts(raw: Mapping[str, Any]) -> tuple[str, ...]:
    facts = [plural(raw[name], name.rstrip("s")) for name in ("rows", "tokens") if number_of(raw.get(name)) is not None]
    if (epochs := number_of(raw.get("epochs"))) is not None:
        facts.append(f"{decimal(epochs)} {'epoch' if epochs == 1 else 'epochs'}")
    if number_of(raw.get("seconds")) is not None:
        facts.append(duration(raw["seconds"]))
    return tuple(facts)


def _points(history: Any) -> list[tuple[float, float]]:
    """(step, loss) from [step, loss] pairs or {step, loss} objects; one without a finite loss is left out."""
    points: dict[float, float] = {}
    for entry in list_of(history):
        if isinstance(entry, Mapping):
            pair = entry.get("step"), entry.get("loss")
        elif isinstance(entry, list) and len(entry) >= 2:
            pair = entry[0], entry[1]
        else:
            continue
        step, loss = number_of(pair[0]), number_of(pair[1])
        if step is not None and loss is not None:
            points[step] = loss
    return sorted(points.items())


_SAMPLES = 4


def evaluation(run_folder: Path, model: Path | None) -> Evaluation | None:
    """Read eval.json of the run folder, or of the model's folder; None where there is none."""
    raw = read_json(run_folder / "eval.json") or (read_json(model / "eval.json") if model else {})
    if not raw:
        return None
    before, after = (mapping_of(raw.get(name)) for name in ("before", "after"))
    names = [name for name in {**before, **after} if name not in ("n", "n_tokens")]
    metrics = [(str(name), number_of(before.get(name)), number_of(after.get(name))) for name in names]
    return Evaluation(
        _caption(raw),
        number_of(before.get("loss")),
        number_of(after.get("loss")),
        tuple(metric for metric in metrics if metric[1:] != (None, None)),
        tuple(_sample(entry) for entry in list_of(raw.get("samples"))[:_SAMPLES]),
    )


def _caption(raw: Mapping[str, Any]) -> str:
    """For instance "Held out loss on 24 rows, 1,802 tokens: rows that were not chosen"."""
    named = str(raw.get("task") or "evaluation").replace("_", " ").capitalize()
    sizes = [
        plural(raw[key], noun)
        for key, noun in (("n", "row"), ("n_tokens", "token"))
        if number_of(raw.get(key)) is not None
    ]
    means = raw.get("held_out_means")
    return named + (f" on {', '.join(sizes)}" if sizes else "") + (f": {means}" if isinstance(means, str) else "")


def _sample(entry: Any) -> Sample:
    values = mapping_of(entry)
    before, after = (None if values.get(name) is None else cut(values[name]) for name in ("before", "after"))
    return Sample(cut(values.get("instruction")), before, after)
