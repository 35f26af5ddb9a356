"""Rules for the prompts that answer and judge: set sentences, and text statistics as scores."""

from __future__ import annotations

import hashlib
import json
from random import Random

from ..base import Request
from .text import kinds_of, phrases_of, section, words_of


def respond(prompt: str, request: Request) -> str:
    """A few plain sentences about the instruction's own key phrases."""
    instruction = section(prompt, "instruction") or prompt
    phrases = phrases_of(instruction, 8) or ["the question"]
    kind = kinds_of(instruction)[0]
    random = Random(hashlib.sha256(instruction.encode("utf-8", "surrogatepass")).digest())
    lines = [f"This is an answer about {phrases[0]}, a matter of {kind}."]
    for place, phrase in enumerate(phrases[1 : random.randint(2, 7)], 1):
        lines.append(f"{place}. {phrase[:1].upper()}{phrase[1:]}: treat it on its own, then relate it to {phrases[0]}.")
    lines.append(f"In short, {' and '.join(phrases[:2])} belong together.")
    return "\n".join(lines)


_DIMENSIONS = (
    "completeness", "clarity", "accuracy", "relevance", "explainability", "practicality", "safety",
)  # fmt: skip


def compare(prompt: str, request: Request) -> str:
    """Both rated by text statistics."""
    first, second = (
        _rate(section(prompt, f"{place}_instruction"), section(prompt, f"{place}_response"))
        for place in ("first", "second")
    )
    lead = "first" if first["accuracy"] > second["accuracy"] else "second"
    if first["accuracy"] == second["accuracy"]:
        lead = "neither"
    answer = {"analysis": f"By text statistics alone, ahead: {lead}.", "first": first, "second": second}
    return json.dumps(answer)


def single_score(prompt: str, request: Request) -> str:
    """One item rated by text statistics."""
    marks = _rate(section(prompt, "instruction"), section(prompt, "response"))
    return json.dumps({"analysis": "Rated by text statistics alone.", "marks": marks})


def grade(prompt: str, request: Request) -> str:
    """A grade from 0 to 5, in halves, by text statistics."""
    mark = _rate(section(prompt, "instruction"), section(prompt, "response"))["accuracy"]
    return json.dumps({"reason": "Graded by text statistics alone.", "grade": min(10, mark // 5) / 2})


def rating(prompt: str, request: Request) -> str:
    """A rating from 1 to 6: of the instruction by its words, of a response as the others."""
    instruction = section(prompt, "instruction")
    name = str((request.schema or {})["title"])
    if name == "complexity":
        return json.dumps({name: min(6, 1 + len(set(words_of(instruction))) // 6)})
    return json.dumps({name: min(6, _rate(instruction, section(prompt, "response"))["accuracy"] // 16)})


def refine_response(prompt: str, request: Request) -> str:
    """The old response between two set sentences."""
    old = section(prompt, "response")
    better = f"Here is the answer.\n\n{old}\n\nThat is all."
    return json.dumps({"faults": "It begins without a frame.", "response": better})


def refine_instruction(prompt: str, request: Request) -> str:
    """The old instruction with a set sentence."""
    old = section(prompt, "instruction")
    better = f"{old}\n\nAnswer in full sentences."
    return json.dumps({"faults": "It does not say how to answer.", "instruction": better})


def _rate(instruction: str, response: str) -> dict[str, int]:
    """Marks from how the response's words relate to the instruction's; length counts only up to 60 words."""
    asked, said = set(words_of(instruction)), words_of(response)
    overlap = len(asked.intersection(said)) / max(1, len(asked))
    variety = len(set(said)) / max(1, len(said))
    fullness = min(1.0, len(said) / 60)
    spice = int(hashlib.sha256(f"{instruction}\0{response}".encode("utf-8", "surrogatepass")).hexdigest()[:4], 16)
    score = 20 + round(25 * overlap + 20 * variety + 20 * fullness) + spice % 10
    return dict.fromkeys(_DIMENSIONS, score)
