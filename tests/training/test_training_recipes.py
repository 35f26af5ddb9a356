"""Every training recipe: read by TRL's parser, with the papers' figures, and one real step of a model of its kind.

What TRL renames fails here first.
"""

import json
import math
from pathlib import Path

import pytest
import yaml
from run_folders import ROOT, load_script

from tagevol_hf.training import arguments

pytestmark = pytest.mark.slow

RECIPES = sorted((ROOT / "recipes").glob("**/sft-*.yaml"))
NAMES = [str(file.relative_to(ROOT / "recipes")) for file in RECIPES]
TINY = {"llama": "tiny:llama", "mistral": "tiny:mistral", "qwen": "tiny:qwen2", "tiny": "tiny:llama"}
# The machine of the tests, not the recipe's; all else is as it stands there.
HERE = ["--use_cpu", "true", "--bf16", "false", "--dtype", "float32", "--max_steps", "1", "--save_strategy", "no"]
STEP = ["--gradient_accumulation_steps", "2", "--logging_steps", "1"]


def kind_of(file: Path) -> str:
    return next(kind for kind in TINY if kind in file.stem)


def read(file: Path, *more: str):
    argv = ["--config", str(file), *more]
    given = arguments.plain_arguments(argv)
    return load_script("sft").read_arguments(arguments.without_config(argv), given)[1]


def test_there_is_one_of_each_in_full_and_with_lora():
    tacos, tag_evol = ("llama2-7b", "llama2-13b", "mistral-7b"), ("mistral-7b", "llama3-8b", "qwen2.5-7b")
    wanted = {f"tacos/alpaca-52k/sft-{name}{kind}.yaml" for name in tacos for kind in ("", "-lora")}
    wanted |= {f"tag-evol/sft-{name}{kind}.yaml" for name in tag_evol for kind in ("", "-lora")}
    assert set(NAMES) == wanted | {"quickstart/sft-tiny.yaml"}


@pytest.mark.parametrize("file", RECIPES, ids=NAMES)
def test_trl_knows_each_name_and_the_figures_are_those_of_the_papers(file):
    got = read(file)
    place = (
        "quickstart" if "quickstart" in str(file) else "tacos/alpaca-52k" if "tacos" in str(file) else "tag-evol/math"
    )
    assert got.curated == f"recipes/{place}"
    assert (ROOT / got.curated / "curate.yaml").is_file()
    assert "output_dir" not in yaml.safe_load(file.read_text()), "the model goes into the run that it is trained on"
    if place == "quickstart":
        return
    lora = file.stem.endswith("-lora")
    assert got.use_peft == lora
    gpus = 1 if lora else 8
    assert got.per_device_train_batch_size * got.gradient_accumulation_steps * gpus == 256
    if place == "tag-evol/math":
        assert (got.format, got.num_train_epochs, got.lr_scheduler_type, got.warmup_steps) == (
            "alpaca",
            3,
            "cosine",
            15,
        )
        assert (got.learning_rate, got.max_length) == (2e-4 if lora else 2e-5, 2048)
        return
    mistral = "mistral" in file.stem
    template = "mistral" if mistral else "llama2"
    assert (got.format, got.chat_template_path) == ("messages", template)
    assert got.learning_rate == pytest.approx((2e-6 if mistral else 1e-5) * (10 if lora else 1))
    assert (got.num_train_epochs, got.lr_scheduler_type, got.warmup_steps) == (15, "linear", 0)
    assert (got.weight_decay, got.adam_beta1, got.adam_beta2, got.neftune_noise_alpha) == (0.1, 0.9, 0.95, 15)


def step(file, run_folder, output, *more):
    """One optimisation step of a tiny model of the same architecture; gives the record."""
    options = ["--curated", str(run_folder), "--output_dir", str(output), "--model_name_or_path", TINY[kind_of(file)]]
    assert load_script("sft").main(["--config", str(file), *options, *HERE, *STEP, *more]) == 0
    return json.loads((output / "train.json").read_text())


@pytest.mark.parametrize("file", RECIPES, ids=NAMES)
def test_each_takes_a_real_step(file, run_folder, tmp_path, capsys):
    result = step(file, run_folder, tmp_path / "out")
    assert result["steps"] == 1
    assert math.isfinite(result["first_loss"])
    shown = capsys.readouterr().out
    assert {"tacos": "[/INST]« The sum is 0.<", "tag-e": "### Response:«The sum is 0.<"}.get(
        str(file.relative_to(ROOT / "recipes"))[:5], "«The sum is 0.<"
    ) in shown
    assert (tmp_path / "out" / "adapter_config.json").is_file() == file.stem.endswith("-lora")


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen"])
def test_each_architecture_takes_a_step_in_4_bits(kind, run_folder, tmp_path):
    """QLoRA as the recipes' head says it; bitsandbytes has kernels for the CPU, too."""
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    file = next(file for file in RECIPES if kind in file.stem and file.stem.endswith("-lora"))
    result = step(file, run_folder, tmp_path / "out", "--load_in_4bit", "true", "--gradient_checkpointing", "false")
    assert math.isfinite(result["first_loss"])
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == 16
