"""A judge whose faults are known: what comparisons, and scores one by one, would give on rows of known worth.

Assumptions, all of them simple and none of them taken from a real judge but the share of the ceiling:

- A row's worth is 60 + 12 q points of 100, with q a standard normal number; clusters do not differ unless `between`
  says so. Response lengths are log-normal (median 300 characters) and do not depend on the worth unless
  `length_with_worth` says so.
- A call gives each item its worth + normal noise of its own + a mood that both items of the call share, clipped to
  1..100 and rounded to sevenths of a point, as the mean of seven whole marks is. Noise is drawn anew for each call,
  and for each singleton call: a real singleton judge at temperature 0 would say the same again, so that singleton
  scoring is given more here than it has.
- Position: the first place leads by `position` points. Length: `length` points for each standard deviation of log
  length. Contrast: `contrast` times the difference from the other item is added.
- A singleton score is cut at a ceiling which a share `ceiling` of the rows reaches, and then rounded to fives, when
  there is a ceiling (76 % of published GPT-4 scores of Alpaca are one mark). A comparison knows no ceiling, for the
  other item is there to be compared with; `both_cut` takes this assumption away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from clustered_rows import CLUSTERED
from datasets import Dataset, Value
from scipy.stats import kendalltau

from tagevol_hf.selection.pairing import Field, pair_of

MIDDLE, SPREAD = 60.0, 12.0


@dataclass(frozen=True)
class World:
    """Rows and what is true of them: worth in points, standardised log length, cluster."""

    rows: Dataset
    worth: np.ndarray
    length: np.ndarray
    cluster: np.ndarray

    def tau(self, scores, inside=True):
        """Kendall's tau-b with the worth: the mean over the clusters, or over all rows; `scores` by id."""
        values = np.array([scores[row_id] for row_id in self.rows["id"]])
        if not inside:
            return float(kendalltau(values, self.worth).statistic)
        places = [np.flatnonzero(self.cluster == number) for number in np.unique(self.cluster)]
        return float(np.mean([kendalltau(values[own], self.worth[own]).statistic for own in places]))


@dataclass(frozen=True)
class Judge:
    """Faults, in points of 100 where nothing else is said."""

    noise: float = 8.0
    mood: float = 4.0
    position: float = 0.0
    length: float = 0.0
    contrast: float = 0.0
    ceiling: float = 0.0
    both_cut: bool = False

    def compare(self, planned: Dataset, world: World, seed: int = 0) -> Dataset:
        """The pair-rows with both scores."""
        draw = np.random.default_rng([seed, 1])
        place = {row_id: number for number, row_id in enumerate(world.rows["id"])}
        first, second = (np.array([place[row_id] for row_id in planned[f"{side}_id"]]) for side in ("first", "second"))
        lead = world.worth[first] - world.worth[second] if self.contrast else 0.0
        mood = draw.normal(0, self.mood, len(first))
        for name, rows, sign in (("first_score", first, 1), ("second_score", second, -1)):
            liked = self._liked(world, rows) + sign * (self.position / 2 + self.contrast * lead)
            given = liked + mood + draw.normal(0, self.noise, len(rows))
            planned = planned.add_column(name, self._marked(given, world, self.both_cut), feature=Value("float64"))
        return planned

    def single(self, world: World, times: int, seed: int = 0) -> dict[str, float]:
        """Mean of so many scores of each row by itself."""
        draw = np.random.default_rng([seed, 2])
        every = np.arange(len(world.worth))
        spread = np.hypot(self.noise, self.mood)
        given = [self._marked(self._liked(world, every) + draw.normal(0, spread, len(every)), world, True)
                 for _ in range(times)]  # fmt: skip
        return dict(zip(world.rows["id"], np.mean(given, axis=0).tolist(), strict=True))

    def _liked(self, world: World, rows: np.ndarray) -> np.ndarray:
        return world.worth[rows] + self.length * world.length[rows]

    def _marked(self, given: np.ndarray, world: World, cut: bool) -> np.ndarray:
        if not (cut and self.ceiling):
            return np.round(np.clip(given, 1, 100) * 7) / 7
        top = np.quantile(world.worth, 1 - self.ceiling)
        return np.round(np.clip(np.minimum(given, top), 1, 100) / 5) * 5


def world(rows=1000, clusters=50, seed=0, between=0.0, length_with_worth=0.0):
    """Rows r00000, …; `between` is the share of the worth's variance that is between clusters."""
    draw = np.random.default_rng([seed, 0])
    cluster = np.arange(rows) % clusters
    own, shared = draw.normal(size=rows), draw.normal(size=clusters)[cluster]
    quality = np.sqrt(1 - between) * own + np.sqrt(between) * shared
    length = length_with_worth * quality + np.sqrt(1 - length_with_worth**2) * draw.normal(size=rows)
    characters = np.maximum(1, np.round(300 * np.exp(0.7 * length))).astype(int)
    columns = {
        "id": [f"r{number:05}" for number in range(rows)],
        "instruction": ["ask"] * rows,
        "input": [""] * rows,
        "response": ["x" * size for size in characters.tolist()],
        "history": [[]] * rows,
        "rejection": [None] * rows,
        "cluster": cluster.tolist(),
        "nearest_other": [None] * rows,
    }
    logs = np.log1p(characters)
    return World(
        Dataset.from_dict(columns, features=CLUSTERED),
        MIDDLE + SPREAD * quality,
        (logs - logs.mean()) / logs.std(),
        cluster,
    )


def against_equals(there: World, near=10, meetings=6, seed=0):
    """A lopsided plan, in both orders: each row meets rows within so many places of its rank in its cluster."""
    draw = np.random.default_rng([seed, 3])
    planned = {}
    for number in np.unique(there.cluster):
        own = np.flatnonzero(there.cluster == number)
        ranked = own[np.argsort(there.worth[own])]
        for place in range(len(ranked)):
            others = [other for other in range(place - near, place + near + 1) if 0 <= other < len(ranked)]
            others.remove(place)
            for other in draw.choice(others, meetings // 2, replace=False):
                pair = pair_of(f"r{ranked[place]:05}", f"r{ranked[other]:05}")
                planned[pair] = int(number)
    return Field.of(there.rows).pair_rows(dict(sorted(planned.items())), "both", seed)


def values(scores):
    """The value of each score by id."""
    return {row_id: score.value for row_id, score in scores.items()}
