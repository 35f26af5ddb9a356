"""Asking a model for its answers to a task's problems, turn by turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..engines.base import Message, Reply, Request, Sampling
from ..engines.stored import StoredEngine
from ..progress import progress
from ..rows import seed_for
from .task import Output, Problem, Task


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered.

    Attributes:
        outputs: One for each problem; None where the engine gave no answer to one of its turns.
        cut_off: Answers that reached the task's max_tokens.
        failed: Reason → answers that could not be had.
    """

    outputs: list[Output]
    cut_off: int
    failed: dict[str, int]


def generate(engine: StoredEngine, task: Task, problems: Sequence[Problem], seed: int = 0) -> Answers:
    """Ask for all answers; those that the engine's store has are not asked again.

    Args:
        engine: The model.
        task: Gives sampling and length.
        problems: All have at least one turn; later turns are asked with the answers to the ones before.
        seed: Of answers that are not greedy; with the problem's id, so that an answer does not depend on the others.

    Raises:
        EngineError: If the engine fails.
    """
    talks = [_Talk(problem, []) for problem in problems]
    turns = max((len(problem.turns) for problem in problems), default=0)
    failed: Counter[str] = Counter()
    cut_off = 0
    with progress(f"answering {task.name}", sum(len(problem.turns) for problem in problems)) as advance:
        for turn in range(turns):
            open_talks = [talk for talk in talks if len(talk.texts) == turn and len(talk.problem.turns) > turn]
            for talk, reply in _ask(engine, task, open_talks, seed):
                advance()
                if reply.finish_reason == "error":
                    failed[reply.reason] += 1
                    continue
                cut_off += reply.finish_reason == "length"
                talk.texts.append(reply.text)
    outputs = [tuple(talk.texts) if len(talk.texts) == len(talk.problem.turns) else None for talk in talks]
    return Answers(list(outputs), cut_off, dict(failed))


class _Talk(NamedTuple):
    problem: Problem
    texts: list[str]


def _ask(engine: StoredEngine, task: Task, talks: Sequence[_Talk], seed: int) -> Iterator[tuple[_Talk, Reply]]:
    for place, reply in engine.stream(_request(task, talk, seed) for talk in talks):
        yield talks[place], reply


def _request(task: Task, talk: _Talk, seed: int) -> Request:
    messages = [Message("user", talk.problem.turns[0])]
    for text, turn in zip(talk.texts, talk.problem.turns[1:], strict=False):
        messages += [Message("assistant", text), Message("user", turn)]
    temperature = task.temperature(talk.problem)
    drawn = seed_for(seed, talk.problem.id, task.name, len(talk.texts)) if temperature > 0 else None
    return Request(tuple(messages), Sampling(temperature=temperature, max_tokens=task.max_tokens, seed=drawn))
