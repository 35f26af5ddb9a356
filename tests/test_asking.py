"""Retries run among the rest; a row's place never depends on when its reply came."""

import gc
import json
import random
import threading
import time
from collections import Counter

import pytest
from stand_in_server import HANG, StandInServer, completion, text_answer
from test_stage import Shout, loud, rows

from tagevol_hf.engines.base import Message, Reply, Request, Sampling
from tagevol_hf.engines.open import open_engine
from tagevol_hf.engines.store import RequestStore
from tagevol_hf.engines.stored import StoredEngine
from tagevol_hf.engines.usage import Limits, Prices, Spending
from tagevol_hf.errors import LimitError


class LateEngine:
    """Answers in groups, in random order, never before three more requests came or the source paused."""

    identity = "late"

    def __init__(self, answer, window=8, seed=0):
        self.answer, self.window, self.random = answer, window, random.Random(seed)
        self.requests, self.pauses, self.most = [], 0, 0

    def stream(self, requests):
        raise AssertionError("the groups are used where an engine has them")

    def arrivals(self, requests):
        flying, ended, position = [], False, 0
        while flying or not ended:
            while not ended and len(flying) < self.window:
                try:
                    request = next(requests)
                except StopIteration:
                    ended = True
                    break
                if request is None:
                    self.pauses += 1
                    break
                self.requests.append(request)
                flying.append((position, request))
                position += 1
            self.most = max(self.most, len(flying))
            self.random.shuffle(flying)
            group, flying = flying[:3], flying[3:]
            if group or not ended:
                yield [(place, self._reply(request)) for place, request in group]

    def _reply(self, request):
        reply = self.answer(request)
        return Reply(reply) if isinstance(reply, str) else reply

    def close(self):
        pass


def test_a_bad_reply_is_asked_again_while_others_run():
    engine = LateEngine(
        lambda request: "bad" if request.draw == 0 and "row 3" in loud(request).lower() else loud(request)
    )
    done = Shout(engine).apply(rows(*(f"row {number}" for number in range(60))))
    assert done["loud"][:] == [f"ROW {number}" for number in range(60)]
    draws = [request.draw for request in engine.requests]
    assert draws.count(1) == 11  # rows 3 and 30 to 39
    assert draws.index(1) < 60, "the first retry waited for the end"


def test_a_retry_at_the_very_end_is_asked_in_the_same_stream():
    engine = LateEngine(lambda request: "bad" if request.draw < 2 else "fine")
    done = Shout(engine, attempts=3).apply(rows("one"))
    assert (done["loud"][:], engine.pauses > 0) == (["fine"], True)


@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_in_any_order_of_arrival_keep_their_place(seed):
    texts = [random.Random(seed).choice("abc") for _ in range(50)]
    engine = LateEngine(lambda request: loud(request), seed=seed)
    assert Shout(engine).apply(rows(*texts))["loud"][:] == [text.upper() for text in texts]
    assert len(engine.requests) == len(set(texts)), "equal requests are asked once"


def test_four_draws_of_one_prompt_are_four_entries(tmp_path):
    store = RequestStore(tmp_path / "s")
    engine = StoredEngine(LateEngine(lambda request: f"draw {request.draw}"), store)
    asked = [Request((Message("user", "same"),), draw=draw) for draw in (0, 1, 2, 3, 1)]
    assert [reply.text for _, reply in sorted(engine.stream(asked))] == [
        "draw 0",
        "draw 1",
        "draw 2",
        "draw 3",
        "draw 1",
    ]
    assert len(store) == 4


def test_at_most_the_window_is_in_flight_and_not_stored():
    seen = []
    engine = LateEngine(lambda request: "x", window=8)
    store = RequestStore.temporary()
    stored = StoredEngine(engine, store)
    for group in stored.arrivals(iter([Request((Message("user", str(number)),)) for number in range(200)])):
        seen.append(len(engine.requests) - len(store))
        assert group
    assert max(seen) <= 8
    assert len(store) == 200


def test_rows_that_never_parse_leave_with_reason_and_attempts():
    engine = LateEngine(lambda request: "bad" if "7" in loud(request) else loud(request))
    done = Shout(engine, attempts=3).apply(rows(*(f"row {number}" for number in range(100))))
    lost = [row for row in done if row["rejection"] is not None]
    assert len(lost) == 19
    assert {(row["rejection"]["reason"], row["rejection"]["attempts"], row["rejection"]["raw"]) for row in lost} == {
        ("not_json", 3, "bad")
    }
    assert Counter(row["rejection"] is None for row in done) == {True: 81, False: 19}


def limited(limits, answer=lambda request: Reply("word", "stop", 10, 5), prices=None, window=8):
    engine = LateEngine(answer, window=window)
    store = RequestStore.temporary()
    return engine, store, lambda: StoredEngine(engine, store, prices=prices, spending=Spending(limits))


def questions(count, **sampling):
    return [Request((Message("user", f"q{number}"),), **sampling) for number in range(count)]


def test_max_requests_stops_cleanly_and_the_next_call_goes_on():
    engine, store, opened = limited(Limits(max_requests=30))
    with pytest.raises(LimitError, match=r"max_requests is 30, 30 spent, .*the same command goes on from here"):
        list(opened().stream(questions(100)))
    assert (len(engine.requests), len(store)) == (30, 30)
    for expected in (60, 90):
        with pytest.raises(LimitError):
            list(opened().stream(questions(100)))
        assert len(store) == expected
    assert len(list(opened().stream(questions(100)))) == 100
    assert len(engine.requests) == 100


def test_max_tokens_and_max_cost_are_never_exceeded():
    small = {"sampling": Sampling(max_tokens=20)}
    _, store, opened = limited(Limits(max_tokens=400))
    engine = opened()
    with pytest.raises(LimitError, match=r"max_tokens is 400, \d+ spent, the next request can take up to 38"):
        list(engine.stream(questions(100, **small)))
    assert 300 < engine.spending.tokens <= 400
    assert engine.usage.prompt_tokens + engine.usage.completion_tokens == 15 * len(store)
    _, store, opened = limited(Limits(max_cost=0.001), prices=Prices(1.0, 10.0))
    engine = opened()
    with pytest.raises(LimitError, match=r"max_cost is 0\.001"):
        list(engine.stream(questions(1000, **small)))
    assert 0.0005 < engine.usage.cost <= 0.001


def test_the_last_requests_before_a_cap_wait_for_each_other():
    """With room for one request at a time, all are asked, one by one."""
    engine, store, opened = limited(Limits(max_tokens=10_000))
    big = {"sampling": Sampling(max_tokens=9_000)}
    assert len(list(opened().stream(questions(20, **big)))) == 20
    assert (engine.most, len(store)) == (1, 20)


def test_what_the_store_holds_counts_for_nothing():
    _, store, opened = limited(Limits(max_requests=5))
    list(opened().stream(questions(5)))
    assert len(list(opened().stream(questions(5) * 3))) == 15
    assert len(store) == 5


def test_prices_of_cached_tokens():
    assert Prices(2.0, 8.0).of(1_000_000, 500_000, 400_000) == pytest.approx(6.0)
    assert Prices(2.0, 8.0, cached=0.5).of(1_000_000, 500_000, 400_000) == pytest.approx(5.4)


def flaky(shares, seed=0):
    """429, 500, broken JSON texts and hangs, drawn at random; a row gets its text broken twice at most."""
    drawn, broken = random.Random(seed), Counter()

    def script(number, body):
        value = drawn.random()
        for name, share in shares.items():
            value -= share
            if value < 0:
                if name == "hang":
                    return HANG
                if name == "malformed":
                    asked = json.dumps(body["messages"])
                    broken[asked] += 1
                    if broken[asked] > 2:
                        return None  # the third in a row would reject it, as it must
                    return text_answer(json.dumps(completion(body, '{"tags": [{"tag": "half')))
                return text_answer('{"error": {"message": "no"}}', status=int(name))
        return None

    return script


@pytest.mark.slow
def test_all_faults_at_once_lose_no_row_and_deliver_none_that_is_not_valid():
    from tagevol_hf import OpenTagger

    faults = {"429": 0.05, "500": 0.02, "malformed": 0.01, "hang": 0.005}
    data = rows(*(f"write about subject {number}" for number in range(600)))
    with StandInServer(flaky(faults), latency=0.005) as server:
        url, _, model = server.spec.partition("#")
        engine = open_engine(f"{url}?concurrency=64&timeout=1&backoff=0.05#{model}")
        done = OpenTagger(engine).apply(data)
        engine.close()
        attempts = len(server.bodies) / 600
    assert [row["rejection"] for row in done] == [None] * 600
    assert all(row["open_tags"] and row["open_tags"][0]["tag"].startswith("word") for row in done)
    assert attempts <= 1.15
    assert engine.usage.redrawn.keys() <= {"not_json"}


@pytest.mark.slow
def test_one_hung_request_holds_up_only_itself():
    data = rows(*(f"row {number}" for number in range(200)))
    with StandInServer(lambda number, body: HANG if number == 5 else None, latency=0.01) as server:
        url, _, model = server.spec.partition("#")
        engine = open_engine(f"{url}?concurrency=16&timeout=2#{model}")
        times, lock = [], threading.Lock()
        for group in engine.arrivals(iter([Shout(engine).request(row, 0) for row in data])):
            with lock:
                times += [time.monotonic()] * len(group)
        engine.close()
    assert len(times) == 200
    assert times[198] - times[0] < 1.5 < times[199] - times[0], "the others did not wait for the hung one"


def test_the_garbage_collector_is_left_as_it_was():
    before = gc.get_threshold()
    seen = []
    engine = LateEngine(lambda request: (seen.append(gc.get_threshold()), loud(request))[1])
    Shout(engine).apply(rows("a"))
    assert seen[0][0] > before[0]
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError):
        Shout(LateEngine(lambda request: 1 / 0)).apply(rows("a"))
    assert gc.get_threshold() == before
    gc.set_threshold(0)
    try:
        Shout(engine).apply(rows("b"))
        assert seen[-1][0] == 0
    finally:
        gc.set_threshold(*before)
