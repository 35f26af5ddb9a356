"""What one step of a run did: one entry of `run.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .engines.usage import Usage


@dataclass
class StepRecord:
    """What one step did; `rows_in + added = rows_out + not_chosen + sum(rejected)` always holds.

    Attributes:
        number: Position in the journey, from 1.
        kind: "load", "map", "fan", "fold" or "pick".
        added: Rows that a fan added.
        asked: Requests that the engine answered.
        stored: Requests that the store answered.
        stored_tokens: Tokens of these, prompts and replies together; the other tokens are those of `asked`.
        failed: Requests without a reply, by reason.
        redrawn: Replies that could not be used and were asked again, by reason.
        cost: At the recipe's prices; 0 without prices.
        seconds: Wall time.
        requests_per_second: `asked` over `seconds`; likewise tokens, of prompts and replies together.
        cached_share: Share of the prompt tokens that the prefix cache served, where the engine says so, in [0, 1].
        prompt: Name and digest of the prompt, or None.
        summary: Further small values of this step.
    """

    number: int
    name: str
    kind: str
    rows_in: int
    added: int = 0
    rows_out: int = 0
    not_chosen: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    stored: int = 0
    stored_tokens: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    redrawn: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    requests_per_second: float = 0.0
    tokens_per_second: float = 0.0
    cached_share: float = 0.0
    prompt: dict[str, str] | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    def account(self, usage: Usage, seconds: float) -> None:
        """Note what was asked in this step, and how long it took."""
        for key in ("asked", "stored_tokens", "prompt_tokens", "completion_tokens", "cached_tokens"):
            setattr(self, key, getattr(usage, key))
        self.stored = usage.stored + usage.shared
        self.failed, self.redrawn = dict(usage.failed), dict(usage.redrawn)
        self.cost, self.seconds = round(usage.cost, 6), round(seconds, 3)
        if seconds > 0:
            self.requests_per_second = round(usage.asked / seconds, 2)
            self.tokens_per_second = round((usage.prompt_tokens + usage.completion_tokens) / seconds, 1)
        if usage.prompt_tokens:
            self.cached_share = round(usage.cached_tokens / usage.prompt_tokens, 4)

    def balance(self) -> None:
        """Check the equation.

        Raises:
            RuntimeError: If a row was lost or doubled: an error of this package.
        """
        if self.rows_in + self.added != self.rows_out + self.not_chosen + sum(self.rejected.values()):
            raise RuntimeError(f"step {self.name} lost or doubled rows: {self}; please report this")
