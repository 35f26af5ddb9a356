"""Benchmarks in the middle of a training, as a callback of transformers' trainers."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainerCallback
from trl.models.utils import unwrap_model_for_generation

from ..child import child_environment
from ..engines.open import open_engine
from ..engines.stored import stored
from ..errors import one_line
from .generate import Answers, generate
from .live import LiveEngine
from .result import Result, result_of
from .running import Options, bounded, problems_of_all
from .task import Means, Problem, Task
from .tasks import check_names, task_of

LIVE = "live"
BEST = "best_checkpoint.json"
CHILD_SECONDS = 4 * 3600  # that the evaluation of one checkpoint may last

_TAKES_CHECKPOINTING = "gradient_checkpointing_kwargs" in inspect.signature(unwrap_model_for_generation).parameters

Say = Callable[[str], None]


class EvalHook(TrainerCallback):  # type: ignore[misc] # transformers gives no types
    """Runs tasks at each evaluation of a training, or at each checkpoint, and logs what they give.

    At an evaluation the model in memory answers, the problems shared out among the processes. `eval_TASK_METRIC` (and
    `eval_TASK_n`) go to the trainer's loggers, into `log_history`, and among the metrics of the evaluation, so that
    `metric_for_best_model="gsm8k_accuracy"` with `load_best_model_at_end` or `save_strategy="best"` keeps the best
    checkpoint. At a checkpoint `tagevol eval CHECKPOINT` answers, in a process of its own with an engine of its own;
    then the best one's name is in `best_checkpoint.json`.

    A task that fails is told, logged as NaN, and noted in `errors`; the training goes on. With several processes the
    tasks of a checkpoint together may last 0.8 of the trainer's `ddp_timeout`.

    Args:
        trainer: The trainer that it is added to, by `trainer.add_callback(EvalHook(trainer, …))`.
        tasks: Names of tasks, or tasks of your own.
        options: Where the tasks' problems are, how many of them are used, the judge, whether code may be run.
        engine: "live", or for checkpoints "vllm", "vllm-serve" or "transformers" with ?option=value.
        batch_size: Problems at a time for the model in memory.
        best: Metric by which the best checkpoint is named, as "gsm8k_accuracy"; the first task's by default. Higher is
            better.
        say: Prints a line.

    Attributes:
        errors: (step, task, what went wrong), one for each task that failed.

    Raises:
        RecipeError: If a task is not known, or needs what it has not got.
        DataError: If a task's problems cannot be had: before the training starts.
    """

    def __init__(
        self,
        trainer: Any,
        tasks: Sequence[str | Task],
        *,
        options: Options | None = None,
        engine: str = LIVE,
        batch_size: int = 8,
        best: str | None = None,
        say: Say = print,
    ) -> None:
        self._trainer, self._say, self._engine, self._batch_size = trainer, say, engine, batch_size
        self._tasks = [_task(task) for task in tasks]
        self._options = options or Options(limit=200)
        self._problems = problems_of_all(self._tasks, self._options)
        self._best = best or (f"{self._tasks[0].name}_{self._tasks[0].metric}" if self._tasks else "")
        self.errors: list[tuple[int, str, str]] = []

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Run the tasks with the model in memory (called by the trainer, in all its processes)."""
        if self._engine != LIVE:
            return
        found: dict[str, float] = {}
        with self._model() as model:
            for task in self._tasks:
                found.update(self._figures(task, state, self._live(task, model, state)))
        if metrics is not None:
            metrics.update(found)
        self._log(found, state)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Run the tasks on the checkpoint that was just written (called by the trainer; rank 0 does it)."""
        if self._engine == LIVE:
            return
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            found: dict[str, float] = {}
            for task in self._tasks:
                found.update(self._figures(task, state, self._of_checkpoint(task, checkpoint, state, self._seconds())))
            self._log(found, state)
            self._remember(Path(args.output_dir), checkpoint, found)
        self._trainer.accelerator.wait_for_everyone()

    def _model(self) -> Any:
        """A context with the model as a whole, where it is spread over processes, and able to generate."""
        trainer = self._trainer
        checkpointing = trainer.args.gradient_checkpointing_kwargs
        options = {"gradient_checkpointing_kwargs": checkpointing} if _TAKES_CHECKPOINTING else {}
        return unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator, **options)

    def _live(self, task: Task, model: Any, state: Any) -> Mapping[str, Any]:
        """The figures of a task, the same in all processes; empty where it failed in any of them."""
        error, said = "", []
        try:
            said = self._answers(task, model)
        except Exception as fault:  # whatever it is: a training must not end because of an evaluation
            error = one_line(fault, 300)
        parts: list[Any] = gather_object([(said, error)])
        failures = [failure for _, failure in parts if failure]
        if failures:
            return self._failed(task, state, failures[0])
        figures, error = self._graded_once(task, dict(pair for pairs, _ in parts for pair in pairs), state)
        return self._failed(task, state, error) if error else figures

    def _answers(self, task: Task, model: Any) -> list[tuple[str, Any]]:
        """(id, output) of this process's share of the problems."""
        process, processes = self._trainer.accelerator.process_index, self._trainer.accelerator.num_processes
        own: list[Problem] = self._problems[task.name][process::processes]
        tokenizer = self._trainer.processing_class
        engine = stored(LiveEngine(model, tokenizer, self._batch_size))
        answers: Answers = generate(engine, bounded(task, self._options), own)
        engine.store.close()
        return [(problem.id, output) for problem, output in zip(own, answers.outputs, strict=True)]

    def _graded_once(self, task: Task, outputs: Mapping[str, Any], state: Any) -> tuple[Mapping[str, Any], str]:
        """The figures, or what went wrong: rank 0 grades, so that a judge is asked and code is run once."""
        found: tuple[Mapping[str, Any], str] = {}, ""
        if state.is_world_process_zero:
            try:
                found = self._graded(task, outputs).figures(), ""
            except Exception as fault:  # likewise
                found = {}, one_line(fault, 300)
        everywhere: list[tuple[Mapping[str, Any], str]] = gather_object([found])
        return everywhere[0]

    def _graded(self, task: Task, outputs: Mapping[str, Any]) -> Result:
        problems = self._problems[task.name]
        answers = [outputs[problem.id] for problem in problems]
        means = Means(run_code=self._options.run_code)
        if self._options.judge is None or not task.judged:
            return result_of(task, task.grade(problems, answers, means), {}, incomplete="allow")
        with closing(open_engine(self._options.judge)) as judge:
            grades = task.grade(problems, answers, replace(means, judge=judge))
        return result_of(task, grades, {}, incomplete="allow")

    def _seconds(self) -> float:
        """How long a task may last: the other processes wait for it in a collective, which has a time-out."""
        args = self._trainer.args
        return CHILD_SECONDS if args.world_size == 1 else 0.8 * float(args.ddp_timeout) / len(self._tasks)

    def _of_checkpoint(self, task: Task, checkpoint: Path, state: Any, seconds: float) -> Mapping[str, Any]:
        command = [sys.executable, "-c", "from tagevol_hf.cli import main; main()", "eval", str(checkpoint)]
        command += ["--tasks", task.name, "--engine", self._engine, "--json", "--incomplete", "allow"]
        command += ["--data", f"{task.name}={self._options.data[task.name]}"] if task.name in self._options.data else []
        command += ["--limit", str(self._options.limit)] if self._options.limit else []
        most = self._options.max_new_tokens
        command += ["--max-new-tokens", str(most)] if most else []
        command += ["--judge", self._options.judge] if self._options.judge else []
        command += ["--allow-code-execution"] if self._options.run_code else []
        try:
            done = subprocess.run(  # noqa: S603 - a command of our own making
                command, capture_output=True, text=True, timeout=seconds, check=False, env=child_environment()
            )
            if done.returncode != 0:
                return self._failed(task, state, done.stderr.strip().rpartition("\n")[2])
            figures: Mapping[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
        except (OSError, ValueError, subprocess.SubprocessError) as fault:
            return self._failed(task, state, one_line(fault, 300))
        return figures

    def _figures(self, task: Task, state: Any, figures: Mapping[str, Any]) -> dict[str, float]:
        name = f"eval_{task.name}"
        mean = figures["mean"] if figures else None
        if figures and state.is_world_process_zero and mean is not None:
            shown = f"{task.metric.replace('_', ' ')} {mean:.3f}"
            self._say(f"step {state.global_step:,}, {task.name}: {shown}, n = {figures['n']:,}")
        return {
            f"{name}_{task.metric}": math.nan if mean is None else float(mean),
            f"{name}_n": float(figures["n"]) if figures else 0.0,
        }

    def _failed(self, task: Task, state: Any, reason: str) -> dict[str, Any]:
        self.errors.append((state.global_step, task.name, reason))
        if state.is_world_process_zero:
            self._say(f"step {state.global_step:,}, {task.name}: could not be evaluated ({reason}); training goes on")
        return {}

    def _log(self, found: Mapping[str, float], state: Any) -> None:
        if found:
            self._trainer.log(dict(found))

    def _remember(self, folder: Path, checkpoint: Path, found: Mapping[str, float]) -> None:
        """Name the best checkpoint so far, for a person and for the trainer, which then keeps it."""
        value = found.get(f"eval_{self._best}", math.nan)
        file = folder / BEST
        try:
            before = json.loads(file.read_text("utf-8"))["value"] if file.exists() else -math.inf
        except (ValueError, LookupError):  # cut off while it was written
            before = -math.inf
        if not value > before:  # NaN is not
            return
        body = {"checkpoint": checkpoint.name, "metric": self._best, "value": value}
        file.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        self._trainer.state.best_metric, self._trainer.state.best_model_checkpoint = value, str(checkpoint)


def _task(task: str | Task) -> Task:
    if isinstance(task, Task):
        return task
    check_names([task], "eval_tasks")
    return task_of(task)
