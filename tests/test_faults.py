"""What a full disk, a read-only folder and files that were cut in half do to a run: clear words, and it goes on after.

Must hold 5 of the issue on scale. The disks are small ones in memory, in a mount namespace of a child process.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import tagevol
from test_pipeline import STEPS, curate, recipe, result, seeds, write_seeds

from tagevol_hf.errors import DataError, EngineError
from tagevol_hf.pipeline import load_run
from tagevol_hf.pipeline.merging import merge_shards
from tagevol_hf.pipeline.shards import Shard, curate_shard

pytestmark = pytest.mark.slow  # runs, a second each

ROOT = Path(__file__).parent.parent
NAMESPACE = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
MOUNT = "mkdir -p {0} && mount -t tmpfs -o size=64m tmpfs {0}"

IN_NAMESPACE = """
import json, shutil, subprocess, sys
from pathlib import Path
from tests.test_pipeline import curate, recipe, result
from tagevol_hf.pipeline.shards import Shard, curate_shard
from tagevol_hf.pipeline.merging import merge_shards
disk, given, told = Path(sys.argv[1]), recipe(sys.argv[2]), []
def remount(options):
    subprocess.run(["mount", "-o", "remount," + options, str(disk)], check=True)
def fault(work):
    try:
        work()
    except BaseException as error:
        return [type(error).__name__, str(error)]
"""

FULL = """
for size in map(int, sys.argv[3:]):
    remount(f"size={size}k")
    first = fault(lambda: curate(given, disk / "r"))
    remount("size=64m")
    status = json.loads((disk / "r" / "run.json").read_text())["status"] if (disk / "r" / "run.json").exists() else ""
    run = curate(given, disk / "r")
    left = [path.name for path in (disk / "r").iterdir() if path.name.startswith(".") and path.name != ".lock"]
    told.append([*(first or ["", ""]), status, run.record["totals"]["asked"], result(run), left])
    shutil.rmtree(disk / "r")
print(json.dumps(told))
"""

SHARDS_FULL = """
remount(f"size={sys.argv[3]}k")
told.append(fault(lambda: curate_shard(given, Shard(1, 1), disk / "r")))
remount("size=64m")
waits = True
while waits:
    waits = curate_shard(given, Shard(1, 1), disk / "r").waits_for
    used = sum(path.stat().st_blocks for path in disk.rglob("*")) // 2
    remount(f"size={used + 24}k")
    told.append(fault(lambda: merge_shards(disk / "r", lambda line: None)))
    remount("size=64m")
    merge_shards(disk / "r", lambda line: None)
run = curate(given, disk / "r")
print(json.dumps([told, run.record["totals"]["asked"], result(run)]))
"""

READ_ONLY = """
remount("ro")
told.append(fault(lambda: curate(given, disk / "r")))
remount("rw")
first = curate(given, disk / "r")
remount("ro")
told.append(fault(lambda: curate(given, disk / "r")))
told.append(fault(lambda: curate(given, disk.parent / "elsewhere", store=disk / "r" / "store.sqlite")))
told.append(fault(lambda: merge_shards(disk / "r", lambda line: None)))
remount("rw")
again = curate(given, disk / "r")
print(json.dumps([told, again.record["totals"]["asked"], result(again)]))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_seeds(tmp_path_factory.mktemp("data") / "seeds.jsonl", seeds())


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    return curate(recipe(source), tmp_path_factory.mktemp("run") / "r")


@pytest.fixture
def on_small_disk(tmp_path):
    """Runs a script with a disk of its own, and gives what it prints."""
    disk = tmp_path / "disk"
    test = subprocess.run([*NAMESPACE, "sh", "-c", MOUNT.format(disk)], check=False, capture_output=True, text=True)
    if test.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {test.stderr.strip()}")

    def run(script, source, *arguments):
        command = [sys.executable, "-c", IN_NAMESPACE + script, str(disk), str(source), *map(str, arguments)]
        inside = ["sh", "-c", MOUNT.format(disk) + ' && exec "$@"', "sh", *command]
        done = subprocess.run(
            [*NAMESPACE, *inside],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_disk_that_fills_up_at_any_moment_is_said_and_the_run_goes_on(on_small_disk, whole, source):
    sizes = (4, 8, 40, 60, 100, 300, 700, 1200, 1500)
    every = whole.record["totals"]["asked"]
    asked_after = []
    for kind, said, status, asked, rows, left in on_small_disk(FULL, source, *sizes):
        assert kind == "EngineError", said
        assert "disk" in said
        assert "the same command" in said
        assert "move the file away" not in said
        assert status in ("", "running", "stopped")
        assert rows == result(whole)
        assert left == []
        asked_after.append(asked)
    assert asked_after == sorted(asked_after, reverse=True), "what was answered is not asked again"
    assert asked_after[0] == every > asked_after[-1]


def test_a_disk_that_fills_up_under_a_shard_and_under_a_merge(on_small_disk, whole, source):
    told, asked, rows = on_small_disk(SHARDS_FULL, source, 150)
    assert len(told) > 1
    for kind, said in told:
        assert kind == "EngineError", said
        assert "the same command" in said
    assert (asked, rows) == (0, result(whole))


def test_a_store_and_a_run_on_a_read_only_disk(on_small_disk, whole, source):
    told, asked, rows = on_small_disk(READ_ONLY, source)
    for kind, said in told[:3]:
        assert kind == "EngineError", said
        assert "writable" in said
    assert told[3][1].endswith("ask for one by: tagevol curate RECIPE --shard 1/4")
    assert (asked, rows) == (0, result(whole))


def test_the_command_line_says_a_full_disk_in_one_line(tmp_path, source):
    test = subprocess.run([*NAMESPACE, "sh", "-c", MOUNT.format("d")], check=False, capture_output=True, cwd=tmp_path)
    if test.returncode:
        pytest.skip("mounting a small disk is not permitted here")
    (tmp_path / "recipe.yaml").write_text(json.dumps({"name": "t", **recipe(source).plain()}))
    command = (
        f"{sys.executable} -c 'from tagevol_hf.cli import main; main()' curate recipe.yaml --out {tmp_path / 'd/r'}"
    )
    script = (
        f"{MOUNT.format(tmp_path / 'd')} && mount -o remount,size=200k {tmp_path / 'd'}; {command}; echo $? > status"
    )
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (tmp_path / "status").read_text() == "2\n"
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "disk is full; free some disk space and run the same command again" in line
    assert "Traceback" not in done.stderr


def test_a_file_that_may_not_grow_is_an_error_and_the_run_goes_on(source, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        with pytest.raises(EngineError, match="the same command"):
            curate(recipe(source, [{"open_tags": {}}]), tmp_path / "r")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(curate(recipe(source, [{"open_tags": {}}]), tmp_path / "r").selected) == 24


def half(file):
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize("name", ["selected/*.arrow", "selected/state.json", "selected/dataset_info.json", "run.json"])
def test_a_result_cut_in_half_is_said_and_made_again_from_the_store(whole, source, tmp_path, name):
    shutil.copytree(whole.path, tmp_path / "r")
    (file,) = (tmp_path / "r").glob(name)
    half(file)
    with pytest.raises(DataError, match=rf"{name.split('/')[0]}: cannot be read \(.*\); run the recipe again"):
        _ = load_run(tmp_path / "r").selected
    again = curate(recipe(source), tmp_path / "r")
    assert again.record["totals"]["asked"] == 0
    assert result(again) == result(whole)


def test_a_result_without_its_file_is_said(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "r")
    next((tmp_path / "r" / "selected").glob("*.arrow")).unlink()
    with pytest.raises(DataError, match=r"selected: cannot be read \(.*\); run the recipe again"):
        _ = load_run(tmp_path / "r").selected


def test_a_saved_step_cut_in_half_is_made_again(whole, source, tmp_path):
    shutil.copytree(whole.path, tmp_path / "r")
    for file in (tmp_path / "r" / "steps").rglob("*.arrow"):
        half(file)
    shown = tagevol("report", tmp_path / "r", folder=tmp_path)
    assert (shown.returncode, "Traceback" in shown.stderr) == (0, False)
    again = curate(recipe(source), tmp_path / "r")
    assert (again.record["totals"]["asked"], result(again)) == (0, result(whole))


def test_a_store_cut_in_half_names_the_way_out_and_the_way_works(whole, source, tmp_path):
    store = tmp_path / "r" / "store.sqlite"
    shutil.copytree(whole.path, tmp_path / "r")
    half(store)
    with pytest.raises(EngineError, match=r"store\.sqlite: .*saving what can be read by: .* verify .*--rescue"):
        curate(recipe(source), tmp_path / "r")
    saved = tagevol("store", "verify", store, "--rescue", tmp_path / "new.sqlite", folder=tmp_path)
    assert saved.returncode == 0, saved.stderr
    (tmp_path / "new.sqlite").replace(store)
    again = curate(recipe(source), tmp_path / "r")
    assert 0 < again.record["totals"]["asked"] < whole.record["totals"]["asked"]
    assert result(again) == result(whole)


def test_what_a_killed_process_was_writing_is_removed_and_half_a_shard_folder_harms_nobody(source, tmp_path):
    given = recipe(source, STEPS[4:5])
    curate_shard(given, Shard(1, 2), tmp_path)
    (tmp_path / ".selected.99999").mkdir()
    (tmp_path / ".run.json.99999").write_text("{")
    (Shard(1, 2).folder(tmp_path) / "failed.json").write_text('{"a": ["b')
    half(Shard(1, 2).folder(tmp_path) / "run.json")
    said = []
    assert not merge_shards(tmp_path, said.append)
    assert "(unknown)" in said[0]
    assert curate_shard(given, Shard(1, 2), tmp_path).asked == 0
    assert len(curate(given, tmp_path).selected) == 24
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [".lock"]
