"""The engine benchmarks: their server keeps its protocol and its faults, and the scenarios count right."""

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ROOT / "benchmarks" / "engines"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ENGINES), str(ROOT)])}


@pytest.fixture
def bench_server():
    """Starts the benchmarks' server with settings, gives its base URL, and ends it after the test."""
    started = []

    def start(*options):
        command = [sys.executable, str(ENGINES / "server.py"), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process.stdout.readline().strip().partition("#")[0]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def body(number, **more):
    return {"messages": [{"role": "user", "content": f"tags of [row {number:07d}] please"}], **more}


def ask(url, bodies, timeout=5.0):
    """For each body (status, answer as JSON), or the name of the exception; all are asked at once."""

    async def one(session, sent):
        try:
            async with session.post(f"{url}/chat/completions", json=sent) as answer:
                return answer.status, await answer.json()
        except (aiohttp.ClientError, asyncio.TimeoutError) as fault:
            return type(fault).__name__

    async def run():
        limits = aiohttp.ClientTimeout(total=timeout)
        async with aiohttp.ClientSession(timeout=limits, connector=aiohttp.TCPConnector(limit=0)) as session:
            return await asyncio.gather(*(one(session, sent) for sent in bodies))

    return asyncio.run(run())


def call(url, path, settings=None):
    async def run():
        async with aiohttp.ClientSession() as session:
            address = url.removesuffix("/v1") + path
            method = session.get(address) if settings is None else session.post(address, json=settings)
            async with method as answer:
                return await answer.json()

    return asyncio.run(run())


def text_of(answer):
    return answer["choices"][0]["message"]["content"]


def test_each_row_gets_its_own_tags_always(bench_server):
    url = bench_server("--latency", "0.01")
    answers = ask(url, [body(1), body(2), body(1, seed=7)])
    assert [status for status, _ in answers] == [200, 200, 200]
    first, second, again = (json.loads(text_of(answer)) for _, answer in answers)
    assert first == again != second
    assert all(set(part) == {"tag", "explanation"} and len(part["explanation"]) == 40 for part in first["tags"])
    usage = answers[0][1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    stats = call(url, "/stats")
    assert (stats["requests"], stats["answered"], stats["most_in_flight"], stats["in_flight"]) == (3, 3, 3, 0)
    assert 0 < stats["first"] < stats["last"]


def test_the_same_rules_as_the_work(bench_server):
    rows = "import work; print(work.judge([('row-0000001', open(0).read())], 1))"
    [(_, answer)] = ask(bench_server("--latency", "0"), [body(1)])
    for reply, counts in (
        (text_of(answer), (1, 0, 0)),
        (text_of(answer)[:-5], (0, 1, 0)),
        (text_of(ask_other(bench_server)), (0, 1, 0)),
    ):
        told = subprocess.run(
            [sys.executable, "-c", rows], input=reply, env=ENVIRONMENT, capture_output=True, text=True
        )
        found = json.loads(told.stdout.replace("'", '"'))
        assert (found["rows_valid"], found["rows_invalid_delivered"], found["rows_missing"]) == counts


def ask_other(bench_server):
    return ask(bench_server("--latency", "0"), [body(2)])[0][1]


def test_a_probe_without_a_row_gets_the_smallest_value_and_no_fault(bench_server):
    url = bench_server("--latency", "0", "--status-500", "1")
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    sent = {"messages": [], "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    [(status, answer)] = ask(url, [sent])
    assert (status, json.loads(text_of(answer))) == (200, {"name": "ok", "age": 1})
    assert call(url, "/stats")["requests"] == 0


def test_a_forced_tool_gets_the_reply_as_arguments(bench_server):
    tool = {"type": "function", "function": {"name": "Tags", "parameters": {"type": "object"}}}
    [(_, answer)] = ask(bench_server("--latency", "0"), [body(1, tools=[tool], tool_choice="required")])
    called = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert called["name"] == "Tags"
    assert len(json.loads(called["arguments"])["tags"]) == 3


@pytest.mark.parametrize(
    ("fault", "seen"),
    [("status_429", 429), ("status_500", 500), ("garbage", "ContentTypeError|JSON"), ("reset", "ServerDisconnected")],
)
def test_faults_of_the_protocol(bench_server, fault, seen):
    url = bench_server("--latency", "0")
    call(url, "/reset", {"latency": 0, fault: 1.0})
    try:
        [outcome] = ask(url, [body(1)])
    except json.JSONDecodeError:
        outcome = "JSON"
    if isinstance(outcome, tuple):
        assert outcome[0] == seen
        assert outcome[1]["error"]["message"]
    else:
        assert any(name in outcome for name in str(seen).split("|"))
    assert call(url, "/stats")["faults"] == {fault: 1}
    assert call(url, "/stats")["answered"] == 0


def test_a_client_that_wants_the_end_of_the_connection_gets_it(bench_server):
    host, port = bench_server("--latency", "0.01").removeprefix("http://").removesuffix("/v1").split(":")
    sent = json.dumps(body(1)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(sent)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.encode() + sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(text_of(json.loads(answer.partition(b"\r\n\r\n")[2])))["tags"]


def test_malformed_is_a_good_completion_with_broken_text(bench_server):
    [(status, answer)] = ask(bench_server("--latency", "0", "--malformed", "1"), [body(1)])
    assert (status, answer["choices"][0]["finish_reason"]) == (200, "stop")
    with pytest.raises(json.JSONDecodeError):
        json.loads(text_of(answer))


def test_a_hang_is_in_flight_until_its_client_goes_away(bench_server):
    url = bench_server("--latency", "0", "--hang-once", "1")

    async def run():
        async with aiohttp.ClientSession() as session:
            await (await session.post(f"{url}/chat/completions", json=body(1))).read()
            hung = asyncio.ensure_future(session.post(f"{url}/chat/completions", json=body(2)))
            await asyncio.wait([hung], timeout=0.3)
            during = await (await session.get(url.removesuffix("/v1") + "/stats")).json()
            hung.cancel()
            await asyncio.wait([hung])
            for _ in range(100):
                after = await (await session.get(url.removesuffix("/v1") + "/stats")).json()
                if after["in_flight"] == 0:
                    break
                await asyncio.sleep(0.02)
            return during, after

    during, after = asyncio.run(run())
    assert (during["requests"], during["answered"], during["in_flight"]) == (2, 1, 1)
    assert after["in_flight"] == 0


def test_shares_of_faults_poison_and_capacity(bench_server):
    url = bench_server("--latency", "0.05", "--status-429", "0.2", "--retry-after", "0")
    statuses = [outcome[0] for outcome in ask(url, [body(number) for number in range(400)])]
    assert 40 < statuses.count(429) < 130
    assert call(url, "/stats")["faults"] == {"status_429": statuses.count(429)}
    call(url, "/reset", {"latency": 0.05, "poison": 0.5})
    bad = [[is_broken(outcome) for outcome in ask(url, [body(number) for number in range(40)])] for _ in range(2)]
    assert bad[0] == bad[1]
    assert 5 < sum(bad[0]) < 35
    call(url, "/reset", {"latency": 0.2, "capacity": 4})
    statuses = [outcome[0] for outcome in ask(url, [body(number) for number in range(10)])]
    assert (statuses.count(200), statuses.count(429)) == (4, 6)
    assert "no such setting" in call(url, "/reset", {"latencies": 1})["error"]["message"]


def is_broken(outcome):
    try:
        json.loads(text_of(outcome[1]))
    except json.JSONDecodeError:
        return True
    return False


def run_scenario(folder, *arguments):
    command = [sys.executable, str(ENGINES / "run.py"), *arguments, "--results", str(folder)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert ended.returncode in (0, 1), ended.stderr[-2000:]
    [file] = folder.glob("*.json")
    return json.loads(file.read_text()), file.with_suffix(".md").read_text()


@pytest.mark.slow
def test_throughput_counts_all_rows(tmp_path):
    found, table = run_scenario(
        tmp_path, "throughput", "--rows", "200", "--rounds", "1", "--concurrency", "64",
        "--only", "ours,bare,distilabel", "--latency", "0.02",
    )  # fmt: skip
    runs = {run["client"]: run for run in found["runs"]}
    for name in ("ours", "bare"):
        assert runs[name]["rows_valid"] == runs[name]["server"]["requests"] == 200
        assert runs[name]["rows_invalid_delivered"] == runs[name]["rows_missing"] == 0
        assert runs[name]["server"]["most_in_flight"] <= 64
    assert {"aiohttp", "datasets"} <= set(found["versions"])
    assert "| ours | 64 |" in table
    assert not any(part in json.dumps(found) + table for part in (str(ROOT), str(tmp_path), os.uname().nodename))
    if importlib.util.find_spec("distilabel") is None:
        assert "ModuleNotFoundError" in runs["distilabel"]["failed"]
        assert "| distilabel | 64 | not run |" in table


@pytest.mark.slow
def test_a_killed_run_gives_the_same_rows_and_asks_little_again(tmp_path):
    found, _ = run_scenario(
        tmp_path, "kill", "--rows", "300", "--kills", "2", "--concurrency", "32", "--latency", "0.05"
    )
    assert [run["same_rows"] for run in found["runs"]] == [True, True]
    assert [run["rows_valid"] for run in found["runs"]] == [300, 300]
    # "late", too, on an idle machine: it counts what was answered more than 100 ms before the kill.
    assert all(run["again"] <= 32 and run["though_stored"] == 0 for run in found["runs"])
    assert all(run["stored"] >= run["answered"] - 32 for run in found["runs"])
