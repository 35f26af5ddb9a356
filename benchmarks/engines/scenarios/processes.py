"""The server and the clients as processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from .plan import Plan

_HERE = Path(__file__).resolve().parent.parent
SCRIPTS = {
    "ours": "ours.py",
    "bare": "bare.py",
    "curator": "peers/with_curator.py",
    "datadesigner": "peers/with_datadesigner.py",
    "datasets-map": "peers/with_datasets_map.py",
    "datatrove": "peers/with_datatrove.py",
    "distilabel": "peers/with_distilabel.py",
    "instructor": "peers/with_instructor.py",
    "openai": "peers/with_openai.py",
}
ALL = tuple(SCRIPTS)


class BenchServer:
    """`server.py` in a process of its own; a context manager that ends it.

    Args:
        log: File for its log, or None.
        settings: As `server.Settings`.
    """

    def __init__(self, log: Path | None = None, **settings: float) -> None:
        self._settings = settings
        command = [sys.executable, str(_HERE / "server.py"), *(["--log", str(log)] if log else [])]
        command += [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own script
        self.url = self._process.stdout.readline().strip().partition("#")[0]  # type: ignore[union-attr]

    def __enter__(self) -> BenchServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def reset(self, **changes: float) -> None:
        """Forget what was seen; the settings are those of the start, with these changes."""
        self._call("/reset", json.dumps({**self._settings, **changes}).encode())

    def stats(self) -> dict[str, Any]:
        """As `server.Stats`."""
        found: dict[str, Any] = json.loads(self._call("/stats"))
        return found

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def _call(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + path, body, timeout=30) as answer:  # noqa: S310
            found: bytes = answer.read()
        return found


class ClientRun:
    """One run of a client, started at once.

    Args:
        plan: For the interpreter and the scratch folder.
        name: One of `SCRIPTS`.
        url: Of the server.
        rows: Folder with the work.
        concurrency: Requests in flight.
        timeout: Seconds that one request may take.
        folder: The client's own folder; a new one by default.
        label: Name of the report and the log, where several runs share a folder.
    """

    def __init__(
        self,
        plan: Plan,
        name: str,
        url: str,
        rows: Path,
        concurrency: int,
        *,
        timeout: float = 60.0,
        folder: Path | None = None,
        label: str = "report",
    ) -> None:
        self._limit = plan.limit
        self.folder = folder or _fresh(plan.scratch / "client")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._out, self._log = self.folder / f"{label}.json", self.folder / f"{label}.log"
        self._out.unlink(missing_ok=True)
        command = [plan.interpreters.get(name, sys.executable), str(_HERE / SCRIPTS[name]), "--url", url]
        command += ["--rows", str(rows), "--concurrency", str(concurrency), "--timeout", str(timeout)]
        command += ["--folder", str(self.folder), "--out", str(self._out)]
        self.started = time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own script
                command, stdout=log, stderr=log, env=_environment(), cwd=self.folder, start_new_session=True
            )

    def report(self) -> dict[str, Any]:
        """What the client reports when it has ended; `failed` says why it did not."""
        try:
            status: int | None = self.process.wait(self._limit)
        except subprocess.TimeoutExpired:
            status = None
            self.kill()
        if status == 0 and self._out.exists():
            found: dict[str, Any] = json.loads(self._out.read_text())
            return found
        if status is None:
            return {"failed": f"not finished within {self._limit:g} s"}
        return {"failed": f"exit status {status}: {_why(self._log.read_text(errors='replace'))}"}

    def kill(self) -> None:
        """`kill -9`, of the client and the processes that it started."""
        os.killpg(self.process.pid, 9)
        self.process.wait()


def _why(log: str) -> str:
    """The last exception in a client's output, in one line and without paths of this machine."""
    lines = [line for line in log.strip().splitlines() if line]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    found = [*lines[-1:], *named[-1:]] or ["no output"]
    return re.sub(r"(?<![\w:/.])/[\w./-]+", "PATH", found[-1])[:160]


def _environment() -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    keys = {
        "OPENAI_API_KEY": "none",
        "TELEMETRY_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NEMO_TELEMETRY_ENABLED": "false",
        "TOKENIZERS_PARALLELISM": "0",
    }
    paths = {"PYTHONPATH": os.pathsep.join([str(_HERE), str(_HERE.parent.parent)])}
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, **offline, **keys, **paths}


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
