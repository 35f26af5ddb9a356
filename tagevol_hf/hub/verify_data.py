"""Whether a published data set is what its provenance.json says: recomputed from the files themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .cells import RowDigest, content_digest, digests_of, read_digests
from .layout import CARD, PROVENANCE, RECIPE, STORE, sha256_of, shard_folder
from .provenance import read_provenance, read_recipe, recipe_digest, text_sha256
from .readme_check import card_faults
from .shards import features_in, read_shard

_MOST = 20  # faults of one kind that are listed


def needed_files(provenance: Mapping[str, Any]) -> list[str]:
    """Paths that provenance.json speaks of."""
    entries = provenance["configs"].values()
    shards = [shard["path"] for entry in entries for shard in entry["shards"]]
    digests = [entry["digests"]["path"] for entry in entries]
    return [CARD, RECIPE, *digests, *shards, *([STORE] if "store" in provenance else [])]


def folder_faults(folder: Path, files: Sequence[str] | None = None) -> list[str]:
    """What is wrong with a published data set, each with its place; empty if all fits.

    Args:
        folder: A copy of the repository.
        files: Paths in the repository, where the folder does not hold all of them.
    """
    try:
        provenance = read_provenance(folder / PROVENANCE)
        if strange := [path for path in needed_files(provenance) if ".." in path.split("/") or path.startswith("/")]:
            return [f"{PROVENANCE}: {strange[0]!r} is no path in a repository"]
        found = _recipe(folder, provenance)
        for name, entry in provenance["configs"].items():
            found += _Config(folder, name, entry).faults()
        found += [*_unknown(folder, files, provenance), *_store(folder, provenance), *_balance(provenance)]
        found += _card(folder, provenance)
    except DataError as fault:
        return [str(fault)]
    except (KeyError, TypeError, AttributeError) as fault:
        return [f"{PROVENANCE}: is not complete ({fault!r})"]
    return found


class _Config:
    """One config of a copy."""

    def __init__(self, folder: Path, name: str, entry: Mapping[str, Any]) -> None:
        self.folder, self.name, self.entry = folder, name, entry
        self.shards: list[Mapping[str, Any]] = entry["shards"]
        self.columns, self.recorded = list(entry["features"]), self._recorded()

    def faults(self) -> list[str]:
        found = list(self._digests_file())
        if sum(shard["rows"] for shard in self.shards) != self.entry["rows"]:
            found.append(f"{PROVENANCE}: {self.name}: {self.entry['rows']} rows are not the sum of its files' rows")
        there: list[RowDigest] = []
        whole, first = True, 0
        for shard in self.shards:
            faults, rows = self._shard(shard, first)
            whole, first = whole and not faults, first + shard["rows"]
            found += faults
            there += rows
        if whole and content_digest(there) != self.entry["digest"]:
            found.append(f"{self.name}: the digest of its content differs from {PROVENANCE}")
            found += self._compared(self.recorded, there, 0)
        return found

    def _shard(self, shard: Mapping[str, Any], first: int) -> tuple[list[str], list[RowDigest]]:
        path = self.folder / shard["path"]
        if not path.is_file():
            return [f"{shard['path']}: missing"], []
        try:
            found = self._features(shard["path"], features_in(path))
            rows = [row for table in read_shard(path) for row in digests_of(table)]
        except DataError as fault:
            return [f"{shard['path']}: {fault}"], []
        if len(rows) != shard["rows"]:
            found.append(f"{shard['path']}: {len(rows)} rows, {PROVENANCE} has {shard['rows']}")
        digest = sha256_of(path)
        if digest != shard["sha256"]:
            found.append(f"{shard['path']}: sha256 differs{self._swapped(digest)}")
            if not self._swapped(digest):
                found += self._compared(self.recorded[first : first + shard["rows"]], rows, first)
        return found, rows

    def _swapped(self, digest: str) -> str:
        other = next((shard["path"] for shard in self.shards if shard["sha256"] == digest), "")
        return f"; it is the file that belongs at {other}" if other else ""

    def _features(self, path: str, there: Mapping[str, Any]) -> list[str]:
        wanted = self.entry["features"]
        names = dict.fromkeys([*wanted, *there])
        return [f"{path}: column {name} has another type" for name in names if wanted.get(name) != there.get(name)]

    def _digests_file(self) -> Iterator[str]:
        path = self.folder / self.entry["digests"]["path"]
        if not path.is_file():
            yield f"{self.entry['digests']['path']}: missing"
        elif sha256_of(path) != self.entry["digests"]["sha256"]:
            yield f"{self.entry['digests']['path']}: sha256 differs; changed rows cannot all be named"

    def _recorded(self) -> list[RowDigest]:
        try:
            return read_digests(self.folder / self.entry["digests"]["path"])[1]
        except DataError:
            return []

    def _compared(self, recorded: Sequence[RowDigest], there: Sequence[RowDigest], first: int) -> list[str]:
        if not recorded:
            return []
        found = list(self._rows(recorded, there, first))
        more = [f"{self.name}: and {len(found) - _MOST} further rows"] if len(found) > _MOST else []
        return [*found[:_MOST], *more]

    def _rows(self, recorded: Sequence[RowDigest], there: Sequence[RowDigest], first: int) -> Iterator[str]:
        """Rows are told apart by their keys, so that one that is gone does not make all after it differ."""
        if [row.key for row in recorded] == [row.key for row in there]:
            pairs = list(zip(recorded, there, strict=True))
        else:
            by_key = {row.key: row for row in there}
            known = {row.key for row in recorded}
            for place, row in enumerate(recorded):
                if row.key not in by_key:
                    yield f"{self.name}: row {first + place} (id {row.key}): is missing"
            for place, row in enumerate(there):
                if row.key not in known:
                    yield f"{self.name}: row {first + place} (id {row.key}): was not there"
            if sorted(by_key) == sorted(known):
                yield f"{self.name}: rows stand in another order, or twice"
            pairs = [(row, by_key.get(row.key, row)) for row in recorded]
        for place, (before, after) in enumerate(pairs):
            if before.row != after.row:
                names = ", ".join(before.differing(after, self.columns)) or "of a digest"
                yield f"{self.name}: row {first + place} (id {before.key}): column {names} differs"


def _recipe(folder: Path, provenance: Mapping[str, Any]) -> list[str]:
    recorded = provenance["recipe"]
    try:
        text, body = read_recipe(folder / RECIPE)
    except DataError as fault:
        return [str(fault)]
    found = []
    if recipe_digest(body) != recorded["digest"]:
        found.append(f"{RECIPE}: digest {recipe_digest(body)}, {PROVENANCE} has {recorded['digest']}; it was edited")
    elif text_sha256(text) != recorded["sha256"]:
        found.append(f"{RECIPE}: sha256 differs; it was edited")
    if text_sha256(recorded["text"]) != recorded["sha256"]:
        found.append(f"{PROVENANCE}: recipe: its text does not have the recorded sha256")
    return found


def _unknown(folder: Path, files: Sequence[str] | None, provenance: Mapping[str, Any]) -> Iterator[str]:
    """Files among the shards of which provenance.json says nothing."""
    there = files or [path.relative_to(folder).as_posix() for path in folder.glob("data/*/*")]
    for name, entry in provenance["configs"].items():
        known = {shard["path"] for shard in entry["shards"]}
        for path in sorted(there):
            if path.startswith(shard_folder(name)) and path not in known:
                yield f"{path}: {PROVENANCE} does not know it"


def _store(folder: Path, provenance: Mapping[str, Any]) -> Iterator[str]:
    if "store" not in provenance:
        return
    if not (folder / STORE).is_file():
        yield f"{STORE}: missing"
    elif sha256_of(folder / STORE) != provenance["store"]["sha256"]:
        yield f"{STORE}: sha256 differs"


def _card(folder: Path, provenance: Mapping[str, Any]) -> list[str]:
    if not (folder / CARD).is_file():
        return [f"{CARD}: missing"]
    return card_faults((folder / CARD).read_text("utf-8"), provenance)


def _balance(provenance: Mapping[str, Any]) -> Iterator[str]:
    """Rows are conserved: of the run, and in the configs that hold them."""
    parts = {provenance["run"]: provenance, **provenance.get("earlier", {})}
    for run, part in parts.items():
        totals = part["totals"]
        rejected = sum(totals["rejected"].values())
        if totals["read"] + totals["added"] != totals["selected"] + totals["not_chosen"] + rejected:
            yield (
                f"{PROVENANCE}: run {run}: {totals['read']} read + {totals['added']} added is not {totals['selected']} "
                f"selected + {totals['not_chosen']} not chosen + {rejected} rejected"
            )
        for name, count in (("selected", totals["selected"]), ("rejected", rejected)):
            shards = provenance["configs"].get(name, {}).get("shards", ())
            rows = sum(shard["rows"] for shard in shards if shard["run"] == run)
            if rows and rows != count:
                yield f"{name}: {rows} rows of run {run}, which had {count}"
