"""Where a Ray cluster is, and what an actor of it gets: reads what stands behind `--on`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import EngineError
from .spec import positive, split_options, unknown_option

FORMS = "ray (join the local Ray, or start one), ray:auto, ray:HOST:PORT or ray://HOST:PORT, each with ?actors=4&gpus=1"
ENVIRONMENT = re.compile(r"TAGEVOL_\w+|OPENAI_API_KEY|HF_TOKEN|HF_ENDPOINT|HF_HUB_OFFLINE")  # goes with the actors
_ADDRESS = re.compile(r"ray(|:auto|:(?P<node>[^/:?]+:\d+)|(?P<client>://[^/:?]+:\d+))")
_PARALLEL = re.compile(r"[?&](?:tensor|pipeline|data)_parallel_size=(\d+)")
_OPTIONS: dict[str, type[int] | type[float]] = {
    "actors": int,
    "gpus": float,
    "cpus": float,
    "in_flight": int,
    "wait": float,
}
_IN_FLIGHT = 512  # requests: twice what one server, or one vLLM, runs at once by default
WAIT = 120.0  # seconds


@dataclass(frozen=True)
class Place:
    """A cluster, and how many actors with which resources work there.

    Attributes:
        address: Empty to join the Ray that runs on this machine or start one; else as `ray.init` takes it.
        actors: How many hold an engine; None for one a GPU, or by the kind of engine where there is no GPU.
        gpus: Of one actor; None for what the model is spread over, where the cluster has GPUs.
        cpus: Of one actor, which is also its number of threads (`OMP_NUM_THREADS`); None for 1, and a whole node for
            a model without a GPU.
        in_flight: Most requests that one actor has at once; None for 512 a server or model.
        wait: Seconds for the cluster to make room for the first actor; None for 120, and not at all where it is too
            small.
    """

    address: str = ""
    actors: int | None = None
    gpus: float | None = None
    cpus: float | None = None
    in_flight: int | None = None
    wait: float | None = None

    @classmethod
    def read(cls, text: str) -> Place:
        """From what stands behind `--on`.

        Raises:
            EngineError: If it cannot be read.
        """
        head, options = split_options(text.strip())
        found = _ADDRESS.fullmatch(head)
        if found is None:
            raise EngineError(f"on {head!r}: expected {FORMS}")
        for name in options:
            if name not in _OPTIONS:
                raise unknown_option(head, name, _OPTIONS)
        given: dict[str, Any] = {
            name: positive(head, name, value, _OPTIONS[name]) for name, value in options.items() if value != "0"
        }
        address = "auto" if head == "ray:auto" else found["node"] or (found["client"] and head) or ""
        zero = {name: 0.0 for name, value in options.items() if value == "0" and name in ("gpus", "cpus")}
        if len(given) + len(zero) < len(options):
            raise EngineError(f"on {head!r}: expected a number above 0 for actors, in_flight and wait")
        whole = {name: int(given[name]) for name in ("actors", "in_flight") if name in given}
        return cls(address, **(given | zero | whole))


@dataclass(frozen=True)
class Share:
    """What `Place` comes to on the cluster that was found.

    Attributes:
        actors: How many.
        gpus: Of one.
        cpus: Of one.
        in_flight: Most requests that one has at once.
    """

    actors: int
    gpus: float
    cpus: float
    in_flight: int


def share_of(place: Place, spec: str, nodes: list[Mapping[str, float]]) -> Share:
    """How many actors, and what each gets.

    Args:
        place: What the user asks for.
        spec: The engine's name.
        nodes: The resources of each node, by Ray's names.

    Raises:
        EngineError: If the cluster is too small for one actor, and no `wait` is given.
    """
    model = not spec.startswith(("builtin", "http://", "https://"))
    all_cpus, all_gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    gpus = place.gpus
    if gpus is None:
        gpus = float(_spread_over(spec)) if model and all_gpus else 0.0
    cpus = place.cpus
    if cpus is None:
        cpus = max((node.get("CPU", 0) for node in nodes), default=1.0) if model and not gpus else 1.0
    if place.wait is None and not any(node.get("GPU", 0) >= gpus and node.get("CPU", 0) >= cpus for node in nodes):
        raise EngineError(too_small(gpus, cpus, nodes) + "; for a cluster that grows on demand add wait=600 (seconds)")
    actors = place.actors
    if actors is None:
        by_cpu = int(all_cpus // 2) if spec == "builtin" else 1
        actors = int(all_gpus // gpus) if gpus else by_cpu
    servers = spec.partition("#")[0].count(",") + 1 if spec.startswith("http") else 1
    return Share(max(1, actors), gpus, cpus, place.in_flight or _IN_FLIGHT * servers)


def too_small(gpus: float, cpus: float, nodes: list[Mapping[str, float]]) -> str:
    """That no node has what one actor needs."""
    have = "; ".join(f"{node.get('GPU', 0):g} GPUs, {node.get('CPU', 0):g} CPUs" for node in nodes) or "none"
    return f"on ray: an actor needs {gpus:g} GPUs and {cpus:g} CPUs of one node; the cluster's nodes have: {have}"


def environment() -> dict[str, str]:
    """What engines read from this process's environment, keys included: for the actors alone, never for a log."""
    return {name: value for name, value in os.environ.items() if ENVIRONMENT.fullmatch(name)}


def _spread_over(spec: str) -> int:
    size = 1
    for number in _PARALLEL.findall(spec):
        size *= max(1, int(number))
    return size
