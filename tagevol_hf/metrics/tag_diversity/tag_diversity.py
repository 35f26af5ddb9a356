"""Diversity of instructions: how many different tags they have (Tag-Evol, section 5.5)."""

import datasets
import evaluate

from tagevol_hf.measure.tagged import auto_evol_figures, tag_evol_figures

_DESCRIPTION = """How many different tags a sample of instructions has (arXiv 2505.24165, section 5.5, with a sample of
50), and, as Auto Evol-Instruct has it (arXiv 2406.00770, section 5.5), how many for each instruction. It grows with the
size of the sample: compare samples of the same size. Tags are compared as they are written."""

_INPUTS = """
Args:
    predictions: The tags of each instruction, a list of texts each; at least one instruction.
Returns:
    tag_diversity: Different tags of all instructions together.
    tag_diversity_per_instruction: The same, divided by the number of instructions.
    n: Instructions.
"""


class TagDiversity(evaluate.Metric):  # type: ignore[misc] # evaluate gives no types
    """Different tags of a sample."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Sequence(datasets.Value("string"))})
        return evaluate.MetricInfo(description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features)

    def _compute(self, predictions: list[list[str]]) -> dict[str, float]:
        whole, each = tag_evol_figures(predictions), auto_evol_figures(predictions)
        return {
            "tag_diversity": whole["diversity"],
            "tag_diversity_per_instruction": each["auto_evol_diversity"],
            "n": len(predictions),
        }
