"""A mean never stands alone."""

import json

import numpy as np
import pytest
from toy_task import toy

from tagevol_hf.errors import DataError
from tagevol_hf.evals.result import interval, result_of
from tagevol_hf.evals.task import Grade


def grades(*scores):
    verdicts = {1.0: "right", 0.0: "wrong", None: "missing"}
    return [Grade(f"toy/{n}", score, verdicts.get(score, "scored")) for n, score in enumerate(scores)]


def test_mean_n_and_interval(tmp_path):
    result = result_of(toy(), grades(1.0, 0.0, 1.0, 1.0), {"model": "me"})
    assert (result.mean, result.n, result.n_expected) == (0.75, 4, 4)
    assert result.interval == pytest.approx((0.3006, 0.9544), abs=1e-4), "Wilson's interval of 3 of 4"
    body = json.loads(result.save(tmp_path).read_text())
    assert body["accuracy"] == body["mean"] == 0.75
    assert (body["model"], body["verdicts"]) == ("me", {"right": 3, "wrong": 1})
    assert body["grades"][1] == {"id": "toy/1", "score": 0.0, "verdict": "wrong", "detail": "", "parts": {}}


def test_intervals_cover_the_truth_as_often_as_they_say():
    draws = np.random.default_rng(0)
    for samples in (draws.random((2000, 40)) < 0.85, draws.normal(5, 2, (2000, 40))):
        truth = 0.85 if samples.dtype == bool else 5
        found = [interval([float(score) for score in sample]) for sample in samples]
        assert 0.93 < np.mean([low <= truth <= high for low, high in found]) < 0.97


def test_few_scores_have_wide_intervals_or_none():
    assert interval([]) is None
    assert interval([7.5]) is None
    assert interval([1.0]) == pytest.approx((0.2065, 1.0), abs=1e-4)
    assert interval([0.0] * 20)[0] == 0


def test_an_incomplete_set_is_refused_unless_asked_for():
    with pytest.raises(DataError, match=r"toy: only 1 of 3 have a score \(2 missing\); a mean of the rest"):
        result_of(toy(), grades(1.0, None, None), {})
    result = result_of(toy(), grades(1.0, None, None), {}, incomplete="allow")
    assert (result.mean, result.n, result.n_expected) == (1.0, 1, 3), "what is missing is not 0"
    with pytest.raises(DataError, match="only 0 of 2"):
        result_of(toy(), grades(None, None), {}, incomplete="allow")
