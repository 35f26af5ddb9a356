"""Estimates of memory: exact where sizes are, and the same in the recipes' tables."""

import re

import pytest
import yaml
from run_folders import ROOT

from tagevol_hf.training.memory import GIB, estimate, in_words, shape_of

LLAMA = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
LLAMA13 = {"model_type": "llama", "hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40}
QWEN = {"model_type": "qwen2", "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28}
# Configurations as their makers publish them, and how many weights these models have.
MODELS = {
    "meta-llama/Llama-2-7b-hf": ({**LLAMA, "intermediate_size": 11008, "vocab_size": 32000}, 6_738_415_616),
    "meta-llama/Llama-2-13b-hf": ({**LLAMA13, "intermediate_size": 13824, "vocab_size": 32000}, 13_015_864_320),
    "mistralai/Mistral-7B-v0.1": (
        {**LLAMA, "model_type": "mistral", "intermediate_size": 14336, "num_key_value_heads": 8, "vocab_size": 32000},
        7_241_732_096,
    ),
    "meta-llama/Meta-Llama-3-8B": (
        {**LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8, "vocab_size": 128256},
        8_030_261_248,
    ),
    "Qwen/Qwen2.5-7B": (
        {**QWEN, "intermediate_size": 18944, "num_key_value_heads": 4, "vocab_size": 152064},
        7_615_616_512,
    ),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_weights_are_counted_exactly(name):
    config, weights = MODELS[name]
    assert shape_of(config).parameters == weights


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2"])
def test_a_real_model_its_adapters_and_its_optimizer_have_the_sizes_that_are_said(architecture, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from tagevol_hf.training.tiny import make_tiny_model

    model = AutoModelForCausalLM.from_pretrained(make_tiny_model(tmp_path, architecture, []))
    shape = shape_of(model.config.to_dict())
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.ones((1, 8), dtype=torch.long), labels=torch.ones((1, 8), dtype=torch.long)).loss.backward()
    optimizer.step()
    said = estimate(shape, batch=1, length=8)
    states = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert said.optimizer == sum(state.numel() * state.element_size() for state in states)
    assert said.weights == sum(weight.numel() * weight.element_size() for weight in model.parameters())
    assert said.gradients == sum(weight.grad.numel() * weight.grad.element_size() for weight in model.parameters())
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert shape.adapters(4) == sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)


def test_sharing_and_quantising_take_less():
    shape = shape_of(MODELS["mistralai/Mistral-7B-v0.1"][0])
    sizes = {"batch": 1, "length": 2048}
    alone = estimate(shape, **sizes)
    assert alone.weights + alone.gradients + alone.optimizer == 16 * shape.parameters
    zero2, zero3 = (estimate(shape, **sizes, processes=8, sharding=name) for name in ("zero2", "zero3"))
    assert zero3.weights * 8 == zero2.weights == 2 * shape.parameters
    assert zero3.optimizer == zero2.optimizer == 12 * shape.parameters / 8
    lora, qlora = (estimate(shape, **sizes, lora_rank=16, four_bit=four) for four in (False, True))
    assert qlora.total < lora.total / 2 < zero2.total / 2 < alone.total / 2
    assert estimate(shape, batch=2, length=2048).activations == 2 * alone.activations


def test_a_training_is_told_in_one_line():
    config = MODELS["meta-llama/Llama-2-7b-hf"][0]
    wanted = {
        "per_device_train_batch_size": 2,
        "max_length": 2048,
        "lora_r": 16,
        "use_peft": False,
        "load_in_4bit": False,
    }
    zero3 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3", "WORLD_SIZE": "8"}
    assert in_words(config, wanted, zero3) == (
        "memory: about 14.1 GiB a GPU for 6.74 billion parameters (weights 1.6, gradients 1.6, optimizer 9.4, "
        "activations 1.6); an estimate"
    )
    fsdp = in_words(config, wanted, {"ACCELERATE_USE_FSDP": "true", "WORLD_SIZE": "8"})
    assert "weights 3.1, gradients 3.1, optimizer 6.3" in fsdp
    assert "about 5.5 GiB" in in_words(config, wanted | {"use_peft": True, "load_in_4bit": True}, {})
    assert in_words({}, wanted, {}) == "memory: not estimated (the model's configuration has no 'num_attention_heads')"


ROW = re.compile(
    r"`accelerate launch .*?accelerate_configs/(\w+)\.yaml .*?--config (\S+?\.yaml)([^`]*)` \|[^|]*\| ([\d.]+) GiB"
)


@pytest.mark.parametrize("method", ["tacos", "tag-evol"])
def test_the_tables_say_what_the_estimate_says(method):
    rows = ROW.findall((ROOT / "recipes" / method / "README.md").read_text("utf-8"))
    assert len(rows) == 9, "three models, each in full, with LoRA and with QLoRA"
    for where, file, more, said in rows:
        given = yaml.safe_load((ROOT / file).read_text("utf-8"))
        found = estimate(
            shape_of(MODELS[given["model_name_or_path"]][0]),
            batch=given["per_device_train_batch_size"],
            length=given["max_length"],
            processes=8,
            sharding=where if where.startswith("zero") else "none",
            lora_rank=given["lora_r"] if given.get("use_peft") else None,
            four_bit="--load_in_4bit true" in more,
        )
        assert float(said) == round(found.total / GIB, 1), file
