"""The command that trains."""

import pytest

from tagevol_hf.errors import RecipeError
from tagevol_hf.launch import launcher


@pytest.mark.parametrize(("given", "threads"), [(None, "2"), ("", "2"), ("7", "7")])
def test_the_users_number_of_threads_holds(monkeypatch, given, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    command = launcher("cpu")
    assert command[command.index("--num_cpu_threads_per_process") + 1] == threads
    assert command[-1].endswith("scripts/sft.py")
    assert command[command.index("--config_file") + 1].endswith("accelerate_configs/cpu.yaml")


def test_an_accelerate_configuration_that_is_not_there_is_told():
    with pytest.raises(RecipeError, match=r"accelerate_configs/zero9.yaml: not found; looked in"):
        launcher("zero9")
