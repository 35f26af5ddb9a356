"""How often a model's answers are preferred to another model's."""

import math

import datasets
import evaluate

from tagevol_hf.evals.result import interval

_DESCRIPTION = """Share of the comparisons that a model wins, a tie counting half, as AlpacaEval has it without its
control of length. Compare in both orders and give the mean of the two as one preference."""

_INPUTS = """
Args:
    predictions: For each comparison how far the model is preferred, from 0 (lost) over 0.5 (tie) to 1 (won); NaN where
        there is no verdict, which is counted and never 0.
Returns:
    win_rate: Mean of the preferences, from 0 to 1; NaN if there is none.
    interval: 95 % interval of it, [low, high]; empty for fewer than two.
    n: Comparisons with a verdict.
    n_expected: All comparisons.
    wins: Preferences above 0.5.
    ties: Preferences of 0.5.
    losses: Preferences below 0.5.
Raises:
    ValueError: If a preference is below 0 or above 1.
"""


class WinRate(evaluate.Metric):  # type: ignore[misc] # evaluate gives no types
    """Preferences for a model."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("float64")})
        return evaluate.MetricInfo(description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features)

    def _compute(self, predictions: list[float]) -> dict[str, object]:
        known = [value for value in predictions if value is not None and not math.isnan(value)]
        wrong = [value for value in known if not 0 <= value <= 1]
        if wrong:
            raise ValueError(f"win_rate: expected preferences from 0 to 1, got {wrong[0]}")
        return {
            "win_rate": math.fsum(known) / len(known) if known else math.nan,
            "interval": list(interval(known) or ()),
            "n": len(known),
            "n_expected": len(predictions),
            "wins": sum(value > 0.5 for value in known),
            "ties": sum(value == 0.5 for value in known),
            "losses": sum(value < 0.5 for value in known),
        }
