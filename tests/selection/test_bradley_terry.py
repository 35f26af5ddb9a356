import time

import numpy as np
import pytest

from tagevol_hf.errors import DataError
from tagevol_hf.selection import bradley_terry
from tagevol_hf.selection.bradley_terry import PRECISION, strengths


def drawn(count, meetings, seed=0, groups=1):
    """Verdicts of rows with known strengths: (strengths by id, verdicts)."""
    draw = np.random.default_rng(seed)
    truth = {f"r{number:05}": value for number, value in enumerate(draw.normal(size=count))}
    ids, size, verdicts = list(truth), count // groups, {}
    for group in range(groups):
        for _ in range(meetings // 2):
            order = draw.permutation(ids[group * size : (group + 1) * size]).tolist()
            for one, other in zip(order, order[1:] + order[:1], strict=True):
                pair = (min(one, other), max(one, other))
                won = draw.random() < 1 / (1 + np.exp(truth[pair[1]] - truth[pair[0]]))
                verdicts[pair] = float(won)
    return truth, verdicts


def oracle(verdicts):
    """Dense, by plain gradient ascent: (chances, errors) × 100, of one component."""
    ids = sorted({row_id for pair in verdicts for row_id in pair})
    place = {row_id: number for number, row_id in enumerate(ids)}
    won = np.full((len(ids),) * 2, np.nan)
    for (one, other), share in verdicts.items():
        won[place[one], place[other]], won[place[other], place[one]] = share, 1 - share
    met, theta = ~np.isnan(won), np.zeros(len(ids))
    for _ in range(4000):
        chance = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
        theta += 0.1 * (np.where(met, np.nan_to_num(won) - chance, 0).sum(axis=1) - PRECISION * theta)
    weight = np.where(met, chance * (1 - chance), 0)
    curvature = np.diag(weight.sum(axis=1) + PRECISION) - weight
    centre = np.eye(len(ids)) - 1 / len(ids)
    variance = np.diag(centre @ np.linalg.inv(curvature) @ centre)
    beat = 1 / (1 + np.exp(-theta))
    return 100 * np.stack([beat, np.sqrt(variance) * beat * (1 - beat)], axis=1)


def test_it_agrees_with_a_dense_oracle():
    _, verdicts = drawn(12, 4)
    found = strengths(verdicts)
    assert np.array([found[row_id] for row_id in sorted(found)]) == pytest.approx(oracle(verdicts), abs=1e-4)


def test_rows_that_win_or_lose_everything_stay_finite():
    found = strengths({("a", "b"): 1.0, ("a", "c"): 1.0, ("b", "c"): 1.0})
    assert 50 < found["a"][0] < 100
    assert found["a"][0] == pytest.approx(100 - found["c"][0])
    assert found["b"][0] == pytest.approx(50)


def test_the_prior_is_as_described():
    """A row that beats all of many average rows."""
    for wins, percent in ((4, 93), (40, 99)):
        theta = 0.0
        for _ in range(3000):
            theta += 0.02 * (wins / (1 + np.exp(theta)) - PRECISION * theta)
        assert round(100 / (1 + np.exp(-theta))) == percent


def test_the_strength_of_the_others_counts():
    """Both beat one row; that of the first is the better one."""
    found = strengths({("good", "middle"): 0.5, ("middle", "weak"): 1.0, ("a", "good"): 1.0, ("b", "weak"): 1.0})
    assert found["a"][0] > found["b"][0] + 5


def test_components_stand_by_themselves():
    one, other = {("a", "b"): 1.0, ("b", "c"): 0.5}, {("x", "y"): 1.0}
    together = strengths({**one, **other})
    assert {row_id: pytest.approx(value, abs=1e-5) for row_id, value in together.items()} == {
        **strengths(one), **strengths(other)}  # fmt: skip
    assert together["x"][0] + together["y"][0] == pytest.approx(100)


def test_more_pairs_make_the_error_smaller():
    few, many = strengths(drawn(60, 4)[1]), strengths(drawn(60, 30)[1])
    assert np.mean([error for _, error in many.values()]) < 0.6 * np.mean([error for _, error in few.values()])


def test_the_errors_are_as_large_as_they_say():
    truth, verdicts = drawn(400, 30, seed=3)
    found = strengths(verdicts)
    middle = np.mean(list(truth.values()))
    missed = [
        (found[row_id][0] - 100 / (1 + np.exp(middle - value))) / found[row_id][1] for row_id, value in truth.items()
    ]
    assert 0.9 < np.mean(np.abs(missed) < 2) < 0.99


def test_large_components_get_errors_from_probes(monkeypatch):
    _, verdicts = drawn(300, 6)
    exact = np.array(list(strengths(verdicts).values()))
    monkeypatch.setattr(bradley_terry, "_DENSE", 100)
    probed = np.array(list(strengths(verdicts).values()))
    assert probed[:, 0] == pytest.approx(exact[:, 0], abs=1e-6)
    assert probed[:, 1] / exact[:, 1] == pytest.approx(np.ones(300), abs=0.15)
    assert abs(np.mean(probed[:, 1] / exact[:, 1]) - 1) < 0.01


def test_nothing_gives_nothing_and_nonsense_is_refused():
    assert strengths({}) == {}
    for bad in ({("a", "a"): 1.0}, {("a", "b"): 1.5}):
        with pytest.raises(DataError, match=r"expected two rows and a share in 0\.\.1"):
            strengths(bad)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [50, 1])
def test_five_thousand_rows_take_a_few_seconds(groups):
    truth, verdicts = drawn(5000, 8, groups=groups)
    start = time.perf_counter()
    found = strengths(verdicts)
    assert time.perf_counter() - start < 10
    assert len(verdicts) > 19000
    assert np.corrcoef([truth[row_id] for row_id in found], [value for value, _ in found.values()])[0, 1] > 0.7
