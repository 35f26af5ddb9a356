"""A server that speaks the OpenAI chat completions protocol without a model, with faults on demand.

For tests, and for benchmarks: `python tests/stand_in_server.py --port 8100 --latency 0.2 --status-429 0.05`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from aiohttp import web

HANG, RESET = "hang", "reset"
Script = Callable[[int, dict[str, Any]], web.Response | str | None]


def error(status: int, message: str, **headers: str) -> web.Response:
    """An error as OpenAI and vLLM word it."""
    body = {"error": {"message": message, "type": "stand_in", "code": status}}
    return web.json_response(body, status=status, headers={name.replace("_", "-"): v for name, v in headers.items()})


def text_answer(text: str, status: int = 200) -> web.Response:
    """A body that is what it is."""
    return web.Response(text=text, status=status)


def value_of(schema: Mapping[str, Any], random: Random, root: Mapping[str, Any] | None = None) -> Any:
    """A value that fits a JSON schema (of the simple kind that this project writes)."""
    root = root or schema
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return value_of(target, random, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return random.choice(schema["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return value_of(schema[choice][0], random, root)
    kind = schema.get("type", "object")
    return _MAKERS[kind if isinstance(kind, str) else kind[0]](schema, random, root)


def _array(schema: Mapping[str, Any], random: Random, root: Mapping[str, Any]) -> list[Any]:
    length = schema.get("minItems", min(2, schema.get("maxItems", 2)))
    items: list[Any] = []
    while len(items) < length:
        item = value_of(schema.get("items", {"type": "string"}), random, root)
        if not schema.get("uniqueItems") or item not in items:
            items.append(item)
    return items


def _string(schema: Mapping[str, Any], random: Random, root: Mapping[str, Any]) -> str:
    text = f"word{random.randrange(1000)} and word{random.randrange(1000)}"
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", len(text) + 1000)]


def _integer(schema: Mapping[str, Any], random: Random, root: Mapping[str, Any]) -> int:
    low = schema.get("minimum", 0)
    return random.randint(low, schema.get("maximum", low + 10))


_MAKERS: dict[str, Callable[[Mapping[str, Any], Random, Mapping[str, Any]], Any]] = {
    "object": lambda schema, random, root: {
        name: value_of(inner, random, root) for name, inner in schema.get("properties", {}).items()
    },
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": lambda schema, random, root: float(_integer(schema, random, root)),
    "boolean": lambda schema, random, root: random.random() < 0.5,
    "null": lambda schema, random, root: None,
}


def echo(body: dict[str, Any]) -> str:
    """A JSON value for a schema, the last message for free text; the same for the same body."""
    form = body.get("response_format")
    if form and form["type"] == "json_schema":
        random = Random(json.dumps([body["messages"], body.get("seed")]))
        return json.dumps(value_of(form["json_schema"]["schema"], random))
    return f"echo: {body['messages'][-1]['content']}"


class StandInServer:
    """The server, in a thread of its own, on a free port of the loopback.

    Args:
        script: What happens to request number n (from 0, over all requests) with this body: an answer, `HANG`,
            `RESET`, or None for a good answer.
        model: Name of the only model; others get 404.
        models: Names that `GET /v1/models` lists; `[model]` by default.
        latency: Seconds before each answer.
        capacity: Requests answered at once; more get 429. 0 for any number.
        answer: The text of a good answer.
        port: 0 for a free one.

    Attributes:
        bodies: Every body received.
        headers: The headers that came with each.
        most: Most requests ever in flight.
        cancelled: Requests whose client went away.
    """

    def __init__(
        self,
        script: Script = lambda number, body: None,
        *,
        model: str = "stand-in",
        models: list[str] | None = None,
        latency: float = 0.0,
        capacity: int = 0,
        answer: Callable[[dict[str, Any]], str] = echo,
        port: int = 0,
    ) -> None:
        self.script, self.model, self.latency, self.capacity, self.answer = script, model, latency, capacity, answer
        self.models = [model] if models is None else models
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.most = self.running = self.cancelled = 0
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def spec(self) -> str:
        return f"{self.url}#{self.model}"

    def __enter__(self) -> StandInServer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, on the same port after a stop."""
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._loop, ready), daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the stand-in server did not start")

    def stop(self) -> None:
        """End at once: open connections are reset, new ones refused. Safe to call twice."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop = None

    def _run(self, loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(self._serve())
        ready.set()
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(runner.cleanup())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    async def _serve(self) -> web.AppRunner:
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._list)
        runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=2048, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        number = len(self.bodies)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self._answer(request, body, number)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any], number: int) -> web.StreamResponse:
        if self.capacity and self.running > self.capacity:
            return error(429, "too many requests")
        outcome = self.script(number, body)
        if outcome == HANG:
            await asyncio.sleep(3600)
        if outcome == RESET:
            transport = request.transport
            assert transport is not None
            transport.abort()
            raise ConnectionResetError
        if isinstance(outcome, web.Response):
            return outcome
        await asyncio.sleep(self.latency)
        if body["model"] != self.model:
            return error(404, f"The model `{body['model']}` does not exist.")
        return web.json_response(completion(body, self.answer(body)))


def completion(body: dict[str, Any], text: str, finish_reason: str = "stop") -> dict[str, Any]:
    """A chat completion; a word counts as a token."""
    prompt = sum(len(message["content"].split()) for message in body["messages"])
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": len(text.split()),
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return {"id": "chat-0", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


def faulty(shares: Mapping[str, float], seed: int = 0) -> Script:
    """A script with shares of "429", "500", "malformed", "hang" and "reset", drawn at random."""
    random = Random(seed)
    made: dict[str, Callable[[], web.Response | str]] = {
        "429": lambda: error(429, "slow down", Retry_After="1"),
        "500": lambda: error(500, "internal error"),
        "malformed": lambda: text_answer('{"choices": [{"mess'),
        "hang": lambda: HANG,
        "reset": lambda: RESET,
    }

    def script(number: int, body: dict[str, Any]) -> web.Response | str | None:
        drawn = random.random()
        for name, share in shares.items():
            drawn -= share
            if drawn < 0:
                return made[name]()
        return None

    return script


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds before each answer")
    parser.add_argument("--capacity", type=int, default=0, help="requests at once; more get 429")
    for name in ("status-429", "status-500", "malformed", "hang", "reset"):
        parser.add_argument(f"--{name}", type=float, default=0.0, help="share of requests")
    given = parser.parse_args()
    shares = {"429": given.status_429, "500": given.status_500}
    shares |= {"malformed": given.malformed, "hang": given.hang, "reset": given.reset}
    with StandInServer(faulty(shares), latency=given.latency, capacity=given.capacity, port=given.port) as server:
        sys.stdout.write(f"{server.spec}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
