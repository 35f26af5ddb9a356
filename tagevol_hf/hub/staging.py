"""All files of a push, made and checked on this machine before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from datasets import Dataset

from ..errors import DataError
from ..report.words import plural
from .cells import content_digest, digests_of, read_digests, write_digests
from .layout import CARD, PROVENANCE, RECIPE, STORE, digests_name, megabytes, sha256_of, shard_folder
from .provenance import as_json, entry_of, provenance_of, read_recipe, run_id
from .readme_check import card_faults, touched
from .remote import There
from .request_store import copy_store
from .secrets import Secrets, secrets_of
from .shards import SHARD_BYTES, Written, read_shard, write_shards

Mode = Literal["replace", "append"]
_OF_A_RUN = ("name", "started", "seed", "recipe", "totals", "steps", "engines", "prompts", "versions", "tokens")


@dataclass(frozen=True)
class Before:
    """What a repository holds before the push.

    Attributes:
        there: Its files.
        folder: Where those of its files lie that a push needs.
        provenance: Of provenance.json; empty where there is none.
        card: Text of its README.md; None where there is none.
    """

    there: There
    folder: Path
    provenance: Mapping[str, Any] = field(default_factory=dict)
    card: str | None = None

    def entry(self, config: str) -> Mapping[str, Any] | None:
        """What provenance.json says about a config."""
        found: Mapping[str, Any] | None = self.provenance.get("configs", {}).get(config)
        return found


@dataclass
class Staged:
    """What is to be sent.

    Attributes:
        files: Path in the repository → file.
        stale: Paths to take away.
        notes: What was made, a line each.
    """

    files: dict[str, Path] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Staging:
    """Makes the files of one push in a folder.

    Args:
        run: The run folder.
        repo: `owner/name`.
        folder: An empty folder, used up by this.
        before: What the repository holds.
        token: The Hub's, which no file may hold.
        shard_bytes: Most bytes of a shard before compression.
    """

    def __init__(
        self, run: Path, repo: str, folder: Path, before: Before, token: str = "", shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.run, self.repo, self.folder, self.before = run, repo, folder, before
        self.secrets: Secrets = secrets_of(*read_recipe(run / RECIPE), token)
        self._shard_bytes = shard_bytes
        self.made = Staged()
        self._entries: dict[str, Any] = dict(before.provenance.get("configs", {}))

    def config(self, name: str, rows: Dataset, mode: Mode) -> None:
        """Make one config's files.

        Raises:
            DataError: If a row holds a key, or the rows cannot come after those that are there.
        """
        old = self.before.entry(name) if mode == "append" else None
        if old is not None:
            _same_columns(name, old["features"], rows.features.to_dict())
        start = 0 if old is None else len(old["shards"])
        clean = partial(self._clean, name)
        written = write_shards(rows, name, self.folder, start=start, shard_bytes=self._shard_bytes, clean=clean)
        if old is not None and {shard.sha256 for shard in written.shards} <= {one["sha256"] for one in old["shards"]}:
            self.made.notes.append(f"{name}: these {len(rows):,} rows are there already; nothing is added")
            return
        self._check(name, written)
        self._entries[name] = self._entry(name, written, old)
        for shard in written.shards:
            self.made.files[shard.path] = self.folder / shard.path
        self.made.files[digests_name(name)] = self.folder / digests_name(name)
        if old is None:
            fresh = {shard.path for shard in written.shards}
            gone = {path for path in self.before.there.files if path.startswith(shard_folder(name))} - fresh
            self.made.stale += sorted(gone)
        size = sum((self.folder / shard.path).stat().st_size for shard in written.shards)
        self.made.notes.append(
            f"{name}: {plural(len(rows), 'row')} in {plural(len(written.shards), 'file')}, {megabytes(size)}"
        )

    def store(self) -> None:
        """Add the request store.

        Raises:
            DataError: If the run has none, or a reply holds a key.
        """
        copy_store(self.run, self.folder / STORE, self.secrets)
        self.made.files[STORE] = self.folder / STORE

    def finish(self) -> Staged:
        """Make the card, the provenance and the recipe, and look for keys in them.

        Raises:
            DataError: If one holds a key, or the card does not fit.
        """
        from .card import dataset_card

        provenance = self._provenance()
        card = dataset_card(self.run, provenance, self.before.card, self.repo)
        self._check_card(card, provenance)
        texts = {CARD: card, PROVENANCE: as_json(provenance), RECIPE: provenance["recipe"]["text"]}
        for name, text in texts.items():
            self.secrets.check_text(name, text)
            (self.folder / name).write_text(text, encoding="utf-8", newline="\n")
            self.made.files[name] = self.folder / name
        return self.made

    def _provenance(self) -> dict[str, Any]:
        body = provenance_of(self.run, self._entries)
        old, used = self.before.provenance, {shard["run"] for e in self._entries.values() for shard in e["shards"]}
        if STORE in self.made.files:
            body["store"] = {"sha256": sha256_of(self.made.files[STORE]), "run": body["run"]}
        elif "store" in old:
            body["store"] = old["store"]
        earlier = dict(old.get("earlier", {}))
        if old:
            earlier[old["run"]] = {name: old[name] for name in _OF_A_RUN if name in old}
        kept = {run: part for run, part in sorted(earlier.items()) if run in used and run != body["run"]}
        return {**body, "earlier": kept} if kept else body

    def _clean(self, config: str, first: int, table: pa.Table) -> pa.Table:
        clean = self.secrets.clean(table)
        self.secrets.check(config, first, clean)
        return clean

    def _entry(self, name: str, written: Written, old: Mapping[str, Any] | None) -> dict[str, Any]:
        digests, before = self.folder / digests_name(name), None
        if old is not None:
            before = self.before.folder / digests_name(name)
            if not before.is_file() or sha256_of(before) != old["digests"]["sha256"]:
                raise DataError(
                    f"{digests_name(name)} on the Hub does not fit {PROVENANCE}; push without append, or look: "
                    f"tagevol verify {self.repo}"
                )
        write_digests(digests, list(written.features), written.rows, before)
        entry = entry_of(name, written, run_id(self.run), sha256_of(digests))
        if old is not None:
            entry["rows"] += old["rows"]
            entry["shards"] = [*old["shards"], *entry["shards"]]
            entry["digest"] = content_digest(read_digests(digests)[1])
        return entry

    def _check(self, name: str, written: Written) -> None:
        """Read back what was written."""
        tables = (table for shard in written.shards for table in read_shard(self.folder / shard.path))
        if content_digest(row for table in tables for row in digests_of(table)) != written.digest:
            raise DataError(f"{name}: what was written cannot be read back; is the disk full? Nothing was pushed")

    def _check_card(self, card: str, provenance: Mapping[str, Any]) -> None:
        faults = card_faults(card, provenance)
        lost = touched(self.before.card or "", card, self._entries)
        faults += [f"{CARD}: the config {name}, which is somebody else's, would be lost" for name in lost]
        if faults:
            raise DataError(f"the card does not fit, nothing was pushed: {'; '.join(faults[:3])}; please report this")


def _same_columns(config: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for column in dict.fromkeys([*old, *new]):
        if old.get(column) != new.get(column):
            raise DataError(
                f"{config}: column {column} is {_shown(old.get(column))} on the Hub and {_shown(new.get(column))} in "
                "this run; rows can only be added in the same columns: push without append, or to another repository"
            )


def _shown(feature: Mapping[str, Any] | None) -> str:
    if feature is None:
        return "not there"
    return str(feature.get("dtype") or feature.get("_type") or f"a struct of {', '.join(feature)}")
