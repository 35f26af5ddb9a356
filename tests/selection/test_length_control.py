import numpy as np
import pytest
from datasets import Dataset
from scipy.stats import kendalltau

from tagevol_hf.errors import DataError
from tagevol_hf.selection.length_control import control_length


def rows(scores, sizes, clusters, **more):
    return Dataset.from_dict(
        {"score": list(scores), "response": ["x" * int(size) for size in sizes], "cluster": list(clusters), **more}
    )


@pytest.fixture
def biased():
    """Scores with a bent length bias, and clusters with other means and other lengths."""
    draw = np.random.default_rng(1)
    cluster = np.arange(600) % 6
    logs = 5 + 0.3 * cluster + draw.normal(size=600) * 0.8
    own = draw.normal(size=600) * 4 + 3 * cluster
    return rows(50 + own + 6 * np.tanh(logs - 5.5), np.exp(logs), cluster.tolist(), own=own)


def test_a_planted_bias_goes_and_the_clusters_stay(biased):
    done = control_length(biased)
    sizes = [len(text) for text in done["response"]]
    assert kendalltau(done["score"], sizes).statistic > 0.5
    own, controlled = np.array(done["own"]), np.array(done["length_controlled_score"])
    assert np.corrcoef(controlled, own)[0, 1] > 0.99  # 3 points from cluster to cluster are not put down to length
    before, after = np.array(done["score"]) - own, controlled - own  # what is not the row's own
    assert before.std() > 3
    assert after.std() < 0.6
    assert done["score"][:] == biased["score"][:]


def test_rows_without_a_score_keep_null(biased):
    holes = [None if place % 3 == 0 else score for place, score in enumerate(biased["score"])]
    done = control_length(biased.remove_columns("score").add_column("score", holes))
    controlled = done["length_controlled_score"][:]
    assert [value is None for value in controlled] == [value is None for value in holes]


def test_another_column_and_another_group(biased):
    renamed = biased.rename_columns({"score": "single_score", "cluster": "source"})
    assert (
        control_length(renamed, by="single_score", within="source")["length_controlled_score"][:]
        == (control_length(biased)["length_controlled_score"][:])
    )


@pytest.mark.parametrize(
    ("scores", "sizes"),
    [([60.0, 70.0, 80.0], [10, 100, 1000]), (np.arange(50.0), [7] * 50), ([], []), ([None, None], [1, 2])],
)
def test_few_rows_or_one_length_leave_the_scores(scores, sizes):
    features = rows([1.0], [1], [0]).features
    given = rows(scores, sizes, [0] * len(sizes)).cast(features) if len(sizes) else rows([1.0], [1], [0]).select([])
    done = control_length(given)
    assert done["length_controlled_score"][:] == given["score"][:]
    assert str(done.features["length_controlled_score"].dtype) == "float64"


def test_it_is_written_anew_and_in_the_rows_order(biased):
    once = control_length(biased)
    assert control_length(once)["length_controlled_score"][:] == once["length_controlled_score"][:]
    turned = biased.select(range(599, -1, -1))
    assert control_length(turned)["length_controlled_score"][::-1] == pytest.approx(
        once["length_controlled_score"][:], abs=1e-9
    )


def test_a_missing_column_is_named(biased):
    with pytest.raises(DataError, match=r"control_length needs the columns cluster; .*apply add_clusters"):
        control_length(biased.remove_columns("cluster"))
