"""Callbacks for TRL's trainers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback


class LossLines(TrainerCallback):  # type: ignore[misc] # transformers gives no types
    """One short line a log, for where no progress bar can be shown.

    Args:
        say: Prints a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Print the losses of this log, if it has any (called by the trainer)."""
        if not logs or not state.is_world_process_zero:
            return
        for name, words in (("loss", "loss"), ("eval_loss", "held-out loss")):
            if name in logs:
                self._say(f"step {state.global_step:,} of {state.max_steps:,}, {words} {float(logs[name]):.3f}")
