"""The paired bootstrap against cases whose answer is known."""

import numpy as np
import pytest

from tagevol_hf.study.trained import paired
from tagevol_hf.study.trained.paired import bootstrap, contrasts


def scores(values):
    return {f"p{n}": float(value) for n, value in enumerate(values)}


def test_one_model_and_many_problems_have_the_interval_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(3, 2, 100)
    [found] = contrasts({"a": {0: scores(values)}}, "a")
    low, high = found.interval
    half = 1.96 * values.std() / 10
    assert found.mean == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.05 * half)
    assert (found.n, found.seeds, found.sd_over_seeds, found.difference) == (100, (0,), None, None)


def test_what_is_hard_for_all_cancels_in_the_difference():
    random = np.random.default_rng(2)
    hard = random.normal(0, 10, 100)
    arms = {"base": {0: scores(hard + random.normal(0, 0.1, 100))}}
    arms["better"] = {0: scores(hard + 0.5 + random.normal(0, 0.1, 100))}
    arms["shifted"] = {0: {name: value + 0.25 for name, value in arms["base"][0].items()}}
    base, better, shifted = contrasts(arms, "base")
    assert base.difference is None
    assert base.interval[1] - base.interval[0] > 2
    assert better.difference == pytest.approx(0.5, abs=0.04)
    low, high = better.difference_interval
    assert low < better.difference < high
    assert (high - low) / 2 == pytest.approx(1.96 * 0.1 * np.sqrt(2 / 100), rel=0.15)
    assert shifted.difference_interval == pytest.approx((0.25, 0.25))


def test_seeds_are_drawn_again_each_arms_by_itself():
    constant = {0: scores([0, 0, 0, 0]), 1: scores([1, 1, 1, 1])}
    tables = {"a": np.array([[0.0] * 4, [1.0] * 4]), "b": np.array([[0.0] * 4, [1.0] * 4])}
    drawn = bootstrap(tables, draws=8000)
    shares = [float((drawn["a"] == value).mean()) for value in (0, 0.5, 1)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    assert abs(np.corrcoef(drawn["a"], drawn["b"])[0, 1]) < 0.05
    first, second = contrasts({"a": constant, "b": constant}, "a")
    assert first.sd_over_seeds == pytest.approx(np.sqrt(0.5))
    assert (second.difference, second.difference_interval) == (0, (-1, 1))


def test_variances_of_problems_and_of_seeds_add_up():
    random = np.random.default_rng(3)
    table = random.normal(0, 1, 60)[None, :] + random.normal(0, 0.2, (5, 1))
    drawn = bootstrap({"a": table}, draws=10_000)["a"]
    expected = table.mean(axis=0).var() / 60 + table.mean(axis=1).var() / 5
    assert drawn.var() == pytest.approx(expected, rel=0.06)


def test_the_result_depends_neither_on_blocks_nor_on_other_arms_nor_on_order(monkeypatch):
    random = np.random.default_rng(4)
    arms = {name: {seed: scores(random.random(50)) for seed in (0, 1, 2)} for name in "abc"}
    whole = {one.arm: one for one in contrasts(arms, "a", draws=1000)}
    alone = {one.arm: one for one in contrasts({"c": arms["c"], "a": arms["a"]}, "a", draws=1000)}
    assert alone == {name: whole[name] for name in ("c", "a")}
    mixed = {name: {seed: dict(reversed(models[seed].items())) for seed in (2, 0, 1)} for name, models in arms.items()}
    monkeypatch.setattr(paired, "_CELLS", 50 * 7)  # 7 draws at a time
    for one in contrasts(mixed, "a", draws=1000):
        assert one.interval == pytest.approx(whole[one.arm].interval, abs=1e-12)
        assert one.difference_interval == pytest.approx(whole[one.arm].difference_interval, abs=1e-12)
    assert contrasts(arms, "a", draws=1000, seed=1)[1] != whole["b"]


def test_only_problems_with_a_score_of_all_count():
    arms = {"a": {0: scores([1, 2, 3, 9])}, "b": {0: scores([2, 3, 4])}, "none": {}}
    first, second = contrasts(arms, "a")
    assert (first.n, first.mean, second.n, second.difference) == (3, 2, 3, 1)
    assert [one.difference for one in contrasts(arms, "none")] == [None, None]
    assert contrasts({"a": {0: {"x": 1.0}}, "b": {0: {"y": 1.0}}}, "a") == []
    [single] = contrasts({"a": {0: {"x": 1.0}}}, "a")
    assert (single.n, single.mean, single.interval) == (1, 1.0, None)
