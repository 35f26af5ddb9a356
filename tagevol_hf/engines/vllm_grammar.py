"""A schema's grammar is compiled once, not once a request.

vLLM's guidance back end compiles the schema of every request anew, and each of these grammars learns its lexer's states
for itself. Here the first grammar of a schema is kept, and a request gets a copy of it that shares what all of them
have learned. vLLM's extension point for schedulers, `EngineArgs.scheduler_cls`, brings this code into the process of
one engine's core, wherever that is: no other engine is touched. The scheduler itself stays vLLM's own.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable
from threading import Lock
from typing import Any

_LOG = logging.getLogger("vllm.tagevol_hf")  # below "vllm", because its processes show no other
_KEPT = 64  # a stage has one schema or a few


class KeptGrammars:
    """Stands for the `compile_grammar` of a guidance back end.

    Copies of one grammar take turns at its lexer. Where vLLM fills the masks of a step in several threads, as many
    grammars of a schema are therefore kept.

    Args:
        compile_grammar: The back end's own method.
        threads: How many threads fill masks at once, >= 1.

    Attributes:
        compiled: How many grammars were compiled.
        given: How many were asked for: the requests with a schema.
    """

    def __init__(self, compile_grammar: Callable[..., Any], threads: int = 1) -> None:
        self._compile, self._threads = compile_grammar, threads
        self._grammars: dict[tuple[int, str], Any] = {}
        self._turns = itertools.count()
        self._lock = Lock()  # vLLM compiles in several threads
        self.compiled = self.given = 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """A grammar in its first state, as the back end's own method gives."""
        with self._lock:
            self.given += 1
            key = next(self._turns) % self._threads, repr((arguments, named))
            kept = self._grammars.get(key)
            if kept is None or _is_broken(kept):
                kept = self._compiled(key, arguments, named)
            return kept if key not in self._grammars else _copy(kept)

    def _compiled(self, key: tuple[int, str], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """A new grammar, kept if it can be copied and is not in error."""
        if len(self._grammars) >= _KEPT * self._threads:
            self._grammars.clear()
        self._grammars.pop(key, None)
        grammar = self._compile(*arguments, **named)
        self.compiled += 1
        _LOG.info("compiled a grammar: %d for %d requests with a schema so far", self.compiled, self.given)
        if hasattr(getattr(grammar, "ll_matcher", None), "deep_copy") and not _is_broken(grammar):
            self._grammars[key] = grammar
        return grammar


def _copy(grammar: Any) -> Any:
    copied = copy.copy(grammar)
    copied.ll_matcher = grammar.ll_matcher.deep_copy()
    return copied


def _is_broken(grammar: Any) -> bool:
    """Whether the lexer that its copies share has met a limit; only a mask tells, computed on a copy."""
    probe = grammar.ll_matcher.deep_copy()
    probe.compute_bitmask()
    return bool(probe.is_error())


def keep_grammars(manager: Any) -> None:
    """Let vLLM's `StructuredOutputManager` keep the grammars of its guidance back end, once it makes one.

    The counters are then `manager.kept_grammars`, None until a request has a schema.
    """

    class Keeping(type(manager)):  # type: ignore[misc] # a base that is known at run time only
        kept_grammars: KeptGrammars | None = None

        @property
        def backend(self) -> Any:
            return self.__dict__.get("backend")

        @backend.setter
        def backend(self, made: Any) -> None:
            self.__dict__["backend"] = made
            if type(made).__name__ == "GuidanceBackend" and self.kept_grammars is None:
                pool = getattr(self, "executor_for_fillmask", None)
                self.kept_grammars = KeptGrammars(made.compile_grammar, getattr(pool, "_max_workers", 1))
                made.compile_grammar = self.kept_grammars

    manager.__class__ = Keeping


class GrammarKeepingScheduler:
    """For `EngineArgs.scheduler_cls`: makes the scheduler that vLLM would take, and lets its grammars be kept."""

    def __new__(cls, vllm_config: Any, *arguments: Any, **named: Any) -> Any:
        """The scheduler that vLLM would make by itself."""
        config = copy.copy(vllm_config.scheduler_config)
        config.scheduler_cls = None
        scheduler = config.get_scheduler_cls()(vllm_config, *arguments, **named)
        try:
            keep_grammars(scheduler.structured_output_manager)
        except Exception as fault:  # vLLM's inner parts; without this it only works more
            _LOG.debug("a grammar is compiled for every request: %s", fault)
        return scheduler


def _is_news(record: logging.LogRecord) -> bool:
    """False for vLLM's warning that a scheduler of this class may be slow and need care: it is vLLM's own."""
    return not (isinstance(record.args, tuple) and GrammarKeepingScheduler in record.args)


# Here, because a core in a process of its own imports this file, and nothing else of ours, before it warns.
logging.getLogger("vllm.config.scheduler").addFilter(_is_news)
