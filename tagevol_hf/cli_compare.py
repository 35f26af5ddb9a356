"""The command `tagevol compare`: several recipes on the same seeds, or finished runs, side by side."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_options import Limit
from .errors import DataError, RecipeError, TagEvolError
from .project import recipe_path

if TYPE_CHECKING:
    from .study import Comparison, Study

What = Annotated[
    list[Path],
    typer.Argument(metavar="STUDY|RUN", help="A study's YAML file or folder, or two and more finished runs."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[ARM:]KEY=VALUE",
        help="Override a field of all arms' recipes, of one arm's, or of the study's sections train and evaluate.",
    ),
]
MaxRequests = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop after so many requests, of all arms together.")
]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop before more tokens than this, of all arms together.")
]
MaxCost = Annotated[
    float | None, typer.Option(min=0, metavar="COST", help="Stop before all arms cost more, at the recipes' prices.")
]
NoTrain = Annotated[bool, typer.Option("--no-train", help="Only curate: leave out the study's train and evaluate.")]
RunCode = Annotated[
    bool, typer.Option("--allow-code-execution", help="Let humaneval and mbpp run the models' code, in a sandbox.")
]
AsStudy = Annotated[
    Path | None, typer.Option("--as", metavar="STUDY", help="Train on finished runs and evaluate, as this study does.")
]
Folder = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="The comparison's folder.  [default: runs/NAME]")
]


def add_to(app: typer.Typer) -> None:
    """Add the command to the program's others."""
    app.command(short_help="Compare the arms of a study, or runs.")(compare)


def compare(
    what: What,
    settings: Settings = None,
    limit: Limit = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    folder: Folder = None,
    as_study: AsStudy = None,
    no_train: NoTrain = False,
    allow_code_execution: RunCode = False,
) -> None:
    """Run the arms of a study and compare them, or compare runs that are there.

    tagevol compare recipes/quickstart

    tagevol compare runs/tacos runs/random --as recipes/tacos/studies/trained.yaml

    Each arm is a run folder of its own, and all share one request store: the same command goes on after an
    interruption and asks nothing twice. Where the study has sections train and evaluate, a model is trained on each arm
    at equal size for each seed, and the models are compared on the same problems. Writes compare.json and report.html.
    """
    from .engines.usage import Limits
    from .study.file import is_of_section

    if _are_runs(what):
        asked = limit or max_requests or max_tokens or max_cost or no_train
        if asked or not all(as_study and is_of_section(text) for text in settings or []):
            raise RecipeError(
                "compare: finished runs are compared as they are; --set, --limit, --max-… need a study (--set train.… "
                "and --set evaluate.… also go with --as STUDY)"
            )
        _compare_runs(what, folder, as_study, settings or [], allow_code_execution)
    elif as_study:
        raise RecipeError("compare: --as is for finished runs; a study trains as it says itself")
    elif len(what) > 1:
        raise RecipeError(f"compare: expected one study, or run folders (run.json); got {' '.join(map(str, what))}")
    else:
        caps, sections = Limits(max_requests, max_tokens, max_cost), () if no_train else ("train", "evaluate")
        _compare_study(what[0], settings or [], limit, caps, folder, sections, allow_code_execution)


def _are_runs(what: Sequence[Path]) -> bool:
    return all((path / "run.json").exists() for path in what) or (len(what) > 1 and all(path.is_dir() for path in what))


def _compare_runs(
    runs: Sequence[Path], folder: Path | None, as_study: Path | None, settings: list[str], run_code: bool
) -> None:
    from .study import compare_runs, load_study, train_runs

    folder = folder or Path("runs") / _together([path.resolve().name for path in runs])
    if as_study is None:
        _show(compare_runs(runs, folder, _command()), folder)
        return
    study, _ = load_study(recipe_path(as_study), settings)
    _say(f"{len(runs)} runs, trained as {study.name} → {folder}")
    comparison = train_runs(study, runs, folder, _command(), _say, run_code=run_code)
    _show(comparison, folder)
    _check_trained(comparison, folder)


def _compare_study(
    path: Path,
    settings: list[str],
    limit: int | None,
    caps: Any,
    folder: Path | None,
    sections: tuple[str, ...],
    run_code: bool,
) -> None:
    from .study import arms_of, load_study, run_study
    from .study.file import is_of_section

    study, file = load_study(recipe_path(path), settings)
    settings = [text for text in settings if not is_of_section(text)]
    study = study.model_copy(update={name: None for name in ("train", "evaluate") if name not in sections})
    arms = arms_of(study, file, settings, limit)
    folder = folder or Path("runs") / (study.name + _suffix(settings, limit))
    _say(f"{study.name}: {len(arms)} arms → {folder}")
    try:
        comparison = run_study(study, arms, folder, _command(), caps, _tell, _say, run_code=run_code)
    except TagEvolError:
        if (folder / "compare.json").exists():
            _page(folder)  # of what there is
        raise
    _show(comparison, folder)
    if comparison.failed:
        raise DataError(
            f"{_of(study, comparison)} failed ({', '.join(comparison.failed)}); the others are compared in {folder}"
        )
    _check_trained(comparison, folder)


def _check_trained(comparison: Comparison, folder: Path) -> None:
    names = comparison.trained.failed if comparison.trained else []
    if names:
        raise DataError(
            f"{comparison.name}: {len(names)} trainings or evaluations failed ({', '.join(names[:5])}"
            f"{', …' if len(names) > 5 else ''}); the others are compared in {folder}, the same command tries again"
        )


def _of(study: Study, comparison: Comparison) -> str:
    return f"{study.name}: {len(comparison.failed)} of {len(comparison.outcomes)} arms"


def _tell(arm: str, step: Any) -> None:
    if step is None:
        _say(f"  {arm:<20} is there, and its recipe is the same")
        return
    rejected = sum(step.rejected.values())
    parts = [f"{step.rows_in:,} → {step.rows_out:,} rows"]
    parts += [f"{rejected:,} rejected"] if rejected else []
    parts += [f"{step.asked:,} asked"] if step.asked else []
    parts += [f"{step.stored:,} from the store"] if step.stored else []
    _say(f"  {arm:<20} {step.number:>2} {step.name:<15} {', '.join(parts)}, {step.seconds:.1f} s")


_COLUMNS = {
    "rows_in": "rows in",
    "accepted": "accepted",
    "rejected_share": "rejected",
    "calls": "calls",
    "calls_per_instruction": "a row",
    "longest_chain": "chain",
    "difficulty": "difficulty",
    "diversity": "diversity",
    "reply_obedience": "obedience",
}


def _show(comparison: Comparison, folder: Path) -> None:
    """The tables of all arms, what makes them hard to compare, and where the page is."""
    from .study.trained.table import trained_lines

    used = [name for name in _COLUMNS if name in comparison.definitions]
    lines = [["", *(_COLUMNS[name] for name in used)]]
    for one in comparison.outcomes:
        done = one.status == "complete"
        lines.append([one.name, *(_value(name, one.figures.get(name)) if done else "–" for name in used)])
    _table(lines)
    if comparison.trained:
        _table(trained_lines(comparison.trained))
    if comparison.by_rule:
        asking = [one.name for one in comparison.outcomes if one.engines]
        who = "" if comparison.by_rule == asking else f" ({', '.join(comparison.by_rule)})"
        _say(f"note: Made by the built-in rule engine{who}: no language model, so this shows the way, not the quality.")
    for doubt in comparison.doubts:
        _say(f"note: {doubt}")
    _say(f"figures: {folder / 'compare.json'}")
    _say(f"report: {_page(folder)}")


def _table(lines: list[list[str]]) -> None:
    """Columns as wide as need be, the first one to the left."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    _say("")
    for line in lines:
        cells = [f"{text:>{width}}" for text, width in zip(line[1:], widths[1:], strict=True)]
        _say(f"  {'  '.join([f'{line[0]:<{widths[0]}}', *cells])}".rstrip())
    _say("")


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name in ("rejected_share", "reply_obedience"):
        return f"{value:.1%}"
    whole = name != "calls_per_instruction" and value == round(value)
    return f"{value:,.0f}" if whole else f"{value:,.2f}"


def _page(folder: Path) -> Path:
    from .report.study import write_study_report

    return write_study_report(folder)


def _together(names: list[str]) -> str:
    """A folder's name from those of the runs, the same whatever their number."""
    whole = "-vs-".join(names)
    return whole if len(whole) <= 80 else f"compare-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"


def _suffix(settings: list[str], limit: int | None) -> str:
    """As of a run: with overrides the study gets a folder of its own, the same for the same overrides."""
    parts = [f"-limit{limit}"] if limit is not None else []
    parts += ["-" + hashlib.sha256("\0".join(sorted(settings)).encode()).hexdigest()[:6]] if settings else []
    return "".join(parts)


def _command() -> str:
    return shlex.join(["tagevol", *sys.argv[1:]])


def _say(line: str) -> None:
    typer.echo(line)
