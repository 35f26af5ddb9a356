"""`scripts/sft.py` as users start it, and its refusals."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from run_folders import RECIPE, ROOT, load_script, row, save_run

from tagevol_hf.training import record
from tagevol_hf.training.arguments import plain_arguments
from tagevol_hf.training.checkpoints import last_checkpoint

STEPS = ["--max_steps", "60", "--per_device_train_batch_size", "4", "--save_steps", "20", "--logging_steps", "10"]


def arguments(run_folder: Path, output: Path, *more: str) -> list[str]:
    return ["--config", str(RECIPE), "--curated", str(run_folder), "--output_dir", str(output), *STEPS, *more]


def launch(arguments: list[str]) -> subprocess.Popen[str]:
    accelerate = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--quiet",
        "--num_cpu_threads_per_process",
        "1",
    ]
    config = ["--config_file", "accelerate_configs/cpu.yaml", "scripts/sft.py"]
    return subprocess.Popen(
        [*accelerate, *config, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def trained(run_folder, tmp_path_factory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("trained") / "model"
    process = launch(arguments(run_folder, output))
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 0, text
    return output, text


@pytest.mark.slow
def test_trains_and_leaves_a_model_and_its_record(trained, run_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    output, text = trained
    result = json.loads((output / "train.json").read_text())
    assert (result["rows"], result["steps"], result["resumed_from"], result["processes"]) == (40, 60, None, 1)
    assert [entry["step"] for entry in result["loss_history"]] == [10, 20, 30, 40, 50, 60]
    assert result["last_loss"] < result["first_loss"] - 2
    assert 0 < result["learned_tokens"] < result["tokens"]
    assert result["versions"]["trl"]
    assert "40 rows" in text
    assert "### Response:«The sum is 0.<|im_end|>»" in text
    assert AutoModelForCausalLM.from_pretrained(output).config.model_type == "llama"
    assert AutoTokenizer.from_pretrained(output).chat_template
    assert not list(run_folder.rglob("cache-*"))


@pytest.mark.slow
def test_the_loss_on_rows_that_were_not_chosen_and_a_tracker(run_folder, tmp_path, capsys):
    """By TRL's own `eval_strategy` and `report_to`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = [
        "--max_steps",
        "8",
        "--logging_steps",
        "4",
        "--eval_strategy",
        "steps",
        "--eval_steps",
        "4",
        "--save_steps",
        "4",
    ]
    more = ["--eval_rows", "7", "--load_best_model_at_end", "true", "--report_to", "tensorboard"]
    assert load_script("sft").main(arguments(run_folder, tmp_path, *options, *more)) == 0
    said = capsys.readouterr().out
    assert "7 rows to measure the loss on: rows that were not chosen, from seeds of which no row was trained on" in said
    [held_out] = re.findall(r"step 8 of 8, held-out loss ([\d.]+)", said)
    result = json.loads((tmp_path / "train.json").read_text())
    assert [entry["step"] for entry in result["held_out_history"]] == [4, 8]
    assert result["held_out_history"][1]["loss"] == pytest.approx(float(held_out), abs=1e-3)
    assert result["held_out_history"][1]["loss"] < result["held_out_history"][0]["loss"]
    [file] = tmp_path.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [4, 8]


@pytest.mark.slow
def test_the_end_is_learned(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tagevol_hf.training.formats import prompt_text

    tokenizer = AutoTokenizer.from_pretrained(trained[0])
    model = AutoModelForCausalLM.from_pretrained(trained[0])
    prompt = tokenizer(prompt_text(row(5)), return_tensors="pt")
    output = model.generate(**prompt, do_sample=False, max_new_tokens=40)[0, prompt["input_ids"].shape[1] :]
    reply = tokenizer.decode(output)
    assert reply.startswith("The sum is")
    assert reply.endswith(".<|im_end|>")


@pytest.mark.slow
def test_a_second_call_has_nothing_to_do_unless_something_changed(trained, run_folder, capsys, tmp_path):
    script = load_script("sft")
    start = time.monotonic()
    assert script.main(arguments(run_folder, trained[0], "--logging_steps", "7", "--report_to", "none")) == 0
    assert "already trained: nothing to do" in capsys.readouterr().out
    assert time.monotonic() - start < 3

    digest = json.loads((trained[0] / "train.json").read_text())["digest"]
    assert record.is_done(trained[0], digest)
    given = plain_arguments(arguments(run_folder, trained[0]))
    assert record.training_digest(given, "data", "tiny:llama") != digest
    (tmp_path / "train.json").write_text(json.dumps({"digest": digest}))
    assert not record.is_done(tmp_path, digest), "a record without a model is not a finished training"


@pytest.mark.slow
def test_lora_on_chat_messages_with_qwen2_and_the_labels_of_trl_itself(run_folder, tmp_path, capsys):
    """One process for three checks, since loading TRL is what costs time."""
    from datasets import load_from_disk
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from tagevol_hf.training import encode, trl_rows

    script = load_script("sft")
    options = ["--model_name_or_path", "tiny:qwen2", "--format", "messages", "--use_peft", "--lora_r", "4"]
    assert script.main(arguments(run_folder, tmp_path / "a", *options, "--max_steps", "2")) == 0, capsys.readouterr()
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["r"] == 4
    assert "<|im_start|>assistant\n  «The sum is 0.<|im_end|>»" in capsys.readouterr().out

    rows, tiny = load_from_disk(str(run_folder / "selected")), tmp_path / "a" / "tiny-model"
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for name, form in (
        ("alpaca", trl_rows.to_prompt_completion(rows)),
        ("messages", trl_rows.to_messages(rows)),
    ):
        config = SFTConfig(tmp_path / "b", use_cpu=True, bf16=False, assistant_only_loss=name == "messages")
        theirs = SFTTrainer(str(tiny), config, train_dataset=form, processing_class=tokenizer).train_dataset
        ours = encode.encode(rows, name, tokenizer)
        assert ours["input_ids"][:] == theirs["input_ids"][:]
        assert ours["labels"][:] == theirs["labels"][:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--learning_rat", "1"], 'learning_rat is not a training argument; did you mean "learning_rate"?'),
        (["--learning_rate", "fast"], "training arguments: argument --learning_rate"),
        (["--completion_only_loss", "false"], "only responses are learned"),
        (["--max_length", "9"], "row 'r/0': no token of its response is within max_length: 9 tokens"),
        (["--eos_token", "<end>"], "eos_token: '<end>' is no token of"),
        (["--lora_r", "4"], "lora_r: has no effect without LoRA; add --use_peft true"),
        (["--report_to", "wandbb"], "report_to: wandbb is not known, expected none or"),
        (["--report_to", "neptune"], "report_to: neptune is not installed"),
        (["--model_name_or_path", "./nowhere"], "from './nowhere' (no such folder)"),
    ],
)
def test_refusals_after_parsing(run_folder, tmp_path, capsys, options, message):
    assert load_script("sft").main(arguments(run_folder, tmp_path, *options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "started.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--curated", "runs/none"], "runs/none: no such run folder; make it with: tagevol run <recipe>"),
        (["--format", "alpacca"], 'did you mean "alpaca"?'),
        (["--model_name_or_path="], "model_name_or_path is missing; add --model_name_or_path <value>"),
        (["--config", "none.yaml"], "none.yaml: cannot be read (No such file or directory)"),
        (["--model_name_or_path", "tiny:gpt5"], "the tiny models are tiny:llama, tiny:mistral, tiny:qwen2"),
    ],
)
def test_refusals_come_in_one_line_before_torch(run_folder, tmp_path, capsys, options, message):
    assert load_script("sft").main(arguments(run_folder, tmp_path, *options)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_an_empty_and_an_unfinished_run_are_refused(tmp_path, capsys):
    script = load_script("sft")
    folder = save_run(tmp_path / "run", [], [row(1)])
    assert script.main(arguments(folder, tmp_path)) == 2
    assert "the curated set is empty, found no row" in capsys.readouterr().err
    (folder / "run.json").unlink()
    assert script.main(arguments(folder, tmp_path, "--curate", "never")) == 2
    said = capsys.readouterr().err
    assert (
        f"there is no data in {folder} yet; go on with: tagevol curate {folder / 'recipe.yaml'} --out {folder}" in said
    )


@pytest.mark.slow
def test_refusals_do_not_load_torch(run_folder, tmp_path):
    code = (
        "import runpy, sys\n"
        "try: runpy.run_path('scripts/sft.py', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules, 'trl' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *arguments(run_folder, tmp_path, "--format", "x")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.stdout.strip() == "2 False False", done.stderr


def test_settings_that_do_not_change_the_model_do_not_change_the_digest():
    given = yaml.safe_load(RECIPE.read_text())
    digest = record.training_digest(given, "data", "model")
    assert record.training_digest({**given, "output_dir": "x", "save_steps": 9}, "data", "model") == digest
    for changed in ({**given, "seed": 1}, {**given, "long_rows": "drop"}):
        assert record.training_digest(changed, "data", "model") != digest
    assert record.training_digest(given, "other", "model") != digest
    assert record.training_digest(given, "data", "other") != digest


def test_checkpoints_of_another_training_are_set_aside(tmp_path):
    record.begin(tmp_path, "one", afresh=False)
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-5" / "trainer_state.json").write_text('{"global_step": 5}')
    assert record.begin(tmp_path, "one", afresh=False) is None
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    moved = record.begin(tmp_path, "two", afresh=False)
    assert moved == str(tmp_path / "earlier-one")
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(Path(moved)) == Path(moved) / "checkpoint-5"


def test_the_other_ranks_wait_for_the_tiny_model(run_folder, tmp_path, monkeypatch):
    from threading import Thread

    from tagevol_hf.training import curated, models

    rows, _ = curated.load_curated(str(run_folder))
    monkeypatch.setenv("RANK", "1")
    found: list[str] = []
    waiting = Thread(target=lambda: found.append(models.resolve_model("tiny:llama", tmp_path, rows, "d")))
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    monkeypatch.setenv("RANK", "0")
    made = models.resolve_model("tiny:llama", tmp_path, rows, "d")
    waiting.join(timeout=10)
    assert found == [made] == [str(tmp_path / "tiny-model")]
