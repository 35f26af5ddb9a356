"""A small model that has learned to tell stories learns to tell ours: trained, measured, merged and served.

The steps are those of a user, each in a process of its own; the model is that of TAGEVOL_TEST_MODELS.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import ROOT, row, save_run

MODELS = Path(os.environ.get("TAGEVOL_TEST_MODELS", ROOT.parent / "shared" / "models"))
STORIES = MODELS / "stories260K"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (STORIES / "model.safetensors").is_file(), reason=f"{STORIES}/model.safetensors is not there"
    ),
]

NAMES = ("Tim", "Lily", "Ben", "Sue", "Max")
ANIMALS = ("dog", "cat", "bird", "frog")
THINGS = ("ball", "box", "car", "hat", "red toy")
PLACES = ("park", "garden", "house", "big tree")
TRAINING = [
    *("--model_name_or_path", "MODEL", "--format", "alpaca", "--max_length", "512", "--use_cpu", "true"),
    *("--bf16", "false", "--gradient_checkpointing", "false", "--report_to", "none", "--save_strategy", "no"),
    *("--use_peft", "--lora_r", "8", "--lora_alpha", "16", "--lora_target_modules", "all-linear"),
    *("--learning_rate", "5e-3", "--lr_scheduler_type", "cosine", "--num_train_epochs", "4", "--seed", "1"),
    *("--per_device_train_batch_size", "4", "--logging_steps", "10"),
    *("--eos_token", "<s>"),  # what stood between the stories that the model has learned from
]
SERVED = """
import json, sys
from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.vllm import VLLMEngine

found = []
for spec in sys.argv[2:]:
    engine = VLLMEngine.from_spec(f"{spec}dtype=float32&enforce_eager=true&max_model_len=512")
    requests = [Request((Message("user", text),), Sampling(max_tokens=96)) for text in json.loads(sys.argv[1])]
    replies = dict(engine.stream(requests))
    found.append([[replies[n].text, replies[n].finish_reason] for n in range(len(requests))])
    engine.close()
print(json.dumps(found))
"""


def story(number):
    """A row of five short sentences that follow from its instruction."""
    name, animal = NAMES[number % 5], ANIMALS[number // 5 % 4]
    thing, place = THINGS[number // 20 % 5], PLACES[number % 4]
    text = (
        f"Once upon a time, there was a little {animal} named {name}. One day, {name} went to the {place}. "
        f"{name} saw a {thing}. {name} was very happy and played with the {thing} all day. The end."
    )
    asked = f"Tell a story about a {animal} named {name} and a {thing} in the {place}."
    return row(number, instruction=asked, input="", response=text)


def run(*command, timeout=240):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from training.widened import widened

    return widened(STORIES, tmp_path_factory.mktemp("model") / "stories", 32)


@pytest.fixture(scope="module")
def trained(model, tmp_path_factory):
    """The run folder; in it the adapter `lora`, the `merged` model and `eval.json` of both."""
    folder = tmp_path_factory.mktemp("runs") / "stories"
    rows = [story(number) for number in range(100)]
    save_run(folder, [each for each in rows if int(each["id"][2:]) % 5], rows[::5])
    arguments = [word.replace("MODEL", str(model)) for word in TRAINING]
    launch = ("-m", "accelerate.commands.launch", "--quiet", "--num_cpu_threads_per_process", "1")
    script = ("--config_file", "accelerate_configs/cpu.yaml", "scripts/sft.py", "--curated", folder)
    run(*launch, *script, "--output_dir", folder / "lora", *arguments)
    run("scripts/evaluate.py", "--model", folder / "lora", "--data", folder, "--replies", "0", "--out",
        folder / "lora" / "eval.json")  # fmt: skip
    run("scripts/merge.py", folder / "lora", folder / "merged")
    return folder


def logits(model, texts):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        return [loaded(torch.tensor([tokenizer(text)["input_ids"]])).logits for text in texts]


def test_wider_heads_are_the_same_model(model):
    texts = [story(number)["response"] for number in range(4)]
    for small, wide in zip(logits(STORIES, texts), logits(model, texts), strict=True):
        assert (small - wide).abs().max() < 1e-4 * small.abs().max()
        assert (small.argmax(-1) == wide.argmax(-1)).all()


def test_the_loss_on_held_out_rows_falls_below_its_start(trained):
    measured = json.loads((trained / "lora" / "eval.json").read_text())
    assert (measured["n"], measured["held_out"]) == (20, "unseen_seeds")
    assert measured["after"]["loss"] < measured["before"]["loss"] / 2


def test_vllm_says_what_transformers_says_merged_and_not(trained, model):
    pytest.importorskip("vllm", reason="vLLM is not installed")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asked = [story(number)["instruction"] for number in range(0, 60, 5)]
    lora = trained / "lora"
    specs = [f"{trained / 'merged'}?", f"{model}?lora={lora}&tokenizer={lora}&"]
    merged, adapted = json.loads(run("-c", SERVED, json.dumps(asked), *specs).splitlines()[-1])

    tokenizer = AutoTokenizer.from_pretrained(trained / "merged")
    loaded = AutoModelForCausalLM.from_pretrained(trained / "merged", dtype=torch.float32)
    expected = []
    for text in asked:
        turns = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        tokens = loaded.generate(**prompt, max_new_tokens=96, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        expected.append(tokenizer.decode(tokens, skip_special_tokens=True))
    assert [text for text, _ in merged] == expected
    assert adapted == merged
    assert {reason for _, reason in merged} == {"stop"}, "the end token was learned"
    assert all(text.startswith("Once upon a time") and text.endswith("The end.") for text in expected)
