from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "accelerate_configs"


def test_all_are_there():
    assert {file.stem for file in CONFIGS.glob("*.yaml")} == {
        "cpu",
        "single_gpu",
        "ddp",
        "fsdp2",
        "zero2",
        "zero3",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cpu", "single_gpu", "ddp", "fsdp2", "zero2", "zero3"])
def test_accelerate_reads_it(name: str):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    kinds = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}
    assert config.distributed_type == kinds.get(name, "NO")
    assert config.use_cpu == (name == "cpu")
    assert config.num_processes == (8 if name in kinds else 1)
    if name.startswith("zero"):
        assert config.deepspeed_config["zero_stage"] == int(name[-1])
