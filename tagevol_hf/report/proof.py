"""What training and evaluation left: the loss curve, and the loss before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .figures import Curve, curve
from .values import list_of, mapping_of, number_of, read_json
from .words import Cut, cut, decimal, duration, plural, without_secrets


@dataclass(frozen=True)
class Training:
    """One training: the model that it started from, facts such as "96 rows", its loss."""

    base: str
    facts: tuple[str, ...]
    first_loss: float | None
    last_loss: float | None
    curve: Curve | None


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


def training(folder: Path | None) -> Training | None:
    """Read train.json; None where there is none."""
    raw = read_json(folder / "train.json") if folder else {}
    if not raw:
        return None
    points = _points(raw.get("loss_history"))
    first, last = (number_of(raw.get(name)) for name in ("first_loss", "last_loss"))
    if points:
        first = points[0][1] if first is None else first
        last = points[-1][1] if last is None else last
    base = without_secrets(raw.get("base_model") or raw.get("model") or "")
    return Training(base, _facts(raw), first, last, curve(points))


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
