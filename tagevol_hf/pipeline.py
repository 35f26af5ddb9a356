"""The journey of one recipe, top to bottom: rows in, a curated set out, everything in one run folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from datasets import Dataset, load_from_disk

from .errors import DataError
from .evolve.respond import Responder
from .evolve.tag_evol import TagEvol, draw_candidates
from .formats import prepare
from .recipe import Recipe
from .recipe_steps import ModelStep
from .run_folder import RunFolder, read_run
from .sources import load
from .stage import Stage
from .step_record import StepRecord
from .tags.pool import TagPool
from .tags.taggers import AspectTagger, OpenTagger

AStage = TypeVar("AStage", bound=Stage)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: The run folder.
        record: What `run.json` holds.
    """

    path: Path
    record: dict[str, Any]

    @property
    def selected(self) -> Dataset:
        """The curated rows."""
        return load_from_disk(str(self.path / "selected"))

    @property
    def not_chosen(self) -> Dataset:
        """Good rows that the selection left out."""
        return load_from_disk(str(self.path / "not_chosen"))

    @property
    def rejected(self) -> Dataset:
        """Rows that left on the way, each with its `rejection`."""
        return load_from_disk(str(self.path / "rejected"))


def curate(
    recipe: Recipe,
    folder: str | Path | None = None,
    command: str = "",
    tell: Callable[[StepRecord], None] | None = None,
) -> Run:
    """Run a recipe. A second run of the same recipe in the same folder asks the engine nothing again.

    Args:
        recipe: What to do.
        folder: The run folder; `runs/<name>` by default.
        command: The command line, for the record.
        tell: Called with the record of each step when it ends.

    Raises:
        DataError: If the data cannot be used, or no row is left after a step.
        EngineError: If an engine or the store fails; the same call goes on where this one ended.
    """
    path = Path(folder) if folder is not None else Path("runs") / recipe.name
    with RunFolder(path, recipe, command) as run:
        journey = _Journey(run, recipe, tell or (lambda _: None))
        selected, not_chosen = journey.all_steps()
        run.finish(selected, not_chosen)
    return Run(path, read_run(path))


class _Journey:
    """The steps of one run, one method each; `all_steps` is the order."""

    def __init__(self, run: RunFolder, recipe: Recipe, tell: Callable[[StepRecord], None]) -> None:
        self.run, self.recipe, self.tell = run, recipe, tell
        self.rows = Dataset.from_dict({})
        self.not_chosen: Dataset | None = None

    def all_steps(self) -> tuple[Dataset, Dataset]:
        """Load, then every step of the recipe in its order."""
        self.load()
        for name, options in self.recipe.steps:
            getattr(self, name)(options)
            self.tell(self.run.steps[-1])
        if self.not_chosen is None:
            self.not_chosen = self.rows.select([])
        return self.rows, self.not_chosen

    def load(self) -> None:
        """Read the data and bring it into the form of a row."""
        data = self.recipe.data
        source = load(data.source, config=data.config, split=data.split, revision=data.revision, limit=data.limit)
        if len(source) == 0:
            raise DataError(f"data.source {data.source!r}: the data set has no rows")
        with self.run.step("load", "load", len(source)) as record:
            self.rows = self.run.keep(record, prepare(source, data.columns, data.max_chars))
        self.tell(record)

    def aspect_tags(self, options: Any) -> None:
        """Aspects of each seed, tags under each (map)."""
        self.ask(AspectTagger, "aspect_tags", options, max_aspects=options.max_aspects, max_tags=options.max_tags)

    def tag_pool(self, options: Any) -> None:
        """All tags of the seeds (fold)."""
        with self.run.step("tag_pool", "fold", len(self.rows)) as record:
            self.pool = TagPool.from_dataset(self.rows)
            self.pool.save(self.run.path / "tag_pool.json")
            aspects = {aspect for counts in self.pool.aspects.values() for aspect in counts}
            record.summary = {"tags": len(self.pool), "aspects": len(aspects)}
            record.rows_out = len(self.rows)

    def tag_evol(self, options: Any) -> None:
        """One row a budget, with its candidates (fan); exactly b of them chosen and woven in (map)."""
        seeds = len(self.rows)
        fanned = draw_candidates(self.rows, self.pool, options.budgets, options.candidates, self.recipe.seed)
        self.ask(
            TagEvol,
            "tag_evol",
            options,
            fanned,
            seeds=seeds,
            words_per_tag=options.words_per_tag,
            max_chars=options.max_chars,
        )

    def respond(self, options: Any) -> None:
        """An answer to each instruction (map)."""
        self.ask(Responder, "respond", options)

    def open_tags(self, options: Any) -> None:
        """Open tags of each query (map)."""
        self.ask(OpenTagger, "open_tags", options, granularity=options.granularity, max_tags=options.max_tags)

    def normalize_tags(self, options: Any) -> None:
        """Open tags → canonical labels (fold, map)."""
        from .tags.embed import open_embedder
        from .tags.normalize import add_labels, fit_normalizer

        with self.run.step("normalize_tags", "map", len(self.rows)) as record:
            embedder = open_embedder(options.embedder)
            normalizer = fit_normalizer(self.rows, alpha=options.alpha, eps=options.eps, embedder=embedder)
            normalizer.save(self.run.path / "tags.json")
            self.rows = self.run.keep(record, add_labels(self.rows, normalizer))
            record.summary = normalizer.summary()

    def cluster(self, options: Any) -> None:
        """Labels → clusters, rows → clusters (fold, map)."""
        from .selection.cluster import add_clusters, fit_clusters
        from .tags.embed import open_embedder

        with self.run.step("cluster", "map", len(self.rows)) as record:
            embedder = open_embedder(options.embedder)
            clusters = fit_clusters(self.rows, k=self.recipe.clusters, embedder=embedder, seed=self.recipe.seed)
            clusters.save(self.run.path / "clusters.json")
            self.rows = self.run.keep(record, add_clusters(self.rows, clusters, embedder))
            record.summary = {"k": clusters.k, "asked_k": self.recipe.clusters, "note": clusters.note}

    def compare(self, options: Any) -> None:
        """Pairs inside a cluster (fan), compared in both orders (map), one score a row (fold, map)."""
        from .rows import split_rejected
        from .selection.compare import Comparer, add_scores, fold_scores, pairs, reliability

        with self.run.step("compare", "map", len(self.rows)) as record:
            planned = pairs(self.rows, comparisons=options.comparisons, orders=options.orders, seed=self.recipe.seed)
            comparer = self.stage(Comparer, "compare", options, record)
            compared, lost = split_rejected(comparer.apply(planned))
            self.run.save(compared, "comparisons")
            if len(lost):
                self.run.save(lost, "comparisons_rejected")
            reasons = dict(Counter(mark["reason"] for mark in lost["rejection"]))
            if len(lost) == len(planned) > 0:
                why = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
                raise DataError(
                    f"compare: none of the {len(planned)} comparisons gave a score ({why}); the replies are in "
                    f"{self.run.path / 'comparisons_rejected'}"
                )
            record.summary = {
                "pairs": len(planned),
                "pairs_rejected": len(lost),
                "pair_reasons": reasons,
                **reliability(compared),
            }
            self.rows = self.run.keep(record, add_scores(self.rows, fold_scores(compared)))

    def select(self, options: Any) -> None:
        """The best of each cluster (pick)."""
        from .selection.tacos import select

        with self.run.step("select", "pick", len(self.rows)) as record:
            selection = select(self.rows, n=options.n)
            self.not_chosen = self.rows.select(selection.left)
            chosen = selection.apply(self.rows)
            record.not_chosen, record.summary = len(self.not_chosen), selection.summary()
            places = zip(chosen["cluster_rank"], chosen["cluster"], range(len(chosen)), strict=True)
            best_first = [index for _, _, index in sorted(places)]  # whatever the order of the seeds
            self.rows = self.run.keep(record, chosen.select(best_first))

    def ask(
        self,
        kind: type[AStage],
        name: str,
        options: ModelStep,
        rows: Dataset | None = None,
        seeds: int | None = None,
        **parameters: Any,
    ) -> None:
        """Apply a stage and keep its rows; `seeds` is the number of rows before a fan."""
        rows = self.rows if rows is None else rows
        before = len(rows) if seeds is None else seeds
        with self.run.step(name, "map" if seeds is None else "fan", before) as record:
            record.added = len(rows) - before
            stage = self.stage(kind, name, options, record, **parameters)
            self.rows = self.run.keep(record, stage.apply(rows))

    def stage(self, kind: type[AStage], name: str, options: ModelStep, record: StepRecord, **parameters: Any) -> AStage:
        """A stage with the recipe's engine, seed and options."""
        given = {key: getattr(options, key) for key in ModelStep.model_fields if getattr(options, key) is not None}
        stage = kind(self.run.engine(name), seed=self.recipe.seed, **parameters, **given)
        record.prompt = {"name": stage.prompt.name, "digest": stage.prompt.digest}  # type: ignore[union-attr]
        return stage
