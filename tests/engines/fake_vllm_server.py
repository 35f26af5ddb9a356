"""A program that takes the arguments of vLLM's server and answers without a model, or fails as it is told.

Its first argument is a folder: `starts` there gets a line of JSON each start, `processes` the numbers of all processes,
and `behaviour.json`, if it is there, says what goes wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1]))
from stand_in_server import completion, echo

FOLDER = Path(sys.argv[1])
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]


def main() -> None:
    """Serve, after whatever is to go wrong at a start."""
    behaviour: dict[str, Any] = {}
    if (FOLDER / "behaviour.json").exists():
        behaviour = json.loads((FOLDER / "behaviour.json").read_text())
    note("starts", json.dumps({"argv": sys.argv[2:], "keys": [n for n in os.environ if n.endswith("API_KEY")]}))
    note("processes", str(os.getpid()))
    start = len((FOLDER / "starts").read_text().splitlines())
    if behaviour.get("ignores_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for own_session in (False, True):
        note("processes", str(subprocess.Popen(SLEEP, start_new_session=own_session).pid))
    sys.stdout.write(behaviour.get("says", "INFO 11-23 00:41:06 [fake.py:98] starting") + "\n")
    if start > behaviour.get("good_starts", 10**9) or "dies_at_start" in behaviour:
        sys.exit(behaviour.get("dies_at_start", 1))
    options = dict(argument[2:].partition("=")[::2] for argument in sys.argv[2:])
    asyncio.run(Fake(behaviour, start).serve(options["host"], int(options["port"])))


def note(file: str, line: str) -> None:
    """Add a line to a file of the folder."""
    with (FOLDER / file).open("a") as target:
        target.write(line + "\n")


class Fake:
    """The server."""

    def __init__(self, behaviour: dict[str, Any], start: int) -> None:
        self.behaviour, self.start, self.requests = behaviour, start, 0

    async def serve(self, host: str, port: int) -> None:
        app = web.Application()
        app.router.add_get("/health", self.health)
        app.router.add_post("/v1/chat/completions", self.complete)
        runner = web.AppRunner(app)
        await runner.setup()
        self.site = web.TCPSite(runner, host, port)
        await self.site.start()
        await asyncio.Event().wait()

    async def health(self, request: web.Request) -> web.Response:
        if self.behaviour.get("health") == "hangs":
            await asyncio.sleep(3600)
        return web.Response(status=self.behaviour.get("health", 200))

    async def complete(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.requests += 1
        trouble = self.start <= self.behaviour.get("troubled_starts", 10**9)
        if trouble and self.requests == self.behaviour.get("killed_at_request"):
            sys.stdout.write("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble and self.requests == self.behaviour.get("freezes_at_request"):
            os.kill(os.getpid(), signal.SIGSTOP)
        if trouble and self.requests == self.behaviour.get("closes_at_request"):
            await self.site.stop()
            await asyncio.sleep(3600)
        await asyncio.sleep(self.behaviour.get("latency", 0.01))
        note("models", body["model"])
        return web.json_response(completion(body, echo(body)))


if __name__ == "__main__":
    main()
