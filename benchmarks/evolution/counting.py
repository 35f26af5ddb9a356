"""A local server that speaks the OpenAI protocol, evolves by rule, and counts what it is asked.

Every text that it evolves ends with a mark such as [e17]. A prompt that shows marks depends on the replies that made
them, so the depth of a reply is one more than that of the deepest mark in its prompt: chains are measured, not assumed.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from typing import Any

from aiohttp import web

_MARK = re.compile(r"\[e(\d+)\]")
_INSTRUCTION = re.compile(r"<instruction>\n(.*?)\n</instruction>", re.DOTALL)
_TASK = re.compile(r"Task \d+:[^\n\[]*")
_EVOLVING = ("tag_evol", "evol_instruct", "auto_evol")


class Server:
    """Answers at `url` while the block runs.

    Args:
        faults: Share of the requests, by their number, whose reply is cut off in the middle.
    """

    def __init__(self, faults: float = 0.0) -> None:
        self.faults = faults
        self.calls: Counter[str] = Counter()
        self.prompt_tokens: Counter[str] = Counter()
        self.completion_tokens: Counter[str] = Counter()
        self.depths: dict[int, int] = {}
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *fault: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def longest_chain(self) -> int:
        """Evolution calls of which each shows the reply of the one before, at the most."""
        return max(self.depths.values(), default=0)

    def evolving(self, counts: Counter[str]) -> int:
        """The part of a counter that is about evolution calls."""
        return sum(counts[name] for name in _EVOLVING)

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "bench", "object": "model"}]})

    async def _answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        prompt = asked["messages"][-1]["content"]
        schema = asked.get("response_format", {}).get("json_schema", {}).get("schema", {})
        kind, text = self._reply(prompt, schema)
        number = self.calls.total()
        if _unlucky(number, self.faults):
            text = text[: len(text) // 2]
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        self.calls[kind] += 1
        self.prompt_tokens[kind] += usage["prompt_tokens"]
        self.completion_tokens[kind] += usage["completion_tokens"]
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage["total_tokens"] = sum(usage.values())
        return web.json_response(
            {
                "id": f"r{number}",
                "object": "chat.completion",
                "created": 0,
                "model": "bench",
                "choices": [choice],
                "usage": usage,
            }
        )

    def _reply(self, prompt: str, schema: dict[str, Any]) -> tuple[str, str]:
        """The kind of the question, and its answer."""
        title = str(schema.get("title", ""))
        if title == "evol_equality":
            return title, json.dumps({"difference": "a further case", "equal": False})
        if title == "aspect_tags":
            return title, json.dumps({"aspects": [{"aspect": "skill", "tags": ["planning"]}]})
        if title == "tag_evol":
            chosen = schema["properties"]["chosen"]["minItems"]
            text = self._evolved(prompt)
            body = {
                "chosen": list(range(1, chosen + 1)),
                "plan": "One case for each tag.",
                "rewritten": text,
                "final": text,
            }
            return title, json.dumps(body)
        if title in _EVOLVING:
            work = {"work": "One case was added."} if title == "auto_evol" else {}
            return title, json.dumps({**work, "final": self._evolved(prompt)})
        if _INSTRUCTION.search(prompt):
            return "respond", "The answer weighs each case in turn and then decides."
        return "evol_instruct", self._evolved(prompt)  # plain text, as distilabel asks

    def _evolved(self, prompt: str) -> str:
        """The instruction of the prompt with one more case, marked."""
        found = _INSTRUCTION.findall(prompt)
        shown = found[-1] if found else prompt
        marks = [int(mark) for mark in _MARK.findall(shown)]
        number = len(self.depths)
        self.depths[number] = 1 + max((self.depths[mark] for mark in marks), default=0)
        tasks = _TASK.findall(shown)
        task = tasks[-1].strip() if tasks else "Go on."
        cases = " ".join(f"Mind case [e{mark}]." for mark in [*dict.fromkeys(marks), number])
        return f"{task} {cases}"


def _unlucky(number: int, share: float) -> bool:
    """Whether request `number` gets a bad reply: every so many, evenly."""
    return share > 0 and int((number + 1) * share) > int(number * share)
