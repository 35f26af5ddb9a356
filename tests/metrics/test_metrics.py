"""The measures as modules of `evaluate`, from the installed package and without a network."""

import math

import pytest

import tagevol_hf
from tagevol_hf.errors import RecipeError
from tagevol_hf.metrics import NAMES

evaluate = pytest.importorskip("evaluate")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path))


def compute(name, **values):
    return evaluate.load(tagevol_hf.metric_path(name)).compute(**values)


def test_all_load_and_describe_themselves():
    for name in NAMES:
        module = evaluate.load(tagevol_hf.metric_path(name))
        assert module.name == name
        assert module.description
        assert "Args:" in module.inputs_description
    with pytest.raises(RecipeError, match="metric_path: 'tags': expected one of tag_diversity"):
        tagevol_hf.metric_path("tags")


def test_tags():
    tags = [["algebra", "proof"], ["algebra"], ["history", "war", "proof"]]
    assert compute("tag_diversity", predictions=tags) == {
        "tag_diversity": 4, "tag_diversity_per_instruction": pytest.approx(4 / 3), "n": 3,
    }  # fmt: skip
    assert compute("tag_difficulty", predictions=tags) == {"tag_difficulty": 2, "n": 3}


def test_win_rate_counts_what_is_missing():
    found = compute("win_rate", predictions=[1, 0.5, 0, 1, math.nan])
    assert (found["win_rate"], found["n"], found["n_expected"]) == (0.625, 4, 5)
    assert (found["wins"], found["ties"], found["losses"]) == (2, 1, 1)
    assert found["interval"][0] < 0.625 < found["interval"][1]
    with pytest.raises(ValueError, match=r"win_rate: expected preferences from 0 to 1, got 2\.0"):
        compute("win_rate", predictions=[2])


def test_math_accuracy_by_both_rules():
    responses = [r"So \boxed{0.25}.", "The answer is 7.", "I do not know", "#### 8"]
    found = compute("math_accuracy", predictions=responses, references=[r"\frac{1}{4}", "7", "1", "9"])
    assert found == {"math_accuracy": 0.5, "math_accuracy_by_string": 0.25, "no_answer": 1, "n": 4}
