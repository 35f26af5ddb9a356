#!/usr/bin/env python
"""Fine-tune a model on a curated set with TRL.

    accelerate launch --config_file accelerate_configs/cpu.yaml scripts/sft.py \
        --config recipes/quickstart/sft-tiny.yaml [any argument of TRL's SFTConfig and ModelConfig]

Own arguments beside TRL's:
    --curated           what to train on: a run folder, a curate recipe, a saved data set or a Hub id
    --curate            auto (the default) makes a recipe's data first where it is not there yet; never is an error
    --format            alpaca; llama2, mistral, llama3, qwen2.5 or chatml: the last response is learned; or
                        messages: every assistant turn of the model's chat template, or of --chat_template_path
    --long_rows         rows beyond --max_length: truncate or drop
    --eval_rows         with TRL's --eval_strategy: so many rows that were not chosen measure the loss (default 256)
    --eval_tasks        benchmarks to run at each evaluation, or with --eval_task_engine vllm at each checkpoint, as
                        gsm8k math500; --eval_task_data gsm8k=FILE, --eval_task_limit 200,
                        --eval_task_max_new_tokens 512, --eval_task_judge ENGINE
    --retrain           train again although the same training is done
Without --output_dir the model goes into the run folder. The same command goes on after an interruption, and does
nothing when all is done.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset, disable_progress_bars
from huggingface_hub.utils import disable_progress_bars as disable_hub_progress_bars

from tagevol_hf import curate_first
from tagevol_hf.errors import RecipeError, TagEvolError
from tagevol_hf.evals import held_out, running, tasks
from tagevol_hf.training import (
    arguments,
    checkpoints,
    curated,
    earlier,
    encode,
    formats,
    lengths,
    memory,
    models,
    push,
    quiet,
    ranks,
    record,
    words,
)
from tagevol_hf.training.trl_arguments import configure, read_arguments
from tagevol_hf.versions import versions

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig

    from tagevol_hf.training.trainer import CuratedTrainer


def say(text: str) -> None:
    """Print a line once, however many processes train."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(text, flush=True)


def train(argv: list[str]) -> None:
    """The whole journey: arguments, data, model, encoding, training, record."""
    # 1. What is asked? Is its data there, and is it done already? (No torch so far, no process group.)
    given = arguments.plain_arguments(argv)
    formats.check_format(str(given.get("format", "alpaca")))
    mode = str(given.get("curate", curate_first.AUTO))
    if mode == curate_first.AUTO:
        check_before_curating(argv, given)
    place = curate_first.curated_place(str(given["curated"]), mode, say)
    rows, unanswered = curated.load_curated(place)
    data, asked_model = curated.content_digest(rows), str(given["model_name_or_path"])
    digest = record.training_digest(given, data, record.model_identity(asked_model))
    folder, retrain = arguments.output_dir(given, place), arguments.is_true(given, "retrain")
    if not retrain and record.is_done(folder, digest):
        say(f"{folder}: already trained: nothing to do (same data and settings; --retrain trains again)")
        return
    earlier.check_apart(asked_model, folder)
    arguments.check_can_be_written(folder)

    # 2. The model's tokenizer, and the template that goes with the format. (No GPU so far.)
    model = models.resolve_model(asked_model, folder, rows, data)
    argv = [*arguments.without_config(argv), "--output_dir", str(folder)]
    parser, wanted = read_arguments(argv, given)
    tokenizer = models.tokenizer_of(model, wanted)
    trust = {"revision": wanted.model_revision, "trust_remote_code": wanted.trust_remote_code}
    model_sizes = models.plain_config(model, **trust)
    if checkpoint := wanted.resume_from_checkpoint:
        checkpoints.check_checkpoint(checkpoint, model, model_sizes, adapter=wanted.use_peft, digest=digest)

    task_options = hook_options(wanted)

    if not wanted.use_cpu:
        say(memory.in_words(model_sizes, vars(wanted), os.environ))

    # 3. Rows to token ids, with a label on what is learned; all that can be wrong with data is found here.
    encoded = encode.encode(rows, wanted.format, tokenizer)
    models.check_vocabulary(model, encoded, model_sizes)
    encoded, encoding = lengths.fit_to_length(encoded, wanted.max_length, wanted.long_rows)
    for line in words.data_in_words(encoding, unanswered, wanted.max_length, encoded[0], tokenizer):
        say(line)
    others = held_out_rows(place, rows, wanted, tokenizer) if wanted.eval_strategy != "no" else None

    # 4. Train, from the last checkpoint if there is one. TRL's configuration starts the process group.
    config, model_config = configure(parser, argv, tokenizer)
    digests = ranks.check_same_data(encoded)
    with config.main_process_first(local=False):
        for line in checkpoints.make_ready(folder, digest, afresh=retrain, resume=wanted.resume_from_checkpoint):
            say(line)
    with words.ends_in_words(folder, "the same command without --retrain" if retrain else "the same command"):
        resumed = wanted.resume_from_checkpoint or checkpoints.last_checkpoint(folder)
        if resumed:
            say(f"going on from {resumed}")
        trainer = make_trainer(model, config, model_config, encoded, others, tokenizer)
        add_hook(trainer, wanted, task_options)
        facts = {
            "digest": digest,
            "data_digest": data,
            "model": asked_model,
            "format": wanted.format,
            "end_token": tokenizer.eos_token,
            "encoded_digests": digests,
            **encoding.as_dict(),
            "rows_without_response": unanswered,
            "resumed_from": str(resumed) if resumed else None,
            "versions": versions(),
            "arguments": {name: str(value) for name, value in given.items() if name not in ("hub_token", "env")},
        }
        trainer.run_folder = Path(place) if (Path(place) / "run.json").is_file() else None
        trainer.record_so_far = lambda: {**facts, **progress_of(trainer)}
        metrics = trainer.train(resume_from_checkpoint=str(resumed) if resumed else None).metrics
        trainer.save_model(str(folder))
        # 5. The card and, last, the record: where it is, the model is whole.
        if trainer.is_world_process_zero():
            seconds = round(metrics["train_runtime"], 2)
            trainer.create_model_card()
            finish(folder, {**facts, **progress_of(trainer), "seconds": seconds})
    if trainer.is_world_process_zero():
        tell_what_next(trainer, folder, config, wanted)
    ranks.leave(trainer)


def finish(folder: Path, result: dict[str, Any]) -> None:
    """Write what says that the model is whole, and tell of it."""
    record.write_json(folder / "train.json", result)
    if result["loss_history"]:
        say(f"training loss {result['first_loss']:.3f} -> {result['last_loss']:.3f} nats a learned token")
    say(f"model, card and train.json are in {folder}")


def tell_what_next(trainer: CuratedTrainer, folder: Path, config: SFTConfig, wanted: argparse.Namespace) -> None:
    """What can be done with the model, and push it if asked."""
    if wanted.use_peft:
        say(f"merge the adapter into its base with: python scripts/merge.py {folder} {folder}-merged")
    if wanted.push_to_hub:
        say(f"pushed to {push.push(folder, trainer.hub_model_id, private=config.hub_private_repo)}")


def check_before_curating(argv: list[str], given: dict[str, Any]) -> None:
    """Find now what would else be found after hours of curating: a misspelt argument, a model that is not there."""
    place, missing = curate_first.place_to_be(str(given["curated"]))
    if not missing:
        return
    model = str(given["model_name_or_path"])
    folder = arguments.output_dir_to_be(given, place)
    earlier.check_apart(model, folder)
    arguments.check_can_be_written(folder)
    _, wanted = read_arguments(arguments.without_config(argv), given)
    hook_options(wanted)
    if not model.startswith(models.TINY):
        models.tokenizer_of(model, wanted)


def held_out_rows(place: str, rows: Dataset, wanted: argparse.Namespace, tokenizer: Any) -> Dataset:
    """Rows of the run that were not chosen, encoded as those that are: the loss on them is measured on the way."""
    chosen = held_out.held_out_rows(rows, curated.read_part(place, "not_chosen"), wanted.eval_rows)
    encoded = encode.encode(chosen.rows, wanted.format, tokenizer)
    encoded, _ = lengths.fit_to_length(encoded, wanted.max_length, "drop")
    say(f"{len(encoded)} rows to measure the loss on: {held_out.KINDS[chosen.kind]}")
    return encoded.remove_columns("id")


def hook_options(wanted: argparse.Namespace) -> running.Options:
    """What benchmarks in the middle of the training need; what is wrong with it is found here."""
    places = {name: place for name, _, place in (text.partition("=") for text in wanted.eval_task_data)}
    options = running.Options(
        data=places,
        limit=wanted.eval_task_limit,
        max_new_tokens=wanted.eval_task_max_new_tokens,
        judge=wanted.eval_task_judge,
    )
    tasks.check_names((*wanted.eval_tasks, *places), "eval_tasks")
    if wanted.eval_tasks and wanted.eval_task_engine == "live" and wanted.eval_strategy == "no":
        raise RecipeError(
            "eval_tasks: nothing says when; add --eval_strategy steps, or --eval_task_engine vllm for each checkpoint"
        )
    running.problems_of_all([tasks.task_of(name) for name in wanted.eval_tasks], options)
    return options


def add_hook(trainer: CuratedTrainer, wanted: argparse.Namespace, options: running.Options) -> None:
    """Benchmarks in the middle of the training, if any are asked for."""
    if wanted.eval_tasks:
        from tagevol_hf.evals.hook import EvalHook

        engine = wanted.eval_task_engine
        trainer.add_callback(EvalHook(trainer, wanted.eval_tasks, options=options, engine=engine, say=say))


def make_trainer(
    model: str, config: SFTConfig, model_config: ModelConfig, encoded: Dataset, others: Dataset | None, tokenizer: Any
) -> CuratedTrainer:
    """TRL's trainer on data that is tokenized and labelled; packing, LoRA and quantisation are TRL's."""
    from transformers import PrinterCallback
    from trl import get_peft_config, get_quantization_config

    from tagevol_hf.training.callbacks import LossLines
    from tagevol_hf.training.trainer import CuratedTrainer, hide_token

    hide_token(config)
    config.model_init_kwargs = {
        "revision": model_config.model_revision,
        "attn_implementation": model_config.attn_implementation,
        "dtype": model_config.dtype,
        **(config.model_init_kwargs or {}),
    }
    with arguments.clear_errors():
        trainer = CuratedTrainer(
            model=model,
            args=config,
            train_dataset=encoded.remove_columns("id"),
            eval_dataset=others,
            processing_class=tokenizer,
            quantization_config=get_quantization_config(model_config),
            peft_config=get_peft_config(model_config),
        )
    trainer.args.push_to_hub = False  # the repository is made by now; it gets the model once, when that is whole
    if config.disable_tqdm:  # then transformers prints every log as a dictionary; a short line reads better
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(LossLines(say))
    return trainer


def progress_of(trainer: CuratedTrainer) -> dict[str, Any]:
    """How far the training went, over all its interruptions, and the course of its loss."""
    history = record.loss_history(trainer.state.log_history)
    return {
        "epochs": trainer.state.epoch,
        "steps": trainer.state.global_step,
        "processes": trainer.args.world_size,
        "first_loss": history[0]["loss"] if history else None,
        "last_loss": history[-1]["loss"] if history else None,
        "loss_history": history,
        "held_out_history": record.loss_history(trainer.state.log_history, "eval_loss"),
        "task_history": record.task_history(trainer.state.log_history, tasks.NAMES),
    }


def main(argv: list[str]) -> int:
    """Exit status: 0 when trained, 2 with one line on standard error when something is wrong, 130 after Ctrl-C."""
    if not sys.stderr.isatty():
        disable_progress_bars()
        disable_hub_progress_bars()  # transformers follows this one
    if "--help" in argv or "-h" in argv:
        print(__doc__)
        return 0
    quiet.silence_libraries()
    try:
        train(argv)
    except TagEvolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        told = stop.args[0] if stop.args else "stopped in preparation; nothing is lost: give the same command again"
        if told:  # a curation has said so itself
            say(told)
        return 130
    except OSError as error:  # a full disk
        print(f"error: {error}; when that is mended give the same command again", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
