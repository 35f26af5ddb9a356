"""Asks one request of a pool of servers until it is answered or must be given up. Lives inside one asyncio loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random

import aiohttp

from ..errors import EngineError
from .base import Reply, Request, failed
from .chat_protocol import WEAKER, Fault, ResponseFormat, encoded_body, read_answer
from .deadlines import Deadlines
from .pool import Member, Pool

_LOG = logging.getLogger("tagevol_hf")
_CONNECT_SECONDS = 5.0
_GRACE_SECONDS = 3.0  # how long a server that never answered may refuse connections
_LONGEST_WAIT = 30.0
_KEYS = ("TAGEVOL_API_KEY", "OPENAI_API_KEY")


class Client:
    """One HTTP session for a pool; made, used and closed inside one running loop.

    Args:
        pool: The servers.
        timeout: Seconds that one attempt may take.
        retries: How often a request is asked again after a fault, at the most.
        backoff: Seconds before the first of them; doubled each time.
    """

    def __init__(self, pool: Pool, timeout: float, retries: int, backoff: float) -> None:
        self._pool, self._timeout, self._retries, self._backoff = pool, timeout, retries, backoff
        self._key = next((os.environ[name] for name in _KEYS if os.environ.get(name)), "")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(timeout, _CONNECT_SECONDS)),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            },
        )
        self._deadlines = Deadlines(timeout)
        self._format: ResponseFormat = "json_schema"
        self._format_works = False
        self._reached = False  # some server gave some answer
        self._replied = False  # some server gave a chat completion
        self._first_refusal: float | None = None

    async def close(self) -> None:
        """Close the connections."""
        self._deadlines.close()
        await self._session.close()

    async def ask(self, model: str, request: Request) -> Reply:
        """The reply to one request, or a reply with an error after the last retry.

        Raises:
            EngineError: If the servers cannot be reached, refuse the key or the model, or never answer at all.
        """
        tries = 0
        while True:
            sent = self._format
            member = await self._pool.acquire()
            try:
                outcome = await self._attempt(member, encoded_body(request, model, sent))
            finally:
                self._pool.release(member)
            if isinstance(outcome, Reply):
                self._note_reply(outcome, sent, request.schema is not None)
                return outcome
            if outcome.kind == "format":
                if request.schema is None or not self._weaken(sent, outcome.detail):
                    return failed("refused_request", outcome.detail)
                continue
            self._stop_if_hopeless(member, outcome, model)
            if outcome.kind == "unreachable" and self._pool.up(asyncio.get_running_loop().time()):
                continue  # another server takes it at once
            tries += 1
            if tries > self._retries:
                return self._give_up(member, outcome, tries)
            pause = min(_LONGEST_WAIT, self._backoff * 2 ** (tries - 1)) * random.uniform(0.5, 1.5)
            await asyncio.sleep(max(pause, outcome.wait))

    async def models(self) -> list[str]:
        """Names of the models that the servers offer, from the first that can be reached.

        Raises:
            EngineError: If none can.
        """
        told = ""
        for member in self._pool.members:
            names = await self._models_of(member.url)
            if not isinstance(names, str):
                return names
            told = told or names
        raise EngineError(self._without_key(told))

    async def _models_of(self, url: str) -> list[str] | str:
        """The models of one server, or why they are not known."""
        try:
            async with self._session.get(f"{url}/models", timeout=aiohttp.ClientTimeout(total=10)) as answer:
                text = (await answer.read()).decode("utf-8", "replace")
            return [str(entry["id"]) for entry in json.loads(text)["data"]]
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as fault:
            return _unreachable(url, _reason(fault), "MODEL")
        except (ValueError, LookupError, TypeError):
            return (
                f"{url}/models: HTTP {answer.status}, no list of models; does the URL end in /v1? Or name it: URL#MODEL"
            )

    async def _attempt(self, member: Member, body: bytes) -> Reply | Fault:
        outcome = await self._post(member, body)
        now = asyncio.get_running_loop().time()
        if isinstance(outcome, Reply):
            member.answered()
            member.limit.count(refused=False)
            member.served += outcome.finish_reason != "error"
        elif outcome.kind == "unreachable":
            member.leave(now, outcome.detail)
            self._first_refusal = now if self._first_refusal is None else self._first_refusal
        else:
            member.limit.count(refused=outcome.kind in ("busy", "timeout"))
        return outcome

    async def _post(self, member: Member, body: bytes) -> Reply | Fault:
        try:
            with self._deadlines.limit():
                async with self._session.post(member.endpoint, data=body) as answer:
                    text = (await answer.read()).decode("utf-8", "replace")
        except aiohttp.ClientConnectorCertificateError as fault:
            return Fault("fatal", f"the server's certificate is not trusted: {_reason(fault)}")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
            return Fault("unreachable", _reason(fault))
        except asyncio.TimeoutError:
            return Fault("timeout", f"no answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError) as fault:
            return Fault("retry", f"the connection broke: {_reason(fault)}")
        self._reached = True
        member.answered()
        return read_answer(answer.status, text, answer.headers.get("Retry-After"))

    def _note_reply(self, reply: Reply, sent: ResponseFormat, had_schema: bool) -> None:
        if reply.finish_reason != "error":
            self._replied = True
            self._format_works |= had_schema and sent == self._format

    def _weaken(self, sent: ResponseFormat, detail: str) -> bool:
        """Fall back to a weaker response format, once for all requests; False where there is none to try."""
        if sent != self._format:
            return True  # another request found out before
        if self._format_works or sent not in WEAKER:
            return False
        self._format = WEAKER[sent]
        _LOG.warning(
            "the server refuses response_format %s (%s); going on with %s: replies may not match their schema",
            sent,
            self._without_key(detail),
            self._format,
        )
        return True

    def _stop_if_hopeless(self, member: Member, fault: Fault, model: str) -> None:
        detail = self._without_key(fault.detail)
        if fault.kind == "fatal":
            hint = (
                f"set {_KEYS[0]} (or {_KEYS[1]}) to a valid key"
                if "HTTP 401" in detail or "HTTP 403" in detail
                else f"is {model!r} the model's name there, and does the URL end in /v1?"
            )
            raise EngineError(f"{member.url}: {detail}; {hint}")
        if fault.kind != "unreachable" or self._reached or self._first_refusal is None:
            return
        now = asyncio.get_running_loop().time()
        patient = now - self._first_refusal < _GRACE_SECONDS and "timed out" not in detail
        if not patient and not self._pool.up(now):
            raise EngineError(_unreachable(member.url, detail, model))

    def _give_up(self, member: Member, fault: Fault, tries: int) -> Reply:
        detail = self._without_key(fault.detail)
        if fault.kind == "timeout":
            return failed("timeout", f"{detail}, {tries} times")
        if fault.kind == "unreachable":
            raise EngineError(
                f"{member.url}: the server is gone ({detail}) and did not come back; start it again, then run the same "
                "command: what was answered is kept"
            )
        if not self._replied:
            raise EngineError(f"{member.url}: no request was ever answered; the last of {tries} tries: {detail}")
        return failed("refused_request", f"{detail}, {tries} times")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _unreachable(url: str, reason: str, model: str) -> str:
    return f"{url}: cannot reach the server ({reason}); is it running? try: vllm serve {model}"


def _reason(fault: BaseException) -> str:
    text = " ".join(str(fault).split())
    if isinstance(fault, (aiohttp.ConnectionTimeoutError, asyncio.TimeoutError)):
        return "timed out"
    if isinstance(fault, ConnectionRefusedError) or "refused" in text or "Connect call failed" in text:
        return "connection refused"
    return text[:300] or type(fault).__name__
