"""Difficulty of instructions: how many tags each of them has (Tag-Evol, section 5.5)."""

import datasets
import evaluate

from tagevol_hf.measure.tagged import tag_evol_figures

_DESCRIPTION = """Mean number of tags of an instruction, as a tagger gave them (arXiv 2505.24165, section 5.5, with a
sample of 50); InsTag calls it complexity."""

_INPUTS = """
Args:
    predictions: The tags of each instruction, a list of texts each; at least one instruction.
Returns:
    tag_difficulty: Tags an instruction, on average.
    n: Instructions.
"""


class TagDifficulty(evaluate.Metric):  # type: ignore[misc] # evaluate gives no types
    """Tags an instruction."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Sequence(datasets.Value("string"))})
        return evaluate.MetricInfo(description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features)

    def _compute(self, predictions: list[list[str]]) -> dict[str, float]:
        return {"tag_difficulty": tag_evol_figures(predictions)["difficulty"], "n": len(predictions)}
