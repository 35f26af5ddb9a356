"""A part of a tag pool: by source, by aspect, by how many rows have a tag."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .pool_table import Table, chosen


def kept(table: Table, least: int, sources: Collection[str] | None, aspects: Collection[str] | None) -> Table:
    """The part that `TagPool.keep` is asked for.

    Raises:
        DataError: If the pool has no such source or aspect, or if no tag is left.
    """
    wanted = _known("source", sources, table.sources)[table.source_of_seed()[table.cells[2]]]
    wanted &= _known("aspect", aspects, table.aspects)[table.cells[1]]
    part = chosen(table, wanted)
    tag, _, rows = part.holdings()
    part = chosen(part, (np.bincount(tag, rows, len(part.tags)) >= least)[part.cells[0]])
    if not part.tags:
        where = " of these sources and aspects" * (sources is not None or aspects is not None)
        raise DataError(f"tag pool: none of its {len(table.tags)} tags has at least {least} rows{where}; choose fewer")
    return part


def _known(kind: str, wanted: Collection[str] | None, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which of the names are wanted."""
    unknown = sorted(set(wanted or ()).difference(names))
    if unknown:
        known = ", ".join(map(repr, names[:20])) + ", …" * (len(names) > 20)
        raise DataError(f"tag pool: it has no {kind} {unknown[0]!r}; it has: {known}")
    return np.array([wanted is None or name in wanted for name in names], dtype=bool)
