#!/usr/bin/env python
"""Fine-tune a model on a curated set with TRL.

    accelerate launch --config_file accelerate_configs/cpu.yaml scripts/sft.py \
        --config recipes/quickstart/sft-tiny.yaml [any argument of TRL's SFTConfig and ModelConfig]

Own arguments beside TRL's: --curated (a run folder, a saved data set or a Hub id), --format, --long_rows and
--retrain. The same command goes on after an interruption, and does nothing when all is done.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset, disable_progress_bars
from huggingface_hub.utils import disable_progress_bars as disable_hub_progress_bars

from tagevol_hf.errors import MissingExtraError, RecipeError, TagEvolError
from tagevol_hf.training import arguments, curated, encode, formats, lengths, models, record
from tagevol_hf.versions import versions

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig, SFTTrainer


def say(text: str) -> None:
    """Print a line once, however many processes train."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(text, flush=True)


def train(argv: list[str]) -> None:
    """The whole journey: arguments, data, model, encoding, training, record."""
    # 1. What is asked, and is it done already? (No torch so far, no process group.)
    given = arguments.plain_arguments(argv)
    formats.check_format(str(given.get("format", "alpaca")))
    rows, unanswered = curated.load_curated(str(given["curated"]))
    data, asked_model = curated.content_digest(rows), str(given["model_name_or_path"])
    digest = record.training_digest(given, data, record.model_identity(asked_model))
    folder, retrain = Path(str(given["output_dir"])), arguments.is_true(given, "retrain")
    if not retrain and record.is_done(folder, digest):
        say(f"{folder}: already trained: nothing to do (same data and settings; --retrain trains again)")
        return

    # 2. The model, made on the spot if it is a tiny one, and the parsed arguments.
    model = models.resolve_model(asked_model, folder, rows, data)
    own, config, model_config = parse(argv, given)
    trust = {"revision": model_config.model_revision, "trust_remote_code": config.trust_remote_code}
    tokenizer = models.load_tokenizer(model, eos_token=config.eos_token, **trust)
    models.use_chat_template(tokenizer, config.chat_template_path)

    # 3. Rows to token ids, with a label on what is learned; all that can be wrong with data is found here.
    encoded = encode.encode(rows, own.format, tokenizer)
    models.check_vocabulary(model, encoded, **trust)
    encoded, encoding = lengths.fit_to_length(encoded, config.max_length, own.long_rows)
    if own.format == formats.MESSAGES and (special := encode.rows_with_special_text(rows, tokenizer)):
        say(f"{special} rows hold text like {tokenizer.eos_token}, which is read as a special token")
    tell(encoding, unanswered, config.max_length, encoded[0], tokenizer)

    # 4. Train, from the last checkpoint if there is one.
    with config.main_process_first(local=False):
        moved = record.begin(folder, digest, afresh=retrain) if config.process_index == 0 else None
    if moved:
        say(f"checkpoints of an earlier, different training were moved to {moved}")
    resumed = config.resume_from_checkpoint or record.last_checkpoint(folder)
    if resumed:
        say(f"going on from {resumed}")
    trainer = make_trainer(model, config, model_config, encoded, tokenizer)
    metrics = trainer.train(resume_from_checkpoint=str(resumed) if resumed else None).metrics
    trainer.save_model(str(folder))

    # 5. The record comes last: where it is, the model is whole.
    if trainer.is_world_process_zero():
        result = {
            "digest": digest,
            "data_digest": data,
            "model": asked_model,
            "format": own.format,
            **encoding.as_dict(),
            "rows_without_response": unanswered,
            **progress_of(trainer),
            "seconds": round(metrics["train_runtime"], 2),
            "resumed_from": str(resumed) if resumed else None,
            "versions": versions(),
            "arguments": {name: str(value) for name, value in given.items() if name != "hub_token"},
        }
        record.write_json(folder / "train.json", result)
        if result["loss_history"]:
            say(f"training loss {result['first_loss']:.3f} -> {result['last_loss']:.3f} nats a learned token")
        say(f"model and train.json are in {folder}")
    if config.push_to_hub:
        trainer.push_to_hub()
    if hasattr(trainer, "end"):  # transformers 5.18 and later: closes trackers and the process group
        trainer.end()


Parsed = tuple[arguments.CuratedArguments, "SFTConfig", "ModelConfig"]


def parse(argv: list[str], given: dict[str, Any]) -> Parsed:
    """Let TRL parse and check everything; its configuration starts the process group, if there is one."""
    try:
        from trl import ModelConfig, SFTConfig, TrlParser
    except ImportError as error:
        raise MissingExtraError(error.name or "trl", "train") from error
    # TRL's own default uses the old name of this argument; users can do nothing about it.
    warnings.filterwarnings("ignore", message="`gradient_checkpointing` is deprecated", category=FutureWarning)
    parser = TrlParser((arguments.CuratedArguments, SFTConfig, ModelConfig), exit_on_error=False)
    arguments.check_names(given, (action.dest for action in parser._actions))
    try:
        own, config, model_config = parser.parse_args_and_config(argv)
    except (ValueError, argparse.ArgumentError) as error:
        raise RecipeError(f"training arguments: {' '.join(str(error).split())}") from error
    if config.completion_only_loss is False:
        raise RecipeError("completion_only_loss: false is not possible here; only responses are learned")
    # The labels are ours already: TRL need not build them, nor change the tokenizer that made them.
    config.assistant_only_loss, config.completion_only_loss, config.chat_template_path = False, None, None
    if not sys.stderr.isatty():
        config.disable_tqdm = True
    return own, config, model_config


def tell(encoding: lengths.Encoding, unanswered: int, max_length: int | None, row: Any, tokenizer: Any) -> None:
    """Say what is trained on, and show one row with what is learned between «»."""
    say(f"{encoding.rows} rows, {encoding.tokens} tokens, {encoding.learned_tokens} of them learned")
    if unanswered:
        say(f"{unanswered} rows have no response and are left out")
    if encoding.over_long:
        what = "left out" if encoding.dropped else "cut at their end"
        say(f"{encoding.over_long} rows have more than max_length: {max_length} tokens and are {what}")
        say(f"  (the longest has {encoding.longest})")
    text = encode.marked_text(row["input_ids"], row["labels"], tokenizer)
    say(f"row {row['id']}, learned between «»:\n  " + text.replace("\n", "\n  "))


def make_trainer(
    model: str, config: SFTConfig, model_config: ModelConfig, encoded: Dataset, tokenizer: Any
) -> SFTTrainer:
    """TRL's trainer on data that is tokenized and labelled; packing, LoRA and quantisation are TRL's."""
    from transformers import PrinterCallback
    from trl import SFTTrainer, get_peft_config, get_quantization_config

    from tagevol_hf.training.callbacks import LossLines

    config.model_init_kwargs = {
        "revision": model_config.model_revision,
        "attn_implementation": model_config.attn_implementation,
        "dtype": model_config.dtype,
        **(config.model_init_kwargs or {}),
    }
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=encoded.remove_columns("id"),
        processing_class=tokenizer,
        quantization_config=get_quantization_config(model_config),
        peft_config=get_peft_config(model_config),
    )
    if config.disable_tqdm:  # then transformers prints every log as a dictionary; a short line reads better
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(LossLines(say))
    return trainer


def progress_of(trainer: SFTTrainer) -> dict[str, Any]:
    """How far the training went, over all its interruptions, and the course of its loss."""
    history = record.loss_history(trainer.state.log_history)
    return {
        "epochs": trainer.state.epoch,
        "steps": trainer.state.global_step,
        "processes": trainer.args.world_size,
        "first_loss": history[0]["loss"] if history else None,
        "last_loss": history[-1]["loss"] if history else None,
        "loss_history": history,
    }


def main(argv: list[str]) -> int:
    """Exit status: 0 when trained, 2 with one line on standard error when something is wrong."""
    if not sys.stderr.isatty():
        disable_progress_bars()
        disable_hub_progress_bars()  # transformers follows this one
    if "--help" in argv or "-h" in argv:
        print(__doc__)
        return 0
    try:
        train(argv)
    except TagEvolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
