"""The engine for vendors' batch APIs, against a stand-in vendor with injected faults."""

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
from aiohttp import web
from datasets import Dataset
from stand_in_batches import BROKEN, MISSING, TWICE, UNDONE, StandInVendor
from stand_in_server import HANG, RESET, echo, error, free_port

from tagevol_hf import AspectTagger, prepare
from tagevol_hf.engines.base import Message, Reply, Request, Sampling
from tagevol_hf.engines.batch.client import BatchClient
from tagevol_hf.engines.batch.engine import BatchEngine
from tagevol_hf.engines.batch.file import line_of
from tagevol_hf.engines.batch.settings import BatchSettings
from tagevol_hf.engines.chat_protocol import body_of
from tagevol_hf.engines.server import ServerEngine
from tagevol_hf.engines.store import RequestStore
from tagevol_hf.engines.stored import StoredEngine
from tagevol_hf.errors import EngineError

SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}


def question(number, schema=None, **sampling):
    return Request((Message("user", f"question {number}"),), Sampling(**sampling), schema)


def questions(count, schema=None):
    return [question(number, schema) for number in range(count)]


@pytest.fixture
def vendor_of():
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(StandInVendor(**options))


@pytest.fixture
def engine_of(tmp_path):
    """Makes engines that look often, all with one store."""

    def make(vendor, **settings):
        url = vendor if isinstance(vendor, str) else vendor.url
        given = BatchSettings(**{"poll": 0.03, "patience": 20.0, **settings})
        return BatchEngine(url, "stand-in", store=RequestStore(tmp_path / "store.sqlite"), settings=given)

    return make


def notes(tmp_path):
    return RequestStore(tmp_path / "store.sqlite").notes("batch/")


def replies_of(engine, requests):
    got = list(engine.stream(requests))
    assert len({position for position, _ in got}) == len(got)
    return dict(got)


def texts(engine, requests):
    return {position: reply.text for position, reply in replies_of(engine, requests).items()}


def echoes(count):
    return {number: f"echo: question {number}" for number in range(count)}


class Once:
    """A script of calls in which the first one of a kind fails; a path that ends in "/" stands for all below it."""

    def __init__(self, path, fault, method="POST"):
        self.path, self.fault, self.method, self.done = path, fault, method, False

    def __call__(self, number, method, path):
        hit = path.startswith(self.path) if self.path.endswith("/") else path == self.path
        if self.done or method != self.method or not hit:
            return None
        self.done = True
        return self.fault() if callable(self.fault) else self.fault


# ---- the way through


def test_requests_are_split_into_files_and_every_one_is_answered_Once(vendor_of, engine_of, tmp_path):
    vendor = vendor_of()
    replies = replies_of(engine_of(vendor, max_requests_per_file=10), questions(25))
    assert {position: reply.text for position, reply in replies.items()} == echoes(25)
    assert replies[3] == Reply("echo: question 3", "stop", 2, 3, 1)
    assert [len(lines) for lines in vendor.uploads] == [10, 10, 5]
    assert notes(tmp_path) == {}
    inputs = [vendor.files[batch.input_file_id] for batch in vendor.batches.values()]
    assert len(inputs) == 3
    assert all(file.deleted for file in inputs)


def test_a_line_is_the_request_under_its_key(vendor_of, engine_of):
    vendor = vendor_of()
    request = question(1, SCHEMA, temperature=0.7, seed=3)
    engine = engine_of(vendor)
    assert engine.identity == ServerEngine(vendor.url, "stand-in").identity == "stand-in"
    assert json.loads(texts(engine, [request])[0]).keys() == {"score"}
    assert vendor.uploads == [
        [
            {
                "custom_id": request.key("stand-in"),
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body_of(request, "stand-in", "json_schema"),
            }
        ]
    ]
    batch = vendor.batches["batch_0"]
    assert set(batch.metadata) == {"tagevol_submission"}


def test_replies_come_in_groups_of_a_thousand(vendor_of, engine_of):
    vendor = vendor_of()
    groups = list(engine_of(vendor).arrivals(iter(questions(2500))))
    assert [len(group) for group in groups] == [1000, 1000, 500]
    assert {position for group in groups for position, _ in group} == set(range(2500))


def test_a_file_never_grows_beyond_its_limit_in_bytes(vendor_of, engine_of):
    vendor = vendor_of(most_bytes=5000)
    assert texts(engine_of(vendor, max_bytes_per_file=5000), questions(100)) == echoes(100)
    sizes = [len(vendor.files[batch.input_file_id].content) for batch in vendor.batches.values()]
    assert max(sizes) <= 5000
    assert min(sizes[:-1]) > 4500  # full before the next one is begun


def test_batches_in_flight_are_bounded_and_requests_pulled_no_further(vendor_of, engine_of):
    vendor = vendor_of()
    vendor.open_gate.clear()
    pulled = []

    def source():
        for number in range(100):
            pulled.append(number)
            yield question(number)

    engine = engine_of(vendor, batches=3, max_requests_per_file=5)
    timer = threading.Timer(0.5, lambda: (pulled.append("gate"), vendor.open_gate.set()))
    timer.start()
    assert texts(engine, source()) == echoes(100)
    timer.join()
    assert pulled.index("gate") <= 20  # three batches of five, and one file that waits for room
    assert vendor.most_in_flight <= 3


def test_a_pause_submits_what_there_is_and_more_may_follow_a_group(vendor_of, engine_of):
    vendor = vendor_of()
    got = []

    def source():
        yield None  # nothing at all yet
        yield question(0)
        yield None
        yield question(1)  # soon enough for the same batch
        while len(got) < 2:
            yield None
        yield question(2)

    for group in engine_of(vendor).arrivals(source()):
        got += group
    assert {position: reply.text for position, reply in got} == echoes(3)
    assert [len(lines) for lines in vendor.uploads] == [2, 1]


@pytest.mark.slow
def test_what_a_store_answers_in_between_tears_no_batch_apart(vendor_of, engine_of, tmp_path):
    vendor = vendor_of()
    store = RequestStore(tmp_path / "store.sqlite")
    known = [n for n in range(12_000) if 3000 <= n < 9000 or n % 10]
    store.put_all([(question(n).key("stand-in"), Reply(f"echo: question {n}")) for n in known])
    engine = StoredEngine(engine_of(vendor), store)
    assert texts(engine, questions(12_000)) == echoes(12_000)
    assert [len(lines) for lines in vendor.uploads] == [600]
    assert (engine.usage.stored, engine.usage.asked, engine.usage.completion_tokens) == (len(known), 600, 1800)


def test_equal_requests_are_asked_once_and_answered_in_their_places(vendor_of, engine_of):
    vendor = vendor_of()
    again = Request(question(1).messages, question(1).sampling, None, draw=1)
    asked = [question(0), question(1), question(0), again, question(0)]
    got = texts(engine_of(vendor, max_requests_per_file=2), asked)
    assert got == {0: "echo: question 0", 1: "echo: question 1", 2: got[0], 3: got[1], 4: got[0]}
    assert len(vendor.batched) == 3


def test_long_rows_and_every_kind_of_character(vendor_of, engine_of):
    vendor = vendor_of()
    odd = [
        "x" * 100_000,
        "数学 naïve 🙂",
        "line\u2028end\u2029and\x85\x0b\x0c\x1c\r\nso on",
        'q"\\": {"response_format": 1}',
    ]
    asked = [Request((Message("user", text),)) for text in [*odd, "half a \ud83d pair"]]
    replies = replies_of(engine_of(vendor), asked)
    assert [replies[n].text for n in range(4)] == [f"echo: {text}" for text in odd]
    assert (replies[4].finish_reason, replies[4].reason) == ("error", "refused_request")
    assert "not valid Unicode" in replies[4].detail
    assert len(vendor.batched) == 4


def test_a_full_disk_is_told(vendor_of, engine_of):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    vendor = vendor_of()
    engine = engine_of(vendor)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(EngineError, match="File too large; free some disk space there"):
            texts(engine, [Request((Message("user", f"{n} {'x' * 10_000}"),)) for n in range(200)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert vendor.batches == {}


def test_a_request_larger_than_a_file_fails_alone(vendor_of, engine_of):
    vendor = vendor_of()
    asked = [question(0), Request((Message("user", "x" * 3000),))]
    replies = replies_of(engine_of(vendor, max_bytes_per_file=2000), asked)
    assert replies[0].text == "echo: question 0"
    assert replies[1].reason == "prompt_too_long"


def test_no_request_makes_no_call(vendor_of, engine_of):
    vendor = vendor_of()
    assert list(engine_of(vendor).stream([])) == []
    assert vendor.calls == []


@pytest.mark.slow
def test_waiting_burns_no_cpu_and_looks_more_and_more_rarely(vendor_of, engine_of, monkeypatch):
    vendor = vendor_of()
    vendor.open_gate.clear()
    threading.Timer(1.5, vendor.open_gate.set).start()
    spent = []
    engine = engine_of(vendor, poll=0.3)

    def run():
        start = time.thread_time()
        texts(engine, questions(3))
        spent.append(time.thread_time() - start)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert spent[0] < 0.3
    looks = [path for _, path in vendor.calls if path == "/v1/batches/batch_0"]
    assert len(looks) < 12


def test_progress_is_told(vendor_of, engine_of, caplog):
    vendor = vendor_of()
    with caplog.at_level(logging.INFO, "tagevol_hf"):
        texts(engine_of(vendor), questions(7))
    assert "batch batch_0: 7 requests" in caplog.text
    assert "of 7 requests completed in 1 batches" in caplog.text


def test_a_stage_asks_for_all_bad_replies_of_a_batch_again_in_one(vendor_of, engine_of, tmp_path):
    def answer(body):
        first_draw = len(vendor.batches) == 1
        return "no tags, sorry" if first_draw and "bakes 7" in str(body["messages"]) else echo(body)

    vendor = vendor_of(answer=answer)
    engine = StoredEngine(engine_of(vendor), RequestStore(tmp_path / "store.sqlite"))
    rows = [{"instruction": f"Explain how one bakes {n} loaves of bread."} for n in range(80)]
    result = AspectTagger(engine).apply(prepare(Dataset.from_list(rows)))
    assert len(result) == 80
    assert all(result["tags"])
    assert [len(lines) for lines in vendor.uploads] == [80, 11]


# ---- restarts


def test_a_closed_run_leaves_its_batches_and_the_next_one_collects_them(vendor_of, engine_of, tmp_path, caplog):
    vendor = vendor_of()
    engine = engine_of(vendor, max_requests_per_file=10)
    groups = engine.arrivals(iter(questions(30)))
    first = next(groups)
    groups.close()
    told = [record.message for record in caplog.records if "go on at the vendor" in record.message]
    assert len(told) == 1
    assert "nothing is lost" in told[0]
    assert len(notes(tmp_path)) == 3  # the group was not known to be stored
    rest = [n for n in range(30) if n not in dict(first)]
    got = texts(engine_of(vendor, max_requests_per_file=10), [question(n) for n in rest])
    assert sorted(got.values()) == sorted(f"echo: question {n}" for n in rest)
    assert len(vendor.batched) == len(set(vendor.batched)) == 30
    assert notes(tmp_path) == {}


def test_without_a_store_the_end_says_what_is_lost(vendor_of, caplog):
    vendor = vendor_of()
    vendor.open_gate.clear()
    engine = BatchEngine(vendor.url, "stand-in", settings=BatchSettings(poll=0.03))
    threading.Timer(0.5, engine.close).start()
    with pytest.raises(EngineError, match="the engine was closed while it was answering"):
        list(engine.stream(questions(2)))
    assert "without a store no later run finds them" in caplog.text


def test_a_note_goes_only_when_the_caller_asks_for_more(vendor_of, engine_of, tmp_path):
    groups = engine_of(vendor_of()).arrivals(iter(questions(2)))
    next(groups)
    assert len(notes(tmp_path)) == 1
    assert list(groups) == []
    assert notes(tmp_path) == {}


def test_replies_that_nobody_asks_for_any_more_are_kept(vendor_of, engine_of, tmp_path):
    vendor = vendor_of(
        line=lambda number, body: (400, "bad") if body["messages"][0]["content"] == "question 9" else None
    )
    vendor.open_gate.clear()
    engine = engine_of(vendor)
    threading.Timer(0.4, engine.close).start()
    with pytest.raises(EngineError, match="closed"):
        list(engine.stream(questions(10)))
    vendor.open_gate.set()
    assert texts(engine_of(vendor), [question(5)]) == {0: "echo: question 5"}
    store = RequestStore(tmp_path / "store.sqlite")
    kept = {n: store.get(question(n).key("stand-in")) for n in range(10)}
    assert kept.pop(5) is None  # what was asked is the caller's to store
    assert kept.pop(9) is None  # an error
    assert {n: reply.text for n, reply in kept.items()} == {n: f"echo: question {n}" for n in kept}
    assert len(vendor.batches) == 1


def test_a_reply_that_came_before_its_request_serves_it(vendor_of, engine_of):
    vendor = vendor_of()
    vendor.open_gate.clear()
    engine = engine_of(vendor)
    threading.Timer(0.4, engine.close).start()
    with pytest.raises(EngineError, match="closed"):
        list(engine.stream(questions(4)))
    vendor.open_gate.set()
    got = []

    def source():
        yield question(0)
        while not got:
            yield None
        yield question(3)

    for group in engine_of(vendor).arrivals(source()):
        got += group
    assert {position: reply.text for position, reply in got} == {0: "echo: question 0", 1: "echo: question 3"}
    assert len(vendor.batches) == 1


DRIVER = """
import sys
sys.path.insert(0, {path!r})
from test_engine import BatchEngine, BatchSettings, RequestStore, question
store = RequestStore({store!r})
engine = BatchEngine({url!r}, "stand-in", store=store, settings=BatchSettings(poll=0.03, max_requests_per_file=100))
asked = [question(n) for n in range(450)]
missing = [request for request in asked if store.get(request.key("stand-in")) is None]
for group in engine.arrivals(iter(missing)):
    store.put_all([(missing[place].key("stand-in"), reply) for place, reply in group], "stand-in")
    print("group", flush=True)
print("end", flush=True)
"""


def start_driver(vendor, tmp_path):
    here = os.path.dirname(__file__)
    program = DRIVER.format(path=here, store=str(tmp_path / "store.sqlite"), url=vendor.url)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(here), *sys.path])}
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def creations(vendor):
    return sum(call == ("POST", "/v1/batches") for call in vendor.calls)


KILLS = {
    "the third batch is created, and not noted": (lambda v: len(v.batches) == 3, "after /v1/batches", 3),
    "the third batch is about to be created": (lambda v: creations(v) == 3, "/v1/batches", 3),
    "the second file is uploaded, and not noted": (lambda v: len(v.uploads) == 2, "after /v1/files", 2),
    "all batches are noted": (lambda v: len(v.batches) == 5, None, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("kill", KILLS)
def test_after_a_kill_nothing_is_submitted_twice(vendor_of, tmp_path, kill):
    reached, path, hangs_at = KILLS[kill]
    seen = [0]

    def call(number, method, where):
        seen[0] += method == "POST" and where == path
        return HANG if method == "POST" and where == path and seen[0] == hangs_at else None

    vendor = vendor_of(call=call)
    vendor.open_gate.clear()
    driver = start_driver(vendor, tmp_path)
    try:
        wait_until(lambda: reached(vendor))
        time.sleep(0.2)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate(timeout=10)
    vendor.open_gate.set()
    driver = start_driver(vendor, tmp_path)
    try:
        assert driver.communicate(timeout=60)[0].endswith("end\n")
    finally:
        driver.kill()
    assert len(vendor.batched) == len(set(vendor.batched)) == 450
    assert len(vendor.asked) == 450
    store = RequestStore(tmp_path / "store.sqlite")
    assert {n: store.get(question(n).key("stand-in")).text for n in range(450)} == echoes(450)
    assert store.notes("batch/") == {}
    assert not list(tmp_path.glob("store.sqlite.batch-*/"))  # the files of the killed run are gone as well


@pytest.mark.slow
def test_a_kill_between_groups_loses_nothing(vendor_of, tmp_path):
    vendor = vendor_of(seconds=0.05)
    driver = start_driver(vendor, tmp_path)
    try:
        assert driver.stdout.readline() == "group\n"
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate(timeout=10)
    driver = start_driver(vendor, tmp_path)
    try:
        assert driver.communicate(timeout=60)[0].endswith("end\n")
    finally:
        driver.kill()
    assert len(vendor.asked) == len(set(vendor.batched)) == 450
    assert len(RequestStore(tmp_path / "store.sqlite")) == 450


def test_a_batch_far_down_in_the_vendors_list_is_found(vendor_of, tmp_path):
    vendor = vendor_of(page=2)
    client = BatchClient(vendor.url, 5.0, threading.Event())
    path = tmp_path / "in.jsonl"
    path.write_bytes(line_of(question(1), question(1).key("m"), "stand-in", "json_schema"))
    file = client.upload(path, "in.jsonl")
    made = [client.create(f"submission {n}", file, "24h").id for n in range(7)]
    assert client.find("submission 0", time.time()).id == made[0]
    assert client.find("submission 6", time.time()).id == made[6]
    before = len(vendor.calls)
    assert client.find("another", time.time()) is None
    assert len(vendor.calls) - before == 4
    assert client.find("submission 0", time.time() + 200_000) is None  # after the first page: all too old
    assert len(vendor.calls) - before == 5


def test_a_batch_that_the_vendor_forgot_is_submitted_again(vendor_of, engine_of, caplog):
    vendor = vendor_of()
    engine = engine_of(vendor)
    groups = engine.arrivals(iter(questions(3)))
    next(groups)
    groups.close()
    del vendor.batches["batch_0"]
    assert texts(engine_of(vendor), questions(3)) == echoes(3)
    assert "does not know it any more" in caplog.text


def test_a_second_run_at_the_same_time_is_refused(vendor_of, engine_of):
    vendor = vendor_of()
    groups = engine_of(vendor).arrivals(iter(questions(2)))
    next(groups)
    with pytest.raises(EngineError, match=r"another run waits for the batches of store .*store\.sqlite"):
        list(engine_of(vendor).stream(questions(2)))
    groups.close()
    assert texts(engine_of(vendor), questions(2)) == echoes(2)


def test_a_pickled_engine_finds_the_same_batches(vendor_of, engine_of):
    vendor = vendor_of()
    engine = engine_of(vendor)
    groups = engine.arrivals(iter(questions(2)))
    next(groups)
    groups.close()
    again = pickle.loads(pickle.dumps(engine))
    assert texts(again, questions(2)) == echoes(2)
    assert len(vendor.batches) == 1


# ---- faults of the way


TRANSIENT = {
    "429": lambda: error(429, "slow down", Retry_After="0"),
    "500": lambda: error(500, "oops"),
    "503": lambda: error(503, "busy"),
    "reset": RESET,
    "garbage": lambda: web.Response(text="<html>a proxy's page</html>"),
    "half": lambda: web.json_response({"object": "batch"}),
}
CALLS = {"upload": ("POST", "/v1/files"), "create": ("POST", "/v1/batches"), "look": ("GET", "/v1/batches/batch_0")}


FIRST = ("upload", "429"), ("create", "reset"), ("look", "500")  # the others take the same ways


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "fault"),
    [
        pytest.param(place, fault, marks=[pytest.mark.slow] * ((place, fault) not in FIRST))
        for place in CALLS
        for fault in TRANSIENT
    ],
)
def test_transient_faults_are_tried_again(vendor_of, engine_of, place, fault):
    method, path = CALLS[place]
    vendor = vendor_of(call=Once(path, TRANSIENT[fault], method))
    assert texts(engine_of(vendor), questions(3)) == echoes(3)
    assert vendor.call.done
    assert len(vendor.batches) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["429", "500", "reset"])
def test_a_download_that_breaks_is_tried_again(vendor_of, engine_of, fault):
    vendor = vendor_of(call=Once("/v1/files/", TRANSIENT[fault], "GET"))
    assert texts(engine_of(vendor), questions(3)) == echoes(3)
    assert vendor.call.done
    assert len(vendor.asked) == 3


def test_a_download_that_is_cut_off_is_noticed(vendor_of, engine_of):
    def cut():
        return web.Response(body=b'{"custom_id": "x"', headers={"Content-Length": "5000"})

    vendor = vendor_of(call=Once("/v1/files/", cut, "GET"))
    assert texts(engine_of(vendor), questions(3)) == echoes(3)
    assert vendor.call.done
    assert len(vendor.batched) == 3


def test_an_upload_or_creation_whose_answer_is_lost_makes_no_second_batch(vendor_of, engine_of):
    vendor = vendor_of(call=Once("after /v1/batches", RESET))
    assert texts(engine_of(vendor), questions(3)) == echoes(3)
    assert creations(vendor) == 1
    assert len(vendor.batches) == 1


@pytest.mark.slow
def test_retry_after_is_honoured(vendor_of, engine_of):
    vendor = vendor_of(call=Once("/v1/batches", lambda: error(429, "slow down", Retry_After="2")))
    start = time.monotonic()
    texts(engine_of(vendor), questions(1))
    assert time.monotonic() - start > 2


def test_a_vendor_that_falls_silent_ends_the_run_and_the_next_one_goes_on(vendor_of, engine_of):
    silent = threading.Event()

    def call(number, method, path):
        return error(503, "down for maintenance") if silent.is_set() and method == "GET" else None

    vendor = vendor_of(call=call)
    silent.set()
    with pytest.raises(EngineError) as caught:
        texts(engine_of(vendor, patience=1.5), questions(3))
    assert "no usable answer for" in str(caught.value)
    assert "HTTP 503: down for maintenance" in str(caught.value)
    assert "submitted batches go on there: run the same command later, it picks them up" in str(caught.value)
    silent.clear()
    assert texts(engine_of(vendor), questions(3)) == echoes(3)
    assert len(vendor.batches) == 1


def test_a_vendor_that_is_not_there(engine_of):
    with pytest.raises(EngineError, match="Connection refused"):
        texts(engine_of(f"http://127.0.0.1:{free_port()}/v1", patience=1.0), questions(1))


@pytest.mark.slow
def test_closing_the_engine_ends_a_wait(vendor_of, engine_of):
    vendor = vendor_of()
    vendor.open_gate.clear()
    engine = engine_of(vendor, poll=60.0)
    threading.Timer(0.5, engine.close).start()
    start = time.monotonic()
    with pytest.raises(EngineError, match="closed while it was answering"):
        texts(engine, questions(1))
    assert time.monotonic() - start < 10
    vendor.open_gate.set()
    assert texts(engine, questions(1)) == echoes(1)
    engine.close()
    engine.close()


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        ("/v1/files", lambda: error(413, "too large"), "/files: HTTP 413: too large; change what it says"),
        ("/v1/files", lambda: error(404, "Not Found"), "does the URL end in /v1, and has the vendor a batch API"),
        ("/v1/batches", lambda: error(400, "no such window"), "/batches: HTTP 400: no such window"),
        ("/v1/batches", lambda: error(429, "insufficient_quota"), "HTTP 429: insufficient_quota"),
    ],
)
def test_refused_calls_end_the_run_at_Once(vendor_of, engine_of, tmp_path, path, answer, expected):
    vendor = vendor_of(call=Once(path, answer))
    with pytest.raises(EngineError) as caught:
        texts(engine_of(vendor), questions(2))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert notes(tmp_path) == {}
    assert all(file.deleted for file in vendor.files.values())
    assert texts(engine_of(vendor), questions(2)) == echoes(2)


# ---- faults of a batch


def test_a_batch_that_fails_is_an_error_with_its_reason(vendor_of, engine_of, tmp_path):
    vendor = vendor_of(most_requests=4, end=lambda number: "completed")
    with pytest.raises(EngineError) as caught:
        texts(engine_of(vendor), questions(5))
    assert "batch batch_0 failed: too_many_tasks: too many requests; nothing of it was asked" in str(caught.value)
    assert notes(tmp_path) == {}
    assert texts(engine_of(vendor, max_requests_per_file=4), questions(5)) == echoes(5)


def test_too_many_tokens_for_the_vendor_are_sent_later_and_in_smaller_batches(vendor_of, engine_of, caplog):
    state = {}

    def end(number):  # no more than four requests at the vendor at once
        waiting = sum(batch.status in ("validating", "in_progress") for batch in vendor.batches.values())
        size = len(vendor.uploads[number])
        state[number] = size
        return "token_limit_exceeded" if size > 4 or waiting > 1 else "completed"

    vendor = vendor_of(end=end)
    assert texts(engine_of(vendor, max_requests_per_file=8), questions(20)) == echoes(20)
    assert len(vendor.asked) == 20
    assert "going on when there is room" in caplog.text


def test_a_vendor_without_room_for_any_batch_ends_the_run(vendor_of, engine_of):
    vendor = vendor_of(end=lambda number: "token_limit_exceeded")
    with pytest.raises(EngineError, match="failed: token_limit_exceeded"):
        texts(engine_of(vendor), questions(3))
    assert len(vendor.batches) < 20


def test_an_expired_batch_is_used_and_the_rest_submitted_again(vendor_of, engine_of):
    vendor = vendor_of(
        line=lambda number, body: (
            UNDONE if len(vendor.batches) == 1 and "7" in body["messages"][0]["content"] else None
        ),
        end=lambda number: "completed" if number else "expired",
    )
    assert texts(engine_of(vendor), questions(20)) == echoes(20)
    assert [len(lines) for lines in vendor.uploads] == [20, 2]


def test_a_row_that_never_fits_the_window_fails_alone(vendor_of, engine_of):
    def line(number, body):
        return UNDONE if body["messages"][0]["content"] == "question 1" else None

    vendor = vendor_of(line=line, end=lambda number: "expired")
    replies = replies_of(engine_of(vendor), questions(3))
    assert (replies[1].reason, replies[0].text) == ("timeout", "echo: question 0")
    assert "batch_expired" in replies[1].detail
    assert len(vendor.batches) == 4


def test_a_cancelled_batch_is_an_error_after_its_replies(vendor_of, engine_of, tmp_path):
    vendor = vendor_of(
        line=lambda number, body: MISSING if len(vendor.batches) == 1 and number > 5 else None,
        end=lambda number: "completed" if number else "cancelled",
    )
    got = []
    with pytest.raises(EngineError, match=r"batch batch_0 was cancelled .* submit the other 4 requests again"):
        got.extend(engine_of(vendor).stream(questions(10)))
    assert len(got) == 6
    assert notes(tmp_path) == {}
    left = [n for n in range(10) if n not in dict(got)]
    assert len(texts(engine_of(vendor), [question(n) for n in left])) == 4
    assert len(vendor.uploads[1]) == 4


@pytest.mark.parametrize("fault", [(429, "slow"), (500, "oops"), (503, "busy"), MISSING, BROKEN])
def test_lines_that_fail_are_asked_again(vendor_of, engine_of, fault):
    vendor = vendor_of(line=lambda number, body: fault if number < 3 else None)
    assert texts(engine_of(vendor), questions(10)) == echoes(10)
    assert [len(lines) for lines in vendor.uploads] == [10, 3]


@pytest.mark.parametrize(("fault", "detail"), [((500, "oops"), "HTTP 500: oops, 4 times"), (BROKEN, "no answer to it")])
def test_a_line_that_fails_for_ever_fails_alone(vendor_of, engine_of, fault, detail):
    vendor = vendor_of(line=lambda n, body: fault if body["messages"][0]["content"] == "question 1" else None)
    replies = replies_of(engine_of(vendor), questions(4))
    assert replies[1].reason == "refused_request"
    assert detail in replies[1].detail
    assert [replies[n].finish_reason for n in (0, 2, 3)] == ["stop"] * 3
    assert len(vendor.batches) == 4


def test_a_vendor_that_answers_nothing_is_an_error(vendor_of, engine_of):
    with pytest.raises(EngineError, match="no request was ever answered; the last of 4 tries: HTTP 500: oops"):
        texts(engine_of(vendor_of(line=lambda number, body: (500, "oops"))), questions(2))


def test_refused_lines_fail_alone_and_at_Once(vendor_of, engine_of):
    faults = {"question 1": (400, "maximum context length is 10 tokens"), "question 2": (400, "no such role")}
    vendor = vendor_of(line=lambda number, body: faults.get(body["messages"][0]["content"]))
    replies = replies_of(engine_of(vendor), questions(4))
    assert (replies[1].reason, replies[2].reason) == ("prompt_too_long", "refused_request")
    assert replies[2].detail == "HTTP 400: no such role"
    assert len(vendor.batches) == 1


def test_a_wrong_model_is_an_error_after_which_the_batch_is_done_with(vendor_of, engine_of, tmp_path):
    vendor = vendor_of(model="another")
    with pytest.raises(EngineError, match="HTTP 404: The model `stand-in` does not exist; set that right"):
        texts(engine_of(vendor), questions(2))
    assert notes(tmp_path) == {}


def test_of_two_answers_the_first_wins(vendor_of, engine_of, tmp_path):
    vendor = vendor_of(line=lambda number, body: TWICE)
    assert texts(engine_of(vendor), questions(5)) == echoes(5)
    assert len(RequestStore(tmp_path / "store.sqlite")) == 0


@pytest.mark.parametrize("known", ["json_object", "none"])
def test_response_format_falls_back_once_for_all_and_for_later_runs(vendor_of, engine_of, caplog, known):
    def line(number, body):
        kind = body.get("response_format", {"type": "none"})["type"]
        return None if kind in (known, "none") else (400, f"response_format {kind} is not supported")

    vendor = vendor_of(line=line)
    asked = [*questions(4, SCHEMA), question(9)]
    replies = replies_of(engine_of(vendor, max_requests_per_file=3), asked)
    assert len(replies) == 5
    assert all(reply.finish_reason == "stop" for reply in replies.values())
    fallbacks = [record.message for record in caplog.records if "refuses response_format" in record.message]
    assert len(fallbacks) == (1 if known == "json_object" else 2)
    before = len(vendor.asked)
    replies_of(engine_of(vendor), [question(20, SCHEMA)])
    assert len(vendor.asked) == before + 1


def test_one_bad_schema_among_good_ones_does_not_weaken_the_rest(vendor_of, engine_of, caplog):
    def line(number, body):
        return (400, "json_schema: bad") if body["messages"][0]["content"] == "question 1" else None

    vendor = vendor_of(line=line)
    replies = replies_of(engine_of(vendor), questions(4, SCHEMA))
    assert (replies[1].reason, replies[1].detail) == ("refused_request", "HTTP 400: json_schema: bad")
    assert "refuses response_format" not in caplog.text
    assert len(vendor.batches) == 1


# ---- the key


def test_the_key_is_sent_and_shown_nowhere(vendor_of, engine_of, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234")
    caplog.set_level(logging.DEBUG)
    vendor = vendor_of(key="sk-secret-1234", call=Once("/v1/batches", lambda: error(500, "sk-secret-1234 is late")))
    engine = engine_of(vendor)
    assert texts(engine, questions(2)) == echoes(2)
    assert ("DELETE", "/v1/files/file-0") in vendor.calls
    monkeypatch.setenv("TAGEVOL_API_KEY", "sk-wrong-5678")
    with pytest.raises(EngineError, match=r"HTTP 401: .*; set TAGEVOL_API_KEY") as caught:
        texts(engine_of(vendor), questions(3))
    shown = [repr(caught.value), caplog.text, repr(pickle.dumps(engine)), repr(vars(engine))]
    shown += [str(path.read_bytes()) for path in tmp_path.iterdir()]
    assert not any(key in text for key in ("sk-secret-1234", "sk-wrong-5678") for text in shown)


@pytest.mark.parametrize("url", ["http://example.com/v1", "http://10.0.0.1/v1"])
def test_the_key_never_travels_unencrypted(url, engine_of, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234")
    with pytest.raises(EngineError, match="the key would travel unencrypted; use https"):
        texts(engine_of(url), questions(1))


def test_the_key_does_not_follow_a_redirect(vendor_of, engine_of, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234")
    elsewhere = vendor_of(key="sk-secret-1234")
    location = {"Location": f"{elsewhere.url}/files/file-1/content"}
    vendor = vendor_of(call=Once("/v1/files/", lambda: web.Response(status=302, headers=location), "GET"))
    with pytest.raises(EngineError, match="HTTP 401: Incorrect API key provided: None"):
        texts(engine_of(vendor), questions(1))


def test_a_key_that_is_none_is_told_without_it(vendor_of, engine_of, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one\nsk-two")
    with pytest.raises(EngineError, match="the key in the environment has characters that no key has") as caught:
        texts(engine_of(vendor_of()), questions(1))
    assert "sk-" not in str(caught.value)


# ---- names


def test_spec():
    engine = BatchEngine.from_spec("https://api.example.com/v1/?poll=5&batches=2&window=48h#org/model-1")
    assert engine.identity == "org/model-1"
    assert vars(engine)["_settings"] == BatchSettings(poll=5.0, batches=2, window="48h")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("https://host/v1", "no model is named; expected batch:https://host/v1#MODEL"),
        ("https://host/v1?pol=3#m", "'pol' is not an option; did you mean \"poll\"?"),
        ("https://host/v1?poll=no#m", "poll is 'no'; expected a positive float"),
        ("https://host/v1?batches=0#m", "batches is '0'; expected a positive int"),
        ("https://host/v1?api_key=sk-1#m", "a key is not given here; set TAGEVOL_API_KEY"),
        ("https://me:pass@host/v1#m", "vendor host: a key is not given here"),
        ("file:///etc/passwd#m", "expected batch:https://HOST/v1#MODEL"),
    ],
)
def test_wrong_specs(spec, message):
    with pytest.raises(EngineError) as caught:
        BatchEngine.from_spec(spec)
    assert message in str(caught.value)
    assert "sk-1" not in str(caught.value)
    assert "pass@" not in str(caught.value)
