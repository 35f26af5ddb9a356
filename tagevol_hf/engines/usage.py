"""What was asked of an engine, what it cost, and the caps on both."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field

from ..errors import LimitError
from .base import Reply, Request

_BYTES_A_TOKEN = 2  # of a text that takes many tokens
_TURN_TOKENS = 16  # what a chat template adds to a turn, at the most


@dataclass(frozen=True)
class Prices:
    """What a model's tokens cost, in one currency, for a million tokens.

    Attributes:
        prompt: Tokens of the prompt, >= 0.
        completion: Tokens of the reply, >= 0.
        cached: Tokens of the prompt that the prefix cache served; None where they cost as much as the others.
    """

    prompt: float = 0.0
    completion: float = 0.0
    cached: float | None = None

    def of(self, prompt: int, completion: int, cached: int = 0) -> float:
        """Cost of so many tokens; `cached` of the prompt's came from the prefix cache."""
        for_cached = self.prompt if self.cached is None else self.cached
        return ((prompt - cached) * self.prompt + cached * for_cached + completion * self.completion) / 1e6


@dataclass
class Usage:
    """What was asked of an engine since it was opened.

    Attributes:
        asked: Requests that the engine answered.
        stored: Replies that the store already had.
        stored_tokens: Tokens of those, prompts and replies together; they were paid for when they were asked.
        shared: Requests that were equal to one in flight and got its reply.
        failed: Requests that ended without a reply, by reason.
        redrawn: Replies that could not be used and were asked again, by reason.
        prompt_tokens: Sum over `asked`; likewise the next two.
        cost: Sum over `asked` at the given prices, 0 without prices.
    """

    asked: int = 0
    stored: int = 0
    stored_tokens: int = 0
    shared: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    redrawn: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float = 0.0

    def count(self, reply: Reply, prices: Prices | None = None) -> None:
        """Add one reply of the engine."""
        if reply.finish_reason == "error":
            self.failed[reply.reason] += 1
            return
        self.asked += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.cached_tokens += reply.cached_tokens
        if prices is not None:
            self.cost += prices.of(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens)

    def __add__(self, other: Usage) -> Usage:
        return self._with(other, 1)

    def __sub__(self, other: Usage) -> Usage:
        """What came after an earlier state."""
        return self._with(other, -1)

    def _with(self, other: Usage, sign: int) -> Usage:
        result = Usage()
        for name, value in vars(self).items():
            theirs = getattr(other, name)
            if isinstance(value, Counter):
                setattr(result, name, value + theirs if sign > 0 else value - theirs)
            else:
                setattr(result, name, value + sign * theirs)
        return result


class Meter:
    """What went on since it was made, for people to look at.

    Args:
        usage: The account of an engine, which goes on counting.
    """

    def __init__(self, usage: Usage) -> None:
        self._usage, self._before, self._start = usage, usage - Usage(), time.monotonic()

    def line(self) -> str:
        """Rates, the prefix cache's share, faults by reason and the cost so far, in one line."""
        now = self._usage - self._before
        seconds = max(time.monotonic() - self._start, 1e-6)
        tokens = now.prompt_tokens + now.completion_tokens
        parts = [f"{now.asked / seconds:,.0f} requests/s", f"{tokens / seconds:,.0f} tokens/s"]
        parts += [f"{now.cached_tokens / now.prompt_tokens:.0%} of the prompts cached"] if now.cached_tokens else []
        parts += [f"{now.stored:,} from the store"] if now.stored else []
        parts += [f"asked again: {_counts(now.redrawn)}"] if now.redrawn else []
        parts += [f"failed: {_counts(now.failed)}"] if now.failed else []
        parts += [f"cost {now.cost:,.4g}"] if now.cost else []
        return ", ".join(parts)


def _counts(reasons: Counter[str]) -> str:
    return " ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(3))


@dataclass(frozen=True)
class Limits:
    """Caps on what one call may ask; None for none. What the store answers counts for nothing.

    Attributes:
        max_requests: Requests to the engines.
        max_tokens: Tokens of prompts and replies together.
        max_cost: Cost at the given prices, in their currency.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in vars(self).values())


class Spending:
    """Holds several engines to the same caps.

    Before a request is asked, the most that it can take is set aside: one token for two bytes of its text, and its
    `max_tokens`. So a cap is kept although many requests are in flight, and only the last of them wait for others.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.tokens = 0
        self.cost = 0.0
        self._aside_tokens = 0
        self._aside_cost = 0.0

    def start(self, request: Request, prices: Prices | None) -> bool:
        """Set the most aside that a request can take; False if the caps have no room for it now."""
        tokens, cost = self._most(request, prices)
        limits = self.limits
        if (
            self.requests >= _or_infinite(limits.max_requests)
            or self.tokens + self._aside_tokens + tokens > _or_infinite(limits.max_tokens)
            or self.cost + self._aside_cost + cost > _or_infinite(limits.max_cost)
        ):
            return False
        self.requests += 1
        self._aside_tokens += tokens
        self._aside_cost += cost
        return True

    def end(self, request: Request, reply: Reply, prices: Prices | None) -> None:
        """Put what a reply took in the place of what was set aside."""
        tokens, cost = self._most(request, prices)
        self._aside_tokens -= tokens
        self._aside_cost -= cost
        self.tokens += reply.prompt_tokens + reply.completion_tokens
        self.cost += (prices or Prices()).of(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens)

    def reached(self, request: Request, prices: Prices | None) -> LimitError:
        """The error for a request that does not fit although nothing is in flight."""
        tokens, cost = self._most(request, prices)
        spent = {
            "max_requests": (self.requests, 1, self.limits.max_requests),
            "max_tokens": (self.tokens, tokens, self.limits.max_tokens),
            "max_cost": (self.cost, cost, self.limits.max_cost),
        }
        told = [
            f"{name} is {most:,}, {taken:,.6g} spent, the next request can take up to {more:,.6g}"
            for name, (taken, more, most) in spent.items()
            if most is not None and taken + more > most
        ]
        return LimitError(
            f"stopped at the limit ({'; '.join(told)}); every reply so far is stored: the same command goes on from "
            "here, with the same limit anew, or with a higher one"
        )

    @staticmethod
    def _most(request: Request, prices: Prices | None) -> tuple[int, float]:
        length = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
        prompt = math.ceil(length / _BYTES_A_TOKEN) + _TURN_TOKENS * len(request.messages)
        completion = request.sampling.max_tokens
        return prompt + completion, (prices or Prices()).of(prompt, completion)


def _or_infinite(limit: float | None) -> float:
    return math.inf if limit is None else limit
