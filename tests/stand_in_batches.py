"""A vendor that speaks the OpenAI files and batches protocol without a model, with faults on demand."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiohttp import web
from stand_in_server import HANG, RESET, completion, echo, error

MISSING, BROKEN, TWICE, UNDONE = "missing", "broken", "twice", "undone"
LineFault = tuple[int, str] | str | None  # an HTTP status with a message, or one of the words above
CallFault = web.Response | str | None


@dataclass
class StoredFile:
    """A file at the vendor."""

    id: str
    name: str
    content: bytes
    deleted: bool = False


@dataclass
class StoredBatch:
    """A batch at the vendor."""

    id: str
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str]
    created_at: int
    status: str = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    completed: int = 0
    failed: int = 0
    total: int = 0

    def told(self) -> dict[str, Any]:
        """The batch object as the API gives it."""
        names = ("id", "input_file_id", "endpoint", "completion_window", "metadata", "created_at", "status")
        told = {name: getattr(self, name) for name in names}
        told |= {"object": "batch", "output_file_id": self.output_file_id, "error_file_id": self.error_file_id}
        told["errors"] = {"object": "list", "data": self.errors} if self.errors else None
        counts = {"total": self.total, "completed": self.completed, "failed": self.failed}
        return told | {"request_counts": counts}


class StandInVendor:
    """The vendor, in a thread of its own, on a free port of the loopback.

    Args:
        line: What happens to a request line with this body: an HTTP error, `MISSING`, `BROKEN`, `TWICE`, `UNDONE` (not
            done when the batch ends), or None for a good answer. The number counts the lines over all batches.
        end: How batch number n ends: "completed", "expired", "cancelled", or an error code for "failed".
        call: What happens to call number n of a method and path in place of an answer: a response, `HANG`, `RESET`, or
            None. A path that begins with "after " is asked about again once the call was done.
        answer: The text of a good answer.
        key: The key that every call must bring; empty for none.
        model: Name of the only model.
        seconds: Time that a batch stays in each state.
        most_requests: Requests that a batch may have; likewise `most_bytes` of a file.
        page: Most batches listed at once.

    Attributes:
        files: By name; likewise `batches`.
        asked: Bodies of all lines that were answered with success or an error.
        calls: Method and path of every call.
    """

    def __init__(
        self,
        *,
        line: Callable[[int, dict[str, Any]], LineFault] = lambda number, body: None,
        end: Callable[[int], str] = lambda number: "completed",
        call: Callable[[int, str, str], CallFault] = lambda number, method, path: None,
        answer: Callable[[dict[str, Any]], str] = echo,
        key: str = "",
        model: str = "stand-in",
        seconds: float = 0.01,
        most_requests: int = 50_000,
        most_bytes: int = 100_000_000,
        page: int = 100,
    ) -> None:
        self.line, self.end, self.call = line, end, call
        self.answer, self.key, self.model, self.seconds, self.page = answer, key, model, seconds, page
        self.most_requests, self.most_bytes = most_requests, most_bytes
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, StoredBatch] = {}
        self.asked: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.most_in_flight = 0
        self.open_gate = threading.Event()  # batches wait in "in_progress" until it is set
        self.open_gate.set()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def uploads(self) -> list[list[dict[str, Any]]]:
        """The lines of each input file, in the order of the uploads."""
        inputs = [file for file in self.files.values() if file.name.startswith("tagevol-")]
        return [[json.loads(line) for line in file.content.splitlines()] for file in inputs]

    @property
    def batched(self) -> list[str]:
        """`custom_id` of every line of every batch that was created."""
        contents = [self.files[batch.input_file_id].content for batch in self.batches.values()]
        return [json.loads(line)["custom_id"] for content in contents for line in content.splitlines()]

    def __enter__(self) -> StandInVendor:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the stand-in vendor did not start")
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        runner = self._loop.run_until_complete(self._serve())
        ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self) -> web.AppRunner:
        app = web.Application(client_max_size=256 * 1024**2, middlewares=[self._gatekeeper])
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_delete("/v1/files/{id}", self._delete)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._retrieve)
        runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, reuse_address=True).start()
        self.port = runner.addresses[0][1]
        return runner

    @web.middleware
    async def _gatekeeper(self, request: web.Request, handler: Any) -> web.StreamResponse:
        number = len(self.calls)
        self.calls.append((request.method, request.path))
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return error(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
        fault = self.call(number, request.method, request.path)
        if fault is not None:
            await request.read()
            return await self._fail(request, fault)
        answer = await handler(request)
        fault = self.call(number, request.method, f"after {request.path}")
        return answer if fault is None else await self._fail(request, fault)

    async def _fail(self, request: web.Request, fault: web.Response | str) -> web.Response:
        if isinstance(fault, web.Response):
            return fault
        if fault == HANG:
            await asyncio.sleep(3600)
        if fault == RESET and request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError

    async def _upload(self, request: web.Request) -> web.Response:
        parts = {}
        name = ""
        async for part in await request.multipart():
            parts[part.name] = bytes(await part.read(decode=True))
            name = part.filename or name
        if parts.get("purpose") != b"batch" or "file" not in parts or not name:
            return error(400, "expected the fields purpose=batch and file")
        if len(parts["file"]) > self.most_bytes:
            return error(413, f"the file is larger than {self.most_bytes} bytes")
        file = self._keep(name, parts["file"])
        told = {"id": file.id, "object": "file", "bytes": len(file.content), "filename": name, "purpose": "batch"}
        return web.json_response(told)

    async def _content(self, request: web.Request) -> web.Response:
        file = self.files.get(request.match_info["id"])
        if file is None or file.deleted:
            return error(404, "No such File object")
        return web.Response(body=file.content, content_type="application/octet-stream")

    async def _delete(self, request: web.Request) -> web.Response:
        file = self.files.get(request.match_info["id"])
        if file is None or file.deleted:
            return error(404, "No such File object")
        file.deleted = True
        return web.json_response({"id": file.id, "object": "file", "deleted": True})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        file = self.files.get(body.get("input_file_id"))
        if file is None or file.deleted:
            return error(400, "invalid input_file_id")
        if body["endpoint"] != "/v1/chat/completions" or body["completion_window"] != "24h":
            return error(400, "invalid endpoint or completion_window")
        number = len(self.batches)
        batch = StoredBatch(f"batch_{number}", created_at=int(time.time()), **body)
        self.batches[batch.id] = batch
        task = asyncio.ensure_future(self._work(number, batch, file.content))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response(batch.told())

    async def _list(self, request: web.Request) -> web.Response:
        newest = list(reversed(self.batches.values()))
        if "after" in request.query:
            newest = newest[[batch.id for batch in newest].index(request.query["after"]) + 1 :]
        size = min(int(request.query.get("limit", 20)), self.page)
        shown = newest[:size]
        ends = {"first_id": shown[0].id, "last_id": shown[-1].id} if shown else {}
        told = {"object": "list", "data": [batch.told() for batch in shown], "has_more": len(newest) > size}
        return web.json_response(told | ends)

    async def _retrieve(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["id"])
        return error(404, "No batch found") if batch is None else web.json_response(batch.told())

    async def _work(self, number: int, batch: StoredBatch, content: bytes) -> None:
        self.most_in_flight = max(self.most_in_flight, len(self._tasks))
        await asyncio.sleep(self.seconds)
        end = self.end(number)
        lines = self._validated(batch, content)
        if lines is None or end not in ("completed", "expired", "cancelled"):
            batch.errors = batch.errors or [{"code": end, "message": f"the batch failed: {end}", "line": None}]
            batch.status = "failed"
            return
        batch.status, batch.total = "in_progress", len(lines)
        while not self.open_gate.is_set():
            await asyncio.sleep(0.005)
        await asyncio.sleep(self.seconds)
        good, bad = await self._answer(lines, batch)
        batch.status = "finalizing"
        await asyncio.sleep(self.seconds)
        batch.output_file_id = self._keep(f"{batch.id}_output.jsonl", b"".join(good)).id if good else None
        batch.error_file_id = self._keep(f"{batch.id}_error.jsonl", b"".join(bad)).id if bad else None
        batch.status = end

    def _validated(self, batch: StoredBatch, content: bytes) -> list[dict[str, Any]] | None:
        lines = []
        for place, text in enumerate(content.decode().splitlines(), 1):  # as a careless reader would
            entry = _parsed(text)
            if entry is None:
                told = {"code": "invalid_json_line", "message": "not parseable as JSON", "line": place}
                batch.errors.append(told)
            else:
                lines.append(entry)
        if len({entry["custom_id"] for entry in lines}) < len(lines):
            batch.errors.append(
                {"code": "duplicate_custom_id", "message": "the custom_id was used before", "line": None}
            )
        if len(lines) > self.most_requests:
            batch.errors.append({"code": "too_many_tasks", "message": "too many requests", "line": None})
        return None if batch.errors else lines

    async def _answer(self, lines: list[dict[str, Any]], batch: StoredBatch) -> tuple[list[bytes], list[bytes]]:
        good: list[bytes] = []
        bad: list[bytes] = []
        for entry in Random(batch.id).sample(lines, len(lines)):
            self._answer_line(entry, good, bad)
            batch.completed, batch.failed = len(good), len(bad)
            if len(good) % 500 == 499:
                await asyncio.sleep(0)
        return good, bad

    def _answer_line(self, entry: dict[str, Any], good: list[bytes], bad: list[bytes]) -> None:
        body, name = entry["body"], entry["custom_id"]
        fault = self.line(len(self.asked), body)
        if fault == UNDONE:
            told = {"code": "batch_expired", "message": "This request could not be executed in time."}
            bad.append(_line(name, None, told))
            return
        self.asked.append(body)
        if body["model"] != self.model:
            fault = (404, f"The model `{body['model']}` does not exist")
        if isinstance(fault, tuple):
            bad.append(_line(name, {"status_code": fault[0], "body": {"error": {"message": fault[1]}}}))
            return
        answer = _line(name, {"status_code": 200, "body": completion(body, self.answer(body))})
        if fault == TWICE:
            other = completion(body, "the second answer")
            good += [answer, _line(name, {"status_code": 200, "body": other})]
        elif fault == BROKEN:
            good.append(answer[: len(answer) // 2] + b"\n")
        elif fault != MISSING:
            good.append(answer)

    def _keep(self, name: str, content: bytes) -> StoredFile:
        file = StoredFile(f"file-{len(self.files)}", name, content)
        self.files[file.id] = file
        return file


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(text)
        json.dumps(entry, ensure_ascii=False).encode()
    except (ValueError, UnicodeError):
        return None
    return dict(entry)


def _line(name: str, response: dict[str, Any] | None, told: dict[str, Any] | None = None) -> bytes:
    response = response and {"request_id": "req_0", **response}
    return json.dumps({"id": "batch_req_0", "custom_id": name, "response": response, "error": told}).encode() + b"\n"
