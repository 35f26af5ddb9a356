"""InsTag, k-centre and Deita against plain independent versions of their algorithms, on small random pools."""

import random

import numpy as np
import pytest
from baseline_pools import Chart, build, shuffled

from tagevol_hf.selection.baselines import Deita, InsTag, KCenter

pools = pytest.mark.parametrize(
    "pools", [range(12), pytest.param(range(12, 312), marks=pytest.mark.slow)], ids=["few", "many"]
)


def ranked(selection):
    return [choice.id for choice in sorted(selection.choices, key=lambda choice: choice.rank)]


# InsTag


def oracle_instag(rows, n):
    """Algorithm 1 word by word; rows without labels, which bring nothing, would make it pass for ever."""
    left = sorted(rows, key=lambda row: (-row["complexity"], row["id"]))
    taken = []
    while len(taken) < n:
        seen, again = set(), []
        for row in left:
            if len(taken) < n and len(seen | set(row["labels"])) > len(seen):
                seen |= set(row["labels"])
                taken.append(row["id"])
            else:
                again.append(row)
        if len(again) == len(left):
            break
        left = again
    return taken


@pools
@pytest.mark.parametrize("turns", [False, True])
def test_instag_is_algorithm_1(turns, pools):
    for number in pools:
        dice = random.Random(number)
        rows = []
        for place in range(dice.randint(0, 14)):
            labels = [dice.choice("abcdef") for _ in range(dice.randint(0, 4))]
            row = {"id": f"r{dice.random():.8f}-{place}", "labels": labels, "complexity": len(set(labels))}
            if turns:
                row["turn_tags"] = [dice.randint(0, 3) for _ in range(dice.randint(1, 3))]
                row["complexity"] = sum(row["turn_tags"]) / len(row["turn_tags"])
            rows.append(row)
        n = dice.randint(0, 16)
        columns = {"labels": [row["labels"] for row in rows]}
        if turns:
            columns["turn_tags"] = [row["turn_tags"] for row in rows]
        found = InsTag().select(build(ids=[row["id"] for row in rows], **columns), n)
        assert ranked(found) == oracle_instag(rows, n), number


# k-centre


def plane(dice, count):
    """Points on a circle, many of them the same; cosines differ by far more than a rounding or not at all."""
    angles = [dice.randrange(24) * np.pi / 12 for _ in range(count)]
    return [(float(np.cos(angle)), float(np.sin(angle))) for angle in angles]


def oracle_k_center(points, first, n):
    """From ids to points: the farthest from its nearest centre, by looking at all pairs; ties by id."""
    centres = [first] if n else []
    while len(centres) < min(n, len(points)):

        def distance(name):
            return min(1 - np.dot(points[name], points[other]) for other in centres)

        far = max(distance(name) for name in points if name not in centres)
        centres.append(min(name for name in points if name not in centres and far - distance(name) < 1e-5))
    return centres


@pools
def test_k_center_takes_the_farthest(pools):
    for number in pools:
        dice = random.Random(number)
        points = plane(dice, dice.randint(1, 12))
        ids = [f"r{dice.randrange(10**6)}-{place}" for place in range(len(points))]
        chart = Chart(dict(zip(ids, points, strict=True)))
        n = dice.randint(1, 14)
        found = KCenter(chart, seed=number).select(build(ids=ids, instruction=ids), n)
        order = ranked(found)
        assert order == oracle_k_center(dict(zip(ids, points, strict=True)), order[0], n), number


# Deita


def oracle_deita(rows, threshold, n):
    kept = []
    for row in sorted(rows, key=lambda row: (row["score"] is None, -(row["score"] or 0), row["id"])):
        if len(kept) < n and all(np.dot(row["point"], other["point"]) <= threshold + 1e-5 for other in kept):
            kept.append(row)
    return [row["id"] for row in kept]


@pools
@pytest.mark.parametrize("chunk", [2, 1000])
def test_deita_keeps_what_is_unlike_all_kept(chunk, pools, monkeypatch):
    monkeypatch.setattr("tagevol_hf.selection.baselines.deita.CHUNK", chunk)
    for number in pools:
        dice = random.Random(number)
        points = plane(dice, dice.randint(0, 12))
        rows = []
        for place, point in enumerate(points):
            marks = [dice.choice([None, 1.0, 2.0, 3.0, float("nan")]) for _ in range(2)]
            bad = any(mark is None or mark != mark for mark in marks)
            score = None if bad else marks[0] * marks[1]
            rows.append({"id": f"r{dice.randrange(10**6)}-{place}", "point": point, "marks": marks, "score": score})
        ids = [row["id"] for row in rows]
        n, threshold = dice.randint(0, 14), dice.choice([-1.0, 0.0, 0.9, 0.97, 1.0])
        pool = build(
            ids=ids,
            instruction=ids,
            complexity=[row["marks"][0] for row in rows],
            quality=[row["marks"][1] for row in rows],
        )
        chart = Chart({row["id"]: row["point"] for row in rows})
        deita = Deita(chart, threshold=threshold, of="instruction")
        assert ranked(deita.select(pool, n)) == oracle_deita(rows, threshold, n), number
        mixed = shuffled(pool, number)
        assert ranked(deita.select(mixed, n)) == ranked(deita.select(pool, n))
