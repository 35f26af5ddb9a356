"""The steps of a run: what each did with the rows, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .figures import Flow
from .values import counts_of, mapping_of, number_of, whole_of
from .words import decimal

# Step name → its label in the page, and what it does in one line.
STEPS: Mapping[str, tuple[str, str]] = {
    "load": ("Load", "Read the data and bring every row into one form."),
    "aspect_tags": ("Aspect tags", "Describe each instruction by aspects, and by knowledge tags under each."),
    "tag_pool": ("Tag pool", "Collect the tags of all instructions in one pool."),
    "tag_evol": (
        "Tag-Evol",
        "Rewrite each seed once a budget b, with exactly b foreign tags of the pool woven in.",
    ),
    "evol_instruct": (
        "Evol-Instruct",
        "Rewrite each seed in rounds, each from the round before, by one of a few operators.",
    ),
    "optimize_method": (
        "Optimize the method",
        "Auto Evol-Instruct: look for a better way of rewriting on a part of the rows.",
    ),
    "auto_evol": ("Auto Evol-Instruct", "Rewrite each seed in rounds by a method in words."),
    "review": ("Review", "Look whether each chosen tag shapes the instruction, and whether its core task is kept."),
    "respond": ("Respond", "Answer each instruction."),
    "agree": ("Agreement", "Ask again, and keep an answer where most draws give the same result."),
    "open_tags": ("Open tags", "Say in free tags what each row is about."),
    "normalize_tags": ("Normalize", "Give tags of the same meaning the same name."),
    "cluster": ("Cluster", "Put rows with similar labels together."),
    "single_score": ("Single scores", "Let the judge score each response by itself."),
    "compare": ("Compare", "Let rows of one cluster compete in pairs, and make one score a row of it."),
    "select": ("Select", "Take the best rows of each cluster."),
    "baseline": ("Baseline", "Take rows by a way that TACOS is compared with."),
    "compare_selections": ("Selections compared", "Say what other ways would have selected, at the same size."),
    "decontaminate": ("Decontaminate", "Find rows that hold questions of benchmarks, and let them leave."),
    "near_duplicates": ("Near duplicates", "Of rows that say nearly the same, keep one."),
    "refine": ("Refine", "Write a better response, then a better instruction for each chosen row."),
    "measure": ("Measure", "Say how diverse, how difficult, how long and how clean the instructions are."),
}


@dataclass(frozen=True)
class Cost:
    """What a step, or a whole run, asked and took."""

    asked: int
    stored: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True)
class Step:
    """One step: what it did with the rows, what it cost, and its prompt as (name, digest)."""

    number: int
    name: str
    label: str
    meaning: str
    flow: Flow
    reasons: tuple[tuple[str, int], ...]
    summary: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    figures: Mapping[str, float]
    cost: Cost
    prompt: tuple[str, str] | None


@dataclass(frozen=True)
class Totals:
    """The account of all rows."""

    read: int
    added: int
    selected: int
    not_chosen: int
    rejected: int

    @property
    def balanced(self) -> bool:
        """Whether every row that came in is in one of the three piles."""
        return self.read + self.added == self.selected + self.not_chosen + self.rejected


def read_step(number: int, entry: Mapping[str, Any]) -> Step:
    """One entry of `steps` in run.json; `number` counts from 1."""
    name = str(entry.get("name", ""))
    label, meaning = STEPS.get(name, (name, ""))
    reasons = counts_of(entry.get("rejected"))
    summary = mapping_of(entry.get("summary"))
    prompt = mapping_of(entry.get("prompt"))
    return Step(
        number=number,
        name=name,
        label=label,
        meaning=meaning,
        flow=Flow(
            label=label,
            rows_in=whole_of(entry.get("rows_in")),
            added=whole_of(entry.get("added")),
            not_chosen=whole_of(entry.get("not_chosen")),
            rejected=sum(rows for _, rows in reasons),
            rows_out=whole_of(entry.get("rows_out")),
        ),
        reasons=reasons,
        summary=tuple(_small(summary)),
        warnings=tuple(str(summary[key])[:600] for key in _WARNINGS if summary.get(key)),
        figures={str(key): figure for key, value in summary.items() if (figure := number_of(value)) is not None},
        cost=read_cost(entry),
        prompt=(str(prompt.get("name", "")), str(prompt.get("digest", ""))) if prompt else None,
    )


_WARNINGS = ("warning", "note")
# The page has a place of its own for them.
_ELSEWHERE = (
    "flip_rate",
    "judge_position_bias",
    "position_bias",
    "length_bias",
    "tie_rate",
    "transitivity",
    "triads",
    "agreement_with_single",
    *_WARNINGS,
)


def _small(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The values of a summary that can be said in a few characters, with their names."""
    for key, value in summary.items():
        if key in _ELSEWHERE:
            continue
        name = str(key).replace("_", " ")
        if isinstance(value, str) and 0 < len(value) <= 60:
            yield name, value
        elif number_of(value) is not None:
            yield name, decimal(value)


def read_cost(entry: Mapping[str, Any]) -> Cost:
    """Costs from a step of run.json, or from its totals."""
    return Cost(
        asked=whole_of(entry.get("asked")),
        stored=whole_of(entry.get("stored")),
        failed=sum(number for _, number in counts_of(entry.get("failed"))),
        prompt_tokens=whole_of(entry.get("prompt_tokens")),
        cached_tokens=whole_of(entry.get("cached_tokens")),
        completion_tokens=whole_of(entry.get("completion_tokens")),
        seconds=number_of(entry.get("seconds")) or 0.0,
    )


def read_totals(given: Mapping[str, Any]) -> Totals | None:
    """The account from the totals of run.json; None while the run goes on."""
    if not given:
        return None
    return Totals(
        read=whole_of(given.get("read")),
        added=whole_of(given.get("added")),
        selected=whole_of(given.get("selected")),
        not_chosen=whole_of(given.get("not_chosen")),
        rejected=sum(rows for _, rows in counts_of(given.get("rejected"))),
    )
