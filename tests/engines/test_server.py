"""The engine for OpenAI-compatible servers, against a stand-in server with injected faults."""

import asyncio
import gc
import json
import logging
import pickle
import subprocess
import sys
import threading
import time

import jsonschema_rs
import pytest
from stand_in_server import HANG, RESET, completion, error, faulty, free_port, text_answer

from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.server import ServerEngine
from tagevol_hf.errors import EngineError

SCHEMA = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 30}, "minItems": 1, "maxItems": 3},
        "chosen": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 21},
            "minItems": 3,
            "maxItems": 3,
            "uniqueItems": True,
        },
    },
    "required": ["tags", "chosen"],
    "additionalProperties": False,
}


def question(number, schema=None, **sampling):
    return Request((Message("user", f"question {number}"),), Sampling(**sampling), schema)


def questions(count, schema=None):
    return [question(number, schema) for number in range(count)]


def texts(engine, requests):
    return {position: reply.text for position, reply in engine.stream(requests)}


@pytest.fixture
def engine_of():
    """Makes engines with short waits, and closes them after the test."""
    made = []

    def make(*servers, model=..., **options):
        urls = [server if isinstance(server, str) else server.url for server in servers]
        name = servers[0].model if model is ... else model
        made.append(ServerEngine(urls, name, **{"backoff": 0.01, "timeout": 5.0, **options}))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def test_every_position_is_answered_once(stand_in, engine_of):
    server = stand_in(latency=0.01)
    engine = engine_of(server)
    seen = list(engine.stream(questions(300)))
    assert sorted(position for position, _ in seen) == list(range(300))
    assert all(reply.text == f"echo: question {position}" for position, reply in seen)
    reply = seen[0][1]
    assert (reply.finish_reason, reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == ("stop", 2, 3, 1)
    assert engine.served == {server.url: 300}
    assert engine.identity == "stand-in"


def test_schema_and_sampling_are_sent_and_the_reply_fits(stand_in, engine_of):
    server = stand_in()
    requests = [question(n, SCHEMA, temperature=0.7, top_p=0.9, max_tokens=77, seed=n) for n in range(20)]
    check = jsonschema_rs.validator_for(SCHEMA)
    for _, reply in engine_of(server).stream(requests):
        check.validate(json.loads(reply.text))
    body = min(server.bodies, key=lambda body: body["seed"])
    assert body == {
        "model": "stand-in",
        "messages": [{"role": "user", "content": "question 0"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 77,
        "seed": 0,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": SCHEMA, "strict": True},
        },
    }


def test_no_seed_and_no_schema_send_neither(stand_in, engine_of):
    server = stand_in()
    texts(engine_of(server), [question(0)])
    assert not {"seed", "response_format"} & set(server.bodies[0])


def test_requests_are_pulled_lazily_in_the_callers_thread(stand_in, engine_of):
    server = stand_in(latency=0.02)
    pulled, threads = [], set()

    def source():
        for number in range(200):
            pulled.append(number)
            threads.add(threading.get_ident())
            yield question(number)

    stream = engine_of(server, concurrency=8).stream(source())
    assert pulled == []
    next(stream)
    assert len(pulled) == 8
    for taken in range(2, 100):
        next(stream)
        assert len(pulled) < taken + 8
    stream.close()
    assert threads == {threading.get_ident()}
    assert server.most <= 8


def test_a_hung_request_holds_up_nobody_and_is_asked_again(stand_in, engine_of):
    hung = []  # requests in flight may arrive in any order, so the number is not the position

    def hang_once(number, body):
        if body["messages"][0]["content"] == "question 0" and not hung:
            hung.append(number)
            return HANG
        return None

    server = stand_in(hang_once)
    order = [position for position, _ in engine_of(server, concurrency=4, timeout=0.5).stream(questions(50))]
    assert sorted(order) == list(range(50))
    assert order[-1] == 0


def test_a_request_that_always_hangs_fails_alone(stand_in, engine_of):
    server = stand_in(lambda number, body: HANG if body["messages"][0]["content"] == "question 1" else None)
    replies = dict(engine_of(server, timeout=0.1, retries=1).stream(questions(4)))
    assert (replies[1].finish_reason, replies[1].reason) == ("error", "timeout")
    assert replies[1].detail == "no answer within 0.1 s, 2 times"
    assert [replies[n].finish_reason for n in (0, 2, 3)] == ["stop"] * 3


@pytest.mark.parametrize(
    "fault",
    [
        lambda: error(429, "slow down"),
        lambda: error(500, "oops"),
        lambda: error(503, "busy"),
        lambda: error(504, "late"),
        lambda: RESET,
        lambda: text_answer("<html>a proxy's page</html>"),
        lambda: text_answer('{"choices": []}'),
        lambda: text_answer('{"choices": [{"mess'),
        lambda: text_answer('{"object": "list"}'),
    ],
)
def test_faults_are_retried(stand_in, engine_of, fault):
    server = stand_in(lambda number, body: fault() if number % 3 == 0 else None)
    assert texts(engine_of(server, concurrency=4), questions(30)) == {n: f"echo: question {n}" for n in range(30)}


def test_retry_after_is_honoured(stand_in, engine_of):
    server = stand_in(lambda number, body: error(429, "slow down", Retry_After="0.4") if number == 0 else None)
    start = time.monotonic()
    assert texts(engine_of(server), questions(1)) == {0: "echo: question 0"}
    assert time.monotonic() - start >= 0.4


def test_many_faults_at_once_lose_no_row(stand_in, engine_of):
    shares = {"429": 0.0, "500": 0.05, "malformed": 0.05, "reset": 0.05, "hang": 0.01}
    server = stand_in(faulty(shares), latency=0.005)
    engine = engine_of(server, timeout=0.5, concurrency=64)
    assert texts(engine, questions(600)) == {n: f"echo: question {n}" for n in range(600)}
    assert len(server.bodies) < 600 * 1.35


def test_a_row_that_is_malformed_for_ever_fails_alone(stand_in, engine_of):
    def script(number, body):
        return text_answer("no JSON") if body["messages"][0]["content"] == "question 2" else None

    replies = dict(engine_of(stand_in(script), retries=2).stream(questions(5)))
    assert replies.pop(2).reason == "refused_request"
    assert all(reply.finish_reason == "stop" for reply in replies.values())


def test_a_server_that_never_answers_a_request_is_an_error(stand_in, engine_of):
    engine = engine_of(stand_in(lambda number, body: error(500, "no GPU")), retries=2)
    with pytest.raises(EngineError, match=r"/v1: no request was ever answered; the last of 3 tries: HTTP 500: no GPU"):
        texts(engine, questions(3))


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (401, "Incorrect API key provided: hidden-key", r"HTTP 401: .*provided: \*\*\*; set TAGEVOL_API_KEY"),
        (403, "no access", "HTTP 403: no access; set TAGEVOL_API_KEY"),
        (429, "insufficient_quota: pay first", "HTTP 429: insufficient_quota: pay first"),
    ],
)
def test_a_refused_key_ends_the_run(stand_in, engine_of, monkeypatch, status, message, expected):
    monkeypatch.setenv("TAGEVOL_API_KEY", "hidden-key")
    server = stand_in(lambda number, body: error(status, message))
    with pytest.raises(EngineError, match=expected) as caught:
        texts(engine_of(server), questions(3))
    assert "hidden-key" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_model_ends_the_run(stand_in, engine_of):
    with pytest.raises(
        EngineError, match=r"HTTP 404: The model `nobody` does not exist.; is 'nobody' the model's name"
    ):
        texts(engine_of(stand_in(), model="nobody"), questions(3))


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens.",
        "The decoder prompt (length 9000) is longer than the maximum model length of 4096.",
        "the request exceeds the available context size",
    ],
)
def test_a_prompt_that_is_too_long_fails_alone(stand_in, engine_of, message):
    def script(number, body):
        return error(400, message) if len(body["messages"][0]["content"]) > 1000 else None

    long = Request((Message("user", "x" * 2000),))
    replies = dict(engine_of(stand_in(script)).stream([question(0), long, question(2)]))
    assert (replies[1].reason, message in replies[1].detail) == ("prompt_too_long", True)
    assert replies[0].text == "echo: question 0"
    assert replies[2].text == "echo: question 2"


def test_other_refusals_fail_alone_and_are_not_retried(stand_in, engine_of):
    server = stand_in(lambda number, body: error(422, "bad words") if number == 0 else None)
    replies = sorted(engine_of(server, concurrency=1).stream(questions(3)))
    assert (replies[0][1].reason, replies[0][1].detail) == ("refused_request", "HTTP 422: bad words")
    assert len(server.bodies) == 3


def test_length_and_content_filter(stand_in, engine_of):
    reasons = ["length", "content_filter", None]

    def script(number, body):
        return json_answer(completion(body, "cut", reasons[number]))

    replies = dict(engine_of(stand_in(script), concurrency=1).stream(questions(3)))
    assert [replies[n].finish_reason for n in range(3)] == ["length", "error", "stop"]
    assert replies[1].reason == "refused_request"


def json_answer(value):
    return text_answer(json.dumps(value))


@pytest.mark.parametrize("known", [{"json_object"}, set()])
def test_response_format_falls_back_once_and_says_so(stand_in, engine_of, caplog, known):
    def script(number, body):
        form = body.get("response_format", {}).get("type")
        return error(400, f"'response_format' {form} is not supported") if form and form not in known else None

    server = stand_in(script, latency=0.01)
    with caplog.at_level(logging.WARNING, logger="tagevol_hf"):
        engine = engine_of(server, concurrency=4)
        assert len(texts(engine, questions(50, SCHEMA))) == 50
    steps = 1 if known else 2
    assert len(caplog.records) == steps
    assert "the server refuses response_format json_schema" in caplog.messages[0]
    assert len(server.bodies) <= 50 + 4 * steps
    assert server.bodies[-1].get("response_format") == ({"type": "json_object"} if known else None)


def test_one_bad_schema_among_good_ones_does_not_weaken_the_rest(stand_in, engine_of):
    def script(number, body):
        return error(400, "Invalid json_schema: unknown keyword") if "strange" in json.dumps(body) else None

    server = stand_in(script)
    requests = [question(0, SCHEMA), question(1, {"type": "string", "strange": 1}), question(2, SCHEMA)]
    replies = dict(engine_of(server, concurrency=1).stream(requests))
    assert replies[1].reason == "refused_request"
    assert server.bodies[-1]["response_format"]["type"] == "json_schema"
    jsonschema_rs.validator_for(SCHEMA).validate(json.loads(replies[2].text))


@pytest.mark.slow
def test_an_unreachable_server_is_told_soon(engine_of):
    start = time.monotonic()
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(
        EngineError,
        match=rf"{url}: cannot reach the server \(connection refused\); is it running\? try: vllm serve tiny",
    ):
        texts(engine_of(url, model="tiny", backoff=0.5), questions(20))
    assert time.monotonic() - start < 8


def test_a_server_that_starts_a_moment_later_is_waited_for(stand_in, engine_of):
    server = stand_in()
    server.stop()
    threading.Timer(0.5, server.start).start()
    assert len(texts(engine_of(server, backoff=0.1), questions(5))) == 5


@pytest.mark.slow
def test_a_dead_member_of_a_pool_is_left_and_tried_again(stand_in, engine_of):
    first, second = stand_in(latency=0.005), stand_in(latency=0.005)
    engine = engine_of(first, second, concurrency=16)
    stream = engine.stream(questions(3000))
    seen = [next(stream) for _ in range(200)]
    second.stop()
    seen += [next(stream) for _ in range(1000)]
    alone = dict(engine.served)
    second.start()
    time.sleep(1.0)  # the first rest of a dead member
    seen += stream
    assert {position: reply.text for position, reply in seen} == {n: f"echo: question {n}" for n in range(3000)}
    assert 50 <= alone[second.url] <= 150
    assert engine.served[second.url] > alone[second.url] + 20
    assert sum(engine.served.values()) == 3000


def test_a_pool_shares_the_work(stand_in, engine_of):
    servers = [stand_in(latency=0.01) for _ in range(3)]
    engine = engine_of(*servers)
    texts(engine, questions(300))
    assert all(count >= 50 for count in engine.served.values())


def test_a_server_that_dies_for_good_ends_the_run(stand_in, engine_of):
    server = stand_in()
    stream = engine_of(server, concurrency=4, retries=3).stream(questions(100))
    next(stream)
    server.stop()
    with pytest.raises(EngineError, match=r"the server is gone .* run the same command: what was answered is kept"):
        list(stream)


@pytest.mark.slow
def test_concurrency_adapts_to_what_the_server_takes(stand_in, engine_of):
    server = stand_in(capacity=10, latency=0.01)
    engine = engine_of(server, concurrency=100, retries=30)
    assert len(texts(engine, questions(1500))) == 1500
    assert len(server.bodies) < 1500 * 2
    assert engine._pool.members[0].limit.value < 50


def test_refusals_by_chance_do_not_slow_it_down(stand_in, engine_of):
    server = stand_in(faulty({"500": 0.02, "429": 0.0}), latency=0.005)
    engine = engine_of(server, concurrency=100)
    texts(engine, questions(1000))
    assert engine._pool.members[0].limit.value == 100


def test_an_early_close_cancels_what_is_in_flight(stand_in, engine_of):
    server = stand_in(lambda number, body: HANG if number else None)
    engine = engine_of(server, concurrency=8)
    stream = engine.stream(questions(100))
    number, reply = next(stream)  # of the request that arrived first, whichever that was
    assert reply.text == f"echo: question {number}"
    stream.close()
    end = time.monotonic() + 2
    while server.running and time.monotonic() < end:
        time.sleep(0.01)
    assert server.running == 0
    server.script = lambda number, body: None
    assert len(texts(engine, questions(10))) == 10


def test_an_error_of_the_source_comes_through(stand_in, engine_of):
    def source():
        yield question(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(engine_of(stand_in()).stream(source()))


def test_close_ends_the_thread_and_may_be_called_twice(stand_in, engine_of):
    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "tagevol-server"]

    engine = engine_of(stand_in())
    assert threads() == []
    texts(engine, questions(3))
    assert len(threads()) == 1
    engine.close()
    engine.close()
    assert threads() == []
    assert len(texts(engine, questions(3))) == 3
    del engine
    gc.collect()


def test_closing_the_engine_ends_an_open_stream(stand_in, engine_of):
    engine = engine_of(stand_in(lambda number, body: HANG if number else None), concurrency=2)
    stream = engine.stream(questions(5))
    next(stream)
    engine.close()
    with pytest.raises(EngineError, match="closed while it was answering"):
        next(stream)


def test_an_engine_that_is_not_closed_does_not_keep_the_interpreter_alive(stand_in):
    server = stand_in()
    program = f"""
from tagevol_hf.engines.server import ServerEngine
from tagevol_hf.engines.base import Message, Request
engine = ServerEngine.from_spec({server.spec!r})
print(next(engine.stream([Request((Message("user", "hello"),))])))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert "echo: hello" in done.stdout
    assert done.stderr == ""


def test_it_works_inside_a_running_loop(stand_in, engine_of):
    engine = engine_of(stand_in())

    async def cell():
        return texts(engine, questions(5))

    assert len(asyncio.run(cell())) == 5


def test_nothing_is_connected_for_an_empty_source(engine_of):
    assert list(engine_of("http://127.0.0.1:9/v1", model="m").stream([])) == []


def test_the_key_is_sent_and_kept_out_of_sight(stand_in, engine_of, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "second-key")
    server = stand_in()
    texts(engine_of(server), questions(1))
    monkeypatch.setenv("TAGEVOL_API_KEY", "first-key")
    engine = engine_of(server)
    texts(engine, questions(1))
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer second-key", "Bearer first-key"]
    assert b"-key" not in pickle.dumps(engine)
    assert "-key" not in f"{engine.identity}{vars(engine)}{caplog.text}"


def test_the_only_model_of_a_server_need_not_be_named(stand_in, engine_of):
    engine = engine_of(stand_in(model="only/one"), model=None)
    assert engine.identity == "only/one"
    assert len(texts(engine, questions(2))) == 2


def test_several_models_must_be_named(stand_in, engine_of):
    engine = engine_of(stand_in(models=["a", "b"]), model=None)
    with pytest.raises(EngineError, match=r"the server has 2 models \(a, b\); name one: http://127.*/v1#a"):
        _ = engine.identity


def test_asking_an_unreachable_server_for_its_models(engine_of):
    with pytest.raises(EngineError, match=r"cannot reach the server \(connection refused\)"):
        _ = engine_of(f"http://127.0.0.1:{free_port()}/v1", model=None).identity


def test_spec():
    engine = ServerEngine.from_spec("http://a:1/v1/, https://b/v1?timeout=60&concurrency=64&retries=2#org/model")
    assert list(engine.served) == ["http://a:1/v1", "https://b/v1"]
    assert engine.identity == "org/model"
    assert engine._arguments == {"concurrency": 64, "timeout": 60.0, "retries": 2, "backoff": 0.5}
    again = pickle.loads(pickle.dumps(engine))
    assert (again.served, again.identity, again._arguments) == (engine.served, engine.identity, engine._arguments)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("http://a/v1?timout=3#m", r"engine 'http://a/v1': 'timout' is not an option; did you mean \"timeout\"\?"),
        ("http://a/v1?timeout=-1#m", "timeout is '-1'; expected a positive float"),
        ("http://a/v1?concurrency=many#m", "concurrency is 'many'; expected a positive int"),
        ("http://a/v1?api_key=secret#m", "a key is not given here; set TAGEVOL_API_KEY"),
        ("http://user:secret@a/v1#m", "server a: a key is not given here"),
        ("http:///v1#m", r"server 'http:///v1': expected http\(s\)://HOST:PORT/v1"),
        ("http://a/v1,ftp://b/v1#m", "server 'ftp://b/v1': expected"),
    ],
)
def test_wrong_specs(spec, message):
    with pytest.raises(EngineError, match=message) as caught:
        ServerEngine.from_spec(spec)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_reply_that_the_server_broke_off_is_asked_again_and_never_stored(stand_in, engine_of, reason):
    def script(number, body):
        return text_answer(json.dumps(completion(body, "half a rep", reason))) if number == 0 else None

    server = stand_in(script)
    assert dict(engine_of(server, backoff=0.01).stream(questions(1)))[0].text == "echo: question 0"
    assert len(server.bodies) == 2
