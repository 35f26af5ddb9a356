"""Children of a process that a launcher (torchrun, accelerate) started, and which are none of the launcher's own."""

from __future__ import annotations

import os
from pathlib import Path

# What a launcher tells its processes; an engine in a child must not take itself for one of them.
_LAUNCHER = ("TORCHELASTIC_", "ACCELERATE_", "FSDP_", "GROUP_", "ROLE_", "PARALLELISM_CONFIG_", "KMP_", "TORCH_NCCL_")
_LAUNCHER_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def child_environment() -> dict[str, str]:
    """The environment without what a launcher put into it; this package can be imported in it."""
    launched = "TORCHELASTIC_RUN_ID" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _LAUNCHER_NAMES and not name.startswith(_LAUNCHER)
    }
    if launched and kept.get("OMP_NUM_THREADS") == "1":  # the launchers' own choice
        del kept["OMP_NUM_THREADS"]
    package = str(Path(__file__).parents[1])
    return {**kept, "PYTHONPATH": os.pathsep.join([package, *filter(None, [kept.get("PYTHONPATH")])])}
