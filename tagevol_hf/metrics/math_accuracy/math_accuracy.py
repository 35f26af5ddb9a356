"""How many final answers of mathematical responses are right."""

import datasets
import evaluate

from tagevol_hf.answers.equal import Equality
from tagevol_hf.answers.final import final_answer
from tagevol_hf.answers.math_string import same_string

_DESCRIPTION = r"""Share of responses whose final answer is the reference. The answer is what the last \boxed{} holds,
else what follows "####" or "the answer is", else the last number. It is right where computer algebra takes it for the
same as the reference; by the rule of MATH (arXiv 2103.03874), on which published results rest, both must be the same
string once they are written alike."""

_INPUTS = r"""
Args:
    predictions: Responses, each a text.
    references: Final answers, each a text, as "\frac{1}{2}".
Returns:
    math_accuracy: Share of right answers, by computer algebra, from 0 to 1.
    math_accuracy_by_string: The same by the rule of MATH.
    no_answer: Responses in which no answer was found; they are not right.
    n: Responses.
"""


class MathAccuracy(evaluate.Metric):  # type: ignore[misc] # evaluate gives no types
    """Right final answers."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        features = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features)

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        pairs = [(final_answer(response), right) for response, right in zip(predictions, references, strict=True)]
        found = [(answer, right) for answer, right in pairs if answer is not None]
        with Equality() as equality:
            by_algebra = sum(equality.same(answer, right) for answer, right in found)
        return {
            "math_accuracy": by_algebra / len(pairs),
            "math_accuracy_by_string": sum(same_string(*pair) for pair in found) / len(pairs),
            "no_answer": len(pairs) - len(found),
            "n": len(pairs),
        }
