"""The wheel in an environment of its own, as `pip install tagevol_hf` leaves it: no extra, no checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow

# Extra → code that needs it, run in the bare environment.
NEEDS = {
    "train": "from pathlib import Path; from tagevol_hf.launch import launch_evaluation as evaluate; "
    "evaluate(Path('runs'), Path('m'))",
    "embed": "import tagevol_hf as te; te.open_embedder('phrase-bert').encode(['x'])",
    "dedup": "import tagevol_hf as te; from datasets import Dataset; "
    "te.find_near_duplicates(te.prepare(Dataset.from_dict({'instruction': ['a b c d', 'a b c d e']})))",
    "figures": "import tagevol_hf as te; te.write_figures('runs/bare', 'figures')",
    "ray": "import tagevol_hf as te; "
    "next(te.open_engine('builtin', on='ray').stream([te.Request((te.Message('user', 'x'),))]))",
    "vllm": "import tagevol_hf as te; next(te.open_engine('vllm:m').stream([te.Request((te.Message('user', 'x'),))]))",
    "transformers": "import tagevol_hf as te; "
    "next(te.open_engine('transformers:m').stream([te.Request((te.Message('user', 'x'),))]))",
    "eval": "from tagevol_hf.evals.ifeval import TASK; from tagevol_hf.evals.task import Means; "
    "p = TASK.problems([{'key': 1, 'prompt': 'x', 'instruction_id_list': ['punctuation:no_comma'], 'kwargs': [{}]}]); "
    "TASK.grade(p, [('x',)], Means())",
}


def call(*command, folder, **environment):
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    given = {**kept, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "100", **environment}
    return subprocess.run(
        [*map(str, command)], cwd=folder, env=given, capture_output=True, text=True, timeout=240, check=False
    )


def _no_index(said):
    return any(words in said for words in ("Failed to fetch", "No module named uv", "error sending request"))


def uv(*arguments, folder):
    done = call(sys.executable, "-m", "uv", *arguments, folder=folder)
    if done.returncode and _no_index(done.stderr):
        pytest.skip(f"uv cannot install here: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, ROOT, folder=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def bare(built, tmp_path_factory):
    """The folder with the programs of the environment that has the wheel and what it demands, and no more."""
    place = tmp_path_factory.mktemp("bare") / "venv"
    uv("venv", "--quiet", "--python", sys.executable, place, folder=place.parent)
    uv("pip", "install", "--quiet", "--no-config", "--python", place / "bin" / "python", built[1], folder=place.parent)
    return place / "bin"


@pytest.fixture(scope="module")
def work(bare, tmp_path_factory):
    """A folder with a run that the bare environment made."""
    folder = tmp_path_factory.mktemp("work")
    run = ("run", "recipes/quickstart", "--limit", "6", "--set", "select.n=4", "--out", "runs/bare")
    done = call(bare / "tagevol", *run, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("nothing will be trained: torch is not installed; install it with: pip install ")
    assert "nothing was trained: torch is not installed" in done.stdout
    assert (folder / "runs" / "bare" / "report.html").is_file()
    return folder


def test_sdist_and_wheel_hold_what_they_should(built):
    sdist, wheel = built
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    for name in (
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "Makefile",
        "mkdocs.yml",
        "docs/index.md",
        "tests/test_cli.py",
    ):
        assert name in names, name
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name in ("prompts/tag_evol.txt", "report/page.css", "hub/licences.yaml", "_project/scripts/sft.py"):
        assert f"tagevol_hf/{name}" in inside, name
    assert "tagevol_hf/_project/recipes/quickstart/curate.yaml" in inside
    assert not [name for name in inside if name.startswith(("tests/", "docs/", "benchmarks/"))]


def test_help_version_and_doctor_work(bare, tmp_path):
    help_, version, doctor = (
        call(bare / "tagevol", argument, folder=tmp_path) for argument in ("--help", "--version", "doctor")
    )
    assert [done.returncode for done in (help_, version, doctor)] == [0, 0, 0]
    assert "tagevol run recipes/quickstart" in help_.stdout
    assert "Exit status: 0 done, 1 a bug" in " ".join(help_.stdout.split())
    assert version.stdout.strip() == "0.1.0"
    for extra in (*NEEDS, "qlora"):
        assert f"pip install 'tagevol_hf[{extra}]'" in doctor.stdout


def test_the_import_is_light(bare, tmp_path):
    code = "import time; t = time.perf_counter(); import tagevol_hf; print(time.perf_counter() - t)"
    seconds = [float(call(bare / "python", "-c", code, folder=tmp_path).stdout) for _ in range(5)]
    assert min(seconds) < 0.5


@pytest.mark.parametrize("extra", NEEDS)
def test_a_missing_extra_gives_the_line_that_installs_it(bare, work, extra):
    done = call(bare / "python", "-c", NEEDS[extra], folder=work)
    last = done.stderr.strip().splitlines()[-1]
    assert "MissingExtraError" in last, done.stderr
    assert last.endswith(f"install it with: pip install 'tagevol_hf[{extra}]'")


def test_a_training_that_was_asked_for_is_refused_before_anything_is_curated(bare, tmp_path):
    (tmp_path / "sft.yaml").write_text("model_name_or_path: tiny:llama\n")
    done = call(bare / "tagevol", "run", "recipes/quickstart", "--sft", "sft.yaml", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: torch is not installed; install it with: pip install 'tagevol_hf[train]'\n"
    assert not (tmp_path / "runs").exists()
    done = call(bare / "tagevol", "run", "recipes/quickstart", "--sft", "none.yaml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: none.yaml: no such training recipe\n")
