"""Evolution in rounds, each from the round before: how Evol-Instruct and Auto Evol-Instruct work."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from datasets import Dataset, Features, Value, concatenate_datasets

from ..errors import DataError
from ..rows import ROW_FEATURES, Row, iterate
from ..stage import Stage
from .checks import check_rewrite
from .eliminate import Eliminator

MOST_ROUNDS = 10

ROUND_FEATURES = Features(
    {
        **ROW_FEATURES,
        "seed_id": Value("string"),
        "seed_instruction": Value("string"),
        "parent_instruction": Value("string"),
        "round": Value("int64"),
        "depth": Value("int64"),
        "operator": Value("string"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Rewriter(Stage):
    """One rewrite of each row's `parent_instruction`; the base of the methods that work in rounds.

    Writes `instruction`.

    Attributes:
        max_chars: Upper bound of the rewrite, in characters.
    """

    temperature: float = 0.7
    max_tokens: int = 2048
    max_chars: int = 4000

    needs: ClassVar[tuple[str, ...]] = ("instruction", "input", "parent_instruction", "operator")
    features: ClassVar[Features] = Features({"instruction": Value("string")})

    @abstractmethod
    def operator_for(self, seed_id: str, number: int) -> str:
        """Name of the operator that a seed gets in a round; "" for a method without operators."""

    def most_words(self, row: Row) -> int | None:
        """How many words a rewrite may have more than its parent; None for any number."""
        return None

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction of the round before, and the row's input."""
        return {"instruction": row["parent_instruction"], "input": row["input"] or "(none)"}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The rewrite.

        Raises:
            ParseError: "not_json" or "wrong_schema".
        """
        return {"instruction": self.object_in(row, text)["final"].strip()}

    def check(self, row: Row, parsed: Mapping[str, Any]) -> None:
        """The rules for every rewrite, against the round before.

        Raises:
            ParseError: As `check_rewrite`.
        """
        check_rewrite(row["parent_instruction"], parsed["instruction"], row["input"] or "", self.most_words(row))


def evolve_in_rounds(
    dataset: Dataset, stage: Rewriter, rounds: int = 3, eliminator: Eliminator | None = None
) -> Dataset:
    """Rewrite each seed in rounds, each time from its last good rewrite: one row for each seed and round.

    Row `x` of round 2 gets the id `x/e2`. A rewrite that fails, or that the eliminator drops, is a rejected row; the
    next round of that seed starts from its parent again (WizardLM keeps the parent in the pool). `depth` counts the
    good rewrites up to and with the row; `parent_instruction` is what it was made from. A seed that is rejected
    already gives a rejected row in each round, and is not asked about.

    Args:
        dataset: Seeds in the form of a row.
        stage: `EvolInstruct` or `AutoEvol`.
        rounds: In 1..10.
        eliminator: Drops rewrites inside each round; None for the checks of the text alone.

    Raises:
        DataError: If a column is missing, or the number is out of range.
        EngineError: If the engine or the store fails.
    """
    missing = [name for name in ROW_FEATURES if name not in dataset.column_names]
    if missing:
        raise DataError(
            f"{stage.name} needs the column {missing[0]}; the data set has: "
            f"{', '.join(dataset.column_names) or 'none'}; "
            "tagevol_hf.prepare(dataset) brings known formats into this form"
        )
    if not 1 <= rounds <= MOST_ROUNDS:
        raise DataError(f"{stage.name}.rounds: expected 1 to {MOST_ROUNDS}, got {rounds}")
    parents = [(text or "", 0) for text in dataset["instruction"][:]] if len(dataset) else []
    done = []
    for number in range(1, rounds + 1):
        evolved = stage.apply(_fan(dataset, parents, number, stage))
        evolved = evolved if eliminator is None else eliminator.apply(evolved, stage.name)
        parents = [_next(row, parent) for row, parent in zip(iterate(evolved), parents, strict=True)]
        done.append(evolved)
    count = len(dataset)
    by_seed = [number * count + place for place in range(count) for number in range(rounds)]
    return concatenate_datasets(done).select(by_seed)


def _fan(dataset: Dataset, parents: list[tuple[str, int]], number: int, stage: Rewriter) -> Dataset:
    """The rows of one round, before they are rewritten."""
    columns: dict[str, list[Any]] = {name: [] for name in ROUND_FEATURES}
    for row, (parent, depth) in zip(iterate(dataset.select_columns(list(ROW_FEATURES))), parents, strict=True):
        fresh = {
            **row,
            "id": f"{row['id']}/e{number}",
            "instruction": parent,
            "response": "",
            "seed_id": row["id"],
            "seed_instruction": row["instruction"],
            "parent_instruction": parent,
            "round": number,
            "depth": depth + 1,
            "operator": stage.operator_for(row["id"], number),
        }
        for name, values in columns.items():
            values.append(fresh[name])
    return Dataset(pa.table(columns, schema=ROUND_FEATURES.arrow_schema))


def _next(row: Row, parent: tuple[str, int]) -> tuple[str, int]:
    """Where the seed's next round starts: the rewrite if it is good, else what it was made from."""
    return parent if row["rejection"] is not None else (row["instruction"], row["depth"])
