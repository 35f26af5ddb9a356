"""The data of a training, made before it where it is not there yet.

It is made by the process with rank 0, in a child of its own, so that a model that curates has left the GPU when the
training starts. The other processes wait on the file system, before any process group exists: nothing that could time
out. Beside the run folder lies `.NAME.curating.TRAINING.json` meanwhile; its counter shows that rank 0 is alive.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from threading import Event, Thread
from typing import Any

import filelock

from .child import child_environment
from .errors import DataError, RecipeError
from .project import project_file, recipe_path
from .recipe import Recipe
from .recipe_file import load_recipe
from .training.record import read_json, write_json

AUTO, NEVER = "auto", "never"
BEAT_SECONDS = 1.0
SILENT_SECONDS = float(os.environ.get("TAGEVOL_SILENT_SECONDS", "60"))  # then the others take rank 0 for dead
GRACE_SECONDS = "60"  # that the curation has to end when it must
_TOLD = 130  # status of a `tagevol` that was stopped, and has said so
_GUARD = Path(__file__).parent / "engines" / "child_guard.py"
_TRAINING = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")  # the same in all processes of one training

Say = Callable[[str], None]


def curated_place(where: str, mode: str, say: Say) -> str:
    """Where the data is that `curated` names; a recipe's data is made first if it is not there.

    Args:
        where: A curate recipe (its folder or its file), a run folder, a saved data set or a Hub id.
        mode: "auto" makes what is missing; "never" does not.
        say: Prints a line, once however many processes there are.

    Returns:
        A run folder where a recipe or an unfinished run was named, else `where` itself.

    Raises:
        DataError: If the data is missing and may not be made, or making it failed; in every process.
        RecipeError: If the recipe is not valid, or there is none and another name is near.
    """
    _check_spelling(where)
    found = _recipe_of(where)
    if found is None:
        return where
    file, folder = found
    if folder is not None and mode == NEVER:
        raise DataError(f"{where}: {_state(folder)}; go on with: tagevol curate {file} --out {folder}")
    recipe = load_recipe(file)
    folder = folder or run_folder_of(recipe)
    if _is_made(folder, recipe):
        return str(folder)
    command = ["curate", str(file), *([] if folder == run_folder_of(recipe) else ["--out", str(folder)])]
    if mode == NEVER:
        raise DataError(f"{where}: {_state(folder)}; make it with: tagevol {' '.join(command)}")
    if int(os.environ.get("RANK", "0")) == 0:
        _make(folder, recipe, command, say)
    else:
        _wait(folder, recipe)
    return str(folder)


def place_to_be(where: str) -> tuple[str, bool]:
    """What `curated_place` would give, and whether it would make it, or say that it is not there.

    Raises:
        RecipeError: As there.
    """
    _check_spelling(where)
    found = _recipe_of(where)
    if found is None:
        return where, False
    recipe = load_recipe(found[0])
    folder = found[1] or run_folder_of(recipe)
    return str(folder), not _is_made(folder, recipe)


def run_folder_of(recipe: Recipe) -> Path:
    """Where a recipe's run goes when nothing else is said."""
    return Path("runs") / recipe.name


def _check_spelling(where: str) -> None:
    """Refuse a path that is not there where one that is there has nearly its name."""
    path = Path(where)
    first = get_close_matches(path.parts[0] if len(path.parts) > 1 else "", ("runs", "recipes"), n=1, cutoff=0.8)
    local = where.startswith((".", "/")) or path.suffix in (".yaml", ".yml") or first
    if not local or recipe_path(path).exists():
        return
    for root in [Path(path.anchor)] if path.anchor else [Path(), project_file("recipes").parent]:
        if near := _nearest(root, path.relative_to(path.anchor)):
            raise RecipeError(f"{where}: not found; did you mean {path.anchor}{near}?")


def _nearest(root: Path, path: Path) -> Path | None:
    """The path below a folder whose parts are each most like those of the one asked for."""
    found = root
    for part in path.parts:
        names = sorted(os.listdir(found)) if os.access(found, os.R_OK | os.X_OK) and found.is_dir() else []
        near = [part] if part in names else get_close_matches(part, names, n=1)
        if not near:
            return None
        found = found / near[0]
    return found.relative_to(root)


def _recipe_of(where: str) -> tuple[Path, Path | None] | None:
    """The recipe that is named, and the run folder if it is an unfinished one's; None for ready data."""
    path = recipe_path(Path(where))
    if path.suffix in (".yaml", ".yml") or (path / "curate.yaml").is_file():
        return path, None
    if (path / "recipe.yaml").is_file() and read_json(path / "run.json").get("status") != "complete":
        return path / "recipe.yaml", path
    return None


def _is_made(folder: Path, recipe: Recipe) -> bool:
    run = read_json(folder / "run.json")
    return run.get("status") == "complete" and run.get("digest") == recipe.digest


def _state(folder: Path) -> str:
    if not (folder / "run.json").exists():
        return f"there is no data in {folder} yet"
    if read_json(folder / "run.json").get("status") != "complete":
        return f"the run in {folder} is not finished"
    return f"{folder} was made by another version of this recipe"


# Rank 0


def _make(folder: Path, recipe: Recipe, command: list[str], say: Say) -> None:
    """Make the data, one process at a time, and show the others that it goes on."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.curating.lock"))
    with _beating(folder) as tell:
        _acquire(lock, folder, say)
        try:
            if not _is_made(folder, recipe):
                say(f"curated: {_state(folder)}; it is made first: tagevol {' '.join(command)}")
                say(f"  {_most(recipe)}")
                _run(command)
                if not _is_made(folder, recipe):
                    raise DataError(f"{folder}: was made, and its run.json does not say so; look into it")
        except BaseException as error:  # Ctrl-C, too
            tell(str(error) or type(error).__name__)
            raise
        finally:
            lock.release()


def _acquire(lock: filelock.BaseFileLock, folder: Path, say: Say) -> None:
    """Wait while another training, or a `tagevol curate`, makes the same data."""
    own = filelock.FileLock(folder / ".lock") if folder.is_dir() else None
    told = False
    while True:
        try:
            lock.acquire(timeout=0)
            if own is None:
                return
            own.acquire(timeout=0)
            own.release()
            return
        except filelock.Timeout:
            lock.release()
        if not told:
            say(f"{folder}: another process makes it: waiting")
        told = True
        time.sleep(BEAT_SECONDS)


def _most(recipe: Recipe) -> str:
    """What will be asked, so that nobody is surprised."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    from .pipeline.journey import read_all, user_turns
    from .plan import plan

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    rows = read_all(recipe.data)
    steps = plan(recipe, len(rows), user_turns(rows))
    if shown:
        enable_progress_bars()
    engines = sorted({step.engine for step in steps if step.engine})
    return f"{len(rows):,} rows, at most {sum(s.requests for s in steps):,} requests to {', '.join(engines) or 'none'}"


def _run(command: list[str]) -> None:
    """`tagevol` in a child that is ended with us, however we end."""
    guarded = [sys.executable, str(_GUARD), str(os.getpid()), GRACE_SECONDS]
    child = [sys.executable, "-c", "from tagevol_hf.cli import main; main()", *command]
    sys.stdout.flush()
    guard = subprocess.Popen(  # noqa: S603 - a command of our own making
        [*guarded, *child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment()
    )
    with guard:  # its input stays open so long: the end of it means the end of the child
        try:
            said = guard.stdout.read().split() if guard.stdout else []
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_stopped(guard)) from None
    status = int(said[-1]) if len(said) > 1 else -1
    if status == 3:
        raise DataError("curating stopped at a limit of the recipe; raise it, or train on another set")
    if status != 0:
        raise DataError(
            f"curating ended with status {status}; its message is above; with that mended the same command goes on"
        )


def _stopped(guard: subprocess.Popen[str]) -> str:
    """End the child, and give what is to be said of it; nothing where it said so itself."""
    said = guard.communicate()[0].split()  # closes its input, and waits until it has ended
    return "" if said[-1:] == [str(_TOLD)] else "stopped while the data was made; the same command goes on from there"


@contextmanager
def _beating(folder: Path) -> Iterator[Callable[[str], None]]:
    """Show the others that this process is alive; gives a function that tells them of a failure."""
    body: dict[str, Any] = {"attempt": uuid.uuid4().hex, "beat": 0, "error": None}
    mark, over = _mark(folder), Event()

    def beat() -> None:
        while True:
            write_json(mark, body)
            if over.wait(BEAT_SECONDS):
                return
            body["beat"] += 1

    def failed(error: str) -> None:
        body["error"] = error

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield failed
    finally:
        over.set()
        thread.join()
        if body["error"]:
            write_json(mark, body)
        else:  # marks of other trainings that ended without the data are of no use either
            for stale in mark.parent.glob(f".{folder.name}.curating.*.json"):
                stale.unlink(missing_ok=True)


# The others


def _wait(folder: Path, recipe: Recipe) -> None:
    """Until the data is there, rank 0 says that it failed, or it gives no sign any more."""
    mark, parent = _mark(folder), os.getppid()
    first = read_json(mark)  # it may be of an earlier attempt
    last, since = first, time.monotonic()
    while not _is_made(folder, recipe):
        now = read_json(mark)
        if now and now != last:
            last, since = now, time.monotonic()
        if last.get("error") and last != first:
            raise DataError(f"rank 0 could not make the data: {last['error']}")
        if time.monotonic() - since > SILENT_SECONDS:
            said = f" (the last one: {last['error']})" if last.get("error") else ""
            raise DataError(
                f"{folder}: rank 0 gave no sign for {SILENT_SECONDS:.0f} s while making it{said}; see its output, and "
                "whether all nodes share this folder"
            )
        if os.getppid() != parent:
            raise DataError(f"{folder}: the launcher of this training is gone")
        time.sleep(0.2)


def _mark(folder: Path) -> Path:
    """One for each training: another one's failure is not ours, which makes the data next."""
    training = "\0".join(os.environ.get(name, "") for name in _TRAINING)
    return folder.with_name(f".{folder.name}.curating.{hashlib.sha256(training.encode()).hexdigest()[:8]}.json")
