"""Benchmarks in the middle of real trainings."""

import json
import math

import pytest
from run_folders import row
from toy_task import records, toy, write

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.evals.running import Options
from tagevol_hf.evals.task import Grade

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from transformers import AutoTokenizer

    from tagevol_hf.training.chat_templates import give_template
    from tagevol_hf.training.tiny import make_tiny_model

    texts = [row(n)["instruction"] + row(n)["response"] for n in range(40)]
    folder = make_tiny_model(tmp_path_factory.mktemp("tiny") / "model", "llama", texts, vocab_size=400)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    give_template(tokenizer, "alpaca", None)
    tokenizer.save_pretrained(folder)
    return folder


def trainer_of(tiny, folder, **options):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    texts = [{"prompt": row(n)["instruction"], "completion": " " + row(n)["response"]} for n in range(16)]
    config = SFTConfig(
        str(folder), max_steps=6, per_device_train_batch_size=4, logging_steps=1, report_to=[], use_cpu=True,
        eval_steps=2, save_steps=2, disable_tqdm=True, bf16=False, neftune_noise_alpha=5, **options,
    )  # fmt: skip
    data = Dataset.from_list(texts)
    return SFTTrainer(str(tiny), config, train_dataset=data, eval_dataset=data.select(range(4)))


def scored(*shares):
    """A task whose grades are known before: at each evaluation the next share of the problems is right."""
    coming = iter(shares)

    def grade(problems, outputs, means):
        share = next(coming)
        assert all(isinstance(output, tuple) for output in outputs)
        if share is None:
            raise ZeroDivisionError("no such luck")
        return [Grade(problem.id, float(n < share * 4), "x") for n, problem in enumerate(problems)]

    task = toy(max_tokens=8)
    return type(task)(task.name, task.title, task.source, task.problems, grade, max_tokens=8)


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_metrics_are_logged_at_each_evaluation_and_the_best_checkpoint_is_kept(tiny, tmp_path, capsys):
    from tagevol_hf.evals.hook import EvalHook

    best = {"metric_for_best_model": "toy_accuracy", "load_best_model_at_end": True, "greater_is_better": True}
    trainer = trainer_of(tiny, tmp_path / "a", eval_strategy="steps", save_total_limit=1, **best)
    options = Options(data={"toy": str(write(tmp_path / "sums.jsonl", records()))})
    hook = EvalHook(trainer, [scored(0.25, 0.75, 0.5)], options=options)
    trainer.add_callback(hook)
    trainer.train()
    found = {e["step"]: e["eval_toy_accuracy"] for e in trainer.state.log_history if "eval_toy_accuracy" in e}
    assert found == {2: 0.25, 4: 0.75, 6: 0.5}
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")
    assert (tmp_path / "a" / "checkpoint-4").is_dir()
    assert hook.errors == []
    assert "step 4, toy: accuracy 0.750, n = 4" in capsys.readouterr().out

    plain = trainer_of(tiny, tmp_path / "b", eval_strategy="steps")
    plain.train()
    assert losses(trainer) == losses(plain), "evaluations change nothing of the training"


def test_a_task_that_raises_is_told_and_the_training_goes_on(tiny, tmp_path, capsys):
    from tagevol_hf.evals.hook import EvalHook

    trainer = trainer_of(tiny, tmp_path, eval_strategy="steps", metric_for_best_model="toy_accuracy")
    options = Options(data={"toy": str(write(tmp_path / "sums.jsonl", records()))})
    hook = EvalHook(trainer, [scored(None, 1.0, None)], options=options)
    trainer.add_callback(hook)
    trainer.train()
    assert trainer.state.global_step == 6
    assert hook.errors == [(2, "toy", "no such luck"), (6, "toy", "no such luck")]
    found = [e["eval_toy_accuracy"] for e in trainer.state.log_history if "eval_toy_accuracy" in e]
    assert [math.isnan(value) for value in found] == [True, False, True]
    assert trainer.state.best_metric == 1.0
    assert "step 2, toy: could not be evaluated (no such luck); training goes on" in capsys.readouterr().out


def test_checkpoints_are_evaluated_by_an_engine_of_their_own(tiny, tmp_path):
    from tagevol_hf.evals.hook import BEST, EvalHook

    questions = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in range(3)]
    data = write(tmp_path / "gsm8k.jsonl", questions)
    trainer = trainer_of(tiny, tmp_path / "out", save_total_limit=2)
    trainer.args.save_steps = 3
    hook = EvalHook(
        trainer,
        ["gsm8k"],
        options=Options(data={"gsm8k": str(data)}, max_new_tokens=8),
        engine="transformers?max_model_len=512",
    )
    trainer.add_callback(hook)
    trainer.train()
    found = {e["step"]: e["eval_gsm8k_n"] for e in trainer.state.log_history if "eval_gsm8k_n" in e}
    assert hook.errors == []
    assert found == {3: 3, 6: 3}
    best = json.loads((tmp_path / "out" / BEST).read_text())
    assert (best["metric"], best["checkpoint"][:11]) == ("gsm8k_accuracy", "checkpoint-")


def test_what_cannot_be_run_is_refused_before_the_training(tiny, tmp_path):
    from tagevol_hf.evals.hook import EvalHook

    for task, options, error, message in (
        ("gsm8", Options(), RecipeError, 'eval_tasks: gsm8 is not a task; did you mean "gsm8k"'),
        ("gsm8k", Options(data={"gsm8k": "none.jsonl"}), DataError, "gsm8k: 'none.jsonl': cannot be read"),
        (toy(judged=True), Options(), RecipeError, "toy: needs a judge"),
        (toy(runs_code=True), Options(), RecipeError, "allow it with --allow-code-execution"),
    ):
        with pytest.raises(error, match=message):
            EvalHook(None, [task], options=options)
