"""The managed server: with a program that stands in for vLLM's server and fails as it is told."""

import gc
import importlib.util
import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from stand_in_server import free_port

from tagevol_hf.engines import child_server, vllm_serve, vllm_serve_command, vllm_serve_running
from tagevol_hf.engines.base import Message, Request, SteadyEngine
from tagevol_hf.engines.vllm import VLLMEngine
from tagevol_hf.engines.vllm_serve import VLLMServeEngine
from tagevol_hf.errors import EngineError, MissingExtraError

slow = pytest.mark.slow
FAKE = Path(__file__).with_name("fake_vllm_server.py")


def questions(count):
    return [Request((Message("user", f"question {n}"),)) for n in range(count)]


class Fake:
    """The stand-in program, its folder, and what it noted there."""

    def __init__(self, folder):
        self.folder = folder
        self.program = [sys.executable, str(FAKE), str(folder)]

    def behaves(self, **behaviour):
        (self.folder / "behaviour.json").write_text(json.dumps(behaviour))

    def starts(self):
        file = self.folder / "starts"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def processes(self):
        return [int(line) for line in (self.folder / "processes").read_text().split()]

    def left(self):
        return [number for number in self.processes() if is_there(number)]

    def gone_within(self, seconds):
        end = time.monotonic() + seconds
        while self.left() and time.monotonic() < end:
            time.sleep(0.05)
        return not self.left()


def is_there(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # of processes that a test starts
    made = Fake(tmp_path)
    yield made
    for number in made.left() if (tmp_path / "processes").exists() else []:
        os.kill(number, signal.SIGKILL)


@pytest.fixture
def engine_of(fake):
    """Makes engines over the stand-in program, and closes them after the test."""
    made = []

    def make(**options):
        made.append(VLLMServeEngine("org/m", program=fake.program, **{"startup_timeout": 30.0, **options}))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


# Without a server


@pytest.mark.parametrize(
    "options",
    [
        "",
        "?tensor_parallel_size=8&max_model_len=4096",
        "?revision=abc&quantization=awq",
        "?tokenizer=org%2Ft",
        "?structured_backend=xgrammar",
    ],
)
def test_identity_is_that_of_the_model_in_this_process(options):
    engine = VLLMServeEngine.from_spec(f"org/m{options}")
    assert engine.identity == VLLMEngine.from_spec(f"org/m{options}").identity
    assert pickle.loads(pickle.dumps(engine)).identity == engine.identity
    assert isinstance(engine, SteadyEngine)


def test_options_of_the_server_that_change_answers_are_part_of_the_identity():
    assert VLLMServeEngine.from_spec("org/m?port=8123&restarts=0&startup_timeout=5").identity == "org/m"
    assert VLLMServeEngine.from_spec("org/m?generation_config=vllm").identity == "org/m"
    assert VLLMServeEngine.from_spec("org/m?generation_config=auto").identity == "org/m+generation_config=auto"
    assert VLLMServeEngine.from_spec("org/m?reasoning-parser=qwen3").identity == "org/m+reasoning_parser=qwen3"


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "no model is named; expected vllm-serve:MODEL"),
        ("/no/such/model", "model '/no/such/model': there is no such folder"),
        ("org/m?port=80", "port is 80; expected 1024 to 65535"),
        ("org/m?port=x", "port is 'x'; expected a positive int"),
        ("org/m?restarts=-1", "restarts is '-1'; expected a positive int"),
        ("org/m?startup_timeout=0", "startup_timeout is '0'; expected a positive float"),
        ("org/m?hf_token=secret", "'hf_token' cannot be given; a token is not given here; set HF_TOKEN"),
        ("org/m?api-key=secret", "'api_key' cannot be given; a key is not given here"),
        ("org/m?host=0.0.0.0", "'host' cannot be given; the server listens on 127.0.0.1 only"),
        ("org/m?structured_outputs_config.backend=auto", "cannot be given; give structured_backend"),
        ("org/m?max len=3", "'max len' is not an option"),
        ("org/m?dtype", "option 'dtype' has no value"),
    ],
)
def test_wrong_specs(rest, message):
    with pytest.raises(EngineError, match=message) as caught:
        VLLMServeEngine.from_spec(rest)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_data_parallel_size_every_gpu_is_used(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("class accelerator:\n    device_count = staticmethod(lambda: 8)\n")
    (tmp_path / "vllm-0.33.0.dist-info").mkdir()
    (tmp_path / "vllm-0.33.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.33.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for the process that counts
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])  # for the version
    for given, expected in (
        ({}, 8),
        ({"tensor_parallel_size": "2"}, 4),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, 2),
        ({"tensor_parallel_size": 16}, 1),
        ({"data_parallel_size": 3}, None),
        ({"data_parallel_backend": "ray"}, None),
    ):
        found = vllm_serve_command.defaults("vllm-serve:org/m", given, "guidance")
        assert found.get("data_parallel_size") == expected, given
        assert "enable_chunked_prefill" not in found


# Arguments and answers


def test_it_starts_at_the_first_request_and_answers_each_once(fake, engine_of):
    engine = engine_of()
    assert list(engine.stream([])) == []
    assert list(engine.arrivals(iter([None, None]))) == [[], []]
    assert fake.starts() == []
    seen = list(engine.stream(questions(300)))
    assert sorted(position for position, _ in seen) == list(range(300))
    assert all(reply.text == f"echo: question {position}" for position, reply in seen)
    assert engine.served == {"vllm-serve:org/m": 300}
    assert len(dict(engine.stream(questions(5)))) == 5
    assert len(fake.starts()) == 1
    engine.close()
    assert fake.left() == []
    engine.close()
    assert engine.served == {"vllm-serve:org/m": 305}


def test_requests_may_pause_and_go_on(engine_of):
    first, second = questions(2)
    groups = engine_of().arrivals(iter([first, None, None, second, None]))
    assert [position for group in groups for position, _ in group] == [0, 1]


def test_options_become_arguments(fake, engine_of, monkeypatch):
    for name in ("VLLM_API_KEY", "TAGEVOL_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-secret")
    port = free_port()
    options = {"tensor_parallel_size": "2", "enforce-eager": "true", "enable_prefix_caching": "false", "data": {"a": 1}}
    engine = engine_of(port=port, server_args={**options, "data_parallel_size": "1"})
    assert len(dict(engine.stream(questions(1)))) == 1
    argv = fake.starts()[0]["argv"]
    assert {"--model=org/m", "--host=127.0.0.1", f"--port={port}", "--tensor-parallel-size=2"} <= set(argv)
    assert {"--enforce-eager", "--no-enable-prefix-caching", '--data={"a": 1}', "--generation-config=vllm"} <= set(argv)
    assert '--structured-outputs-config={"backend": "guidance", "disable_any_whitespace": true}' in argv
    assert "--enable-prefix-caching" not in argv
    assert not any("secret" in argument for argument in argv)
    assert fake.starts()[0]["keys"] == []


def test_an_adapter_is_served_and_asked(fake, engine_of, tmp_path):
    adapter = tmp_path / "my adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 12}))
    header = b"{}"
    (adapter / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    engine = engine_of(lora=str(adapter))
    assert engine.identity == VLLMEngine("org/m", lora=str(adapter)).identity != "org/m"
    assert len(dict(engine.stream(questions(1)))) == 1
    argv = fake.starts()[0]["argv"]
    assert {"--enable-lora", "--max-lora-rank=16"} <= set(argv)
    assert f"--lora-modules={json.dumps({'name': 'adapter', 'path': str(adapter)})}" in argv
    assert (fake.folder / "models").read_text() == "adapter\n"


# Faults of a start


def test_without_vllm_the_install_line_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(
        MissingExtraError, match=r"vllm is not installed; install it with: pip install 'tagevol_hf\[vllm\]'"
    ):
        dict(VLLMServeEngine("org/m").stream(questions(1)))


def test_a_server_that_dies_at_its_start_shows_its_last_lines(fake, engine_of):
    prefix = "(EngineCore pid=71) ERROR 11-23 00:41:06 [core.py:98]"
    says = [
        "Loading weights",
        f"{prefix} Traceback (most recent call last):",
        f'{prefix}   File "core.py", line 3, in run',
        f"{prefix}     load()",
        "/lib/server.py:24: DeprecationWarning: use another command",
        "  warnings.warn(",
        f"{prefix} 1 validation error for ModelConfig",
        "  Value error, the model's context has 4096 tokens",
        f"{prefix} \x1b[31mtorch.OutOfMemoryError: CUDA out of memory\x1b[0m",
        "",
    ]
    fake.behaves(dies_at_start=7, says="\n".join(says))
    began = time.monotonic()
    with pytest.raises(EngineError) as caught:
        dict(engine_of().stream(questions(3)))
    assert time.monotonic() - began < 10
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("vllm-serve:org/m: vLLM's server ended while it was starting (exit status 7); ")
    assert "lower max_model_len or max_num_seqs, change gpu_memory_utilization" in first
    assert [line.strip() for line in lines] == [
        "Loading weights",
        "1 validation error for ModelConfig",
        "Value error, the model's context has 4096 tokens",
        "torch.OutOfMemoryError: CUDA out of memory",
    ]
    log = Path(first.partition("(all are in ")[2].removesuffix("):"))
    assert "in run" in log.read_text()
    assert len(fake.starts()) == 1
    assert fake.left() == []


def test_an_unknown_option_is_refused_with_the_nearest_name(fake, engine_of):
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("the names are those of the installed vLLM")
    argument = "--tensor-paralel-size=2"
    fake.behaves(dies_at_start=2, says=f"usage: server\nserver: error: unrecognized arguments: {argument}")
    with pytest.raises(
        EngineError, match=r"'tensor_paralel_size' is not an option; did you mean .tensor_parallel_size"
    ):
        dict(engine_of(server_args={"tensor_paralel_size": 2}).stream(questions(1)))


@slow
@pytest.mark.parametrize("health", ["hangs", 503])
def test_a_server_that_is_never_healthy_is_ended(fake, engine_of, capfd, health):
    fake.behaves(health=health)
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"was not ready after 4 s and was ended; .*raise startup_timeout"):
        dict(engine_of(startup_timeout=4).stream(questions(3)))
    assert time.monotonic() - began < 15
    assert fake.left() == []
    assert "starting vLLM's server for org/m … (0:00:0" in capfd.readouterr().err


def test_a_port_in_use_is_told_before_anything_starts(fake, engine_of):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(EngineError, match=f"port {port}: it is in use; give another port, or none for a free one"):
            dict(engine_of(port=port).stream(questions(1)))
    assert fake.starts() == []


# Death in the middle


@pytest.mark.slow
def test_a_killed_server_is_started_again_and_every_position_answered_once(fake, engine_of, caplog):
    fake.behaves(killed_at_request=150, troubled_starts=2, latency=0.02)
    engine = engine_of(concurrency=32)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "tagevol_hf"):
        seen = list(engine.stream(iter(questions(400))))
    assert time.monotonic() - began < 20
    assert sorted(position for position, _ in seen) == list(range(400))
    assert all(reply.text == f"echo: question {position}" for position, reply in seen)
    assert len(fake.starts()) == 3
    assert engine.served["vllm-serve:org/m"] == 400
    told = [record.getMessage() for record in caplog.records]
    assert "ended (killed by signal 9); the memory is too small" in told[0]
    assert told[0].endswith("starting it again, 1 of 3")
    assert told[1].endswith("starting it again, 2 of 3")
    assert len(fake.left()) == 3  # the last server and its two children


@pytest.mark.slow
def test_what_was_answered_before_a_death_is_not_asked_again(fake, engine_of):
    fake.behaves(killed_at_request=101, troubled_starts=1)
    assert len(dict(engine_of(concurrency=10).stream(questions(200)))) == 200
    asked = len((fake.folder / "models").read_text().splitlines())
    assert asked <= 200 + 10


@pytest.mark.slow
def test_a_server_that_dies_too_often_gives_an_error_that_says_how_to_go_on(fake, engine_of):
    fake.behaves(killed_at_request=20)
    engine = engine_of(restarts=2, concurrency=4)
    seen = []
    with pytest.raises(EngineError) as caught:
        seen.extend(engine.stream(questions(200)))
    message = str(caught.value)
    assert "no restart is left of 2; what was answered is kept, and the same command goes on" in message
    assert "CUDA out of memory. Tried to allocate 2 GiB" in message
    assert len(fake.starts()) == 3
    assert fake.gone_within(5)


@slow
def test_a_server_that_cannot_be_started_again_uses_the_restarts_up(fake, engine_of):
    fake.behaves(killed_at_request=20, good_starts=1)
    with pytest.raises(EngineError, match=r"no restart is left of 2; .* ended while it was starting"):
        dict(engine_of(restarts=2).stream(questions(100)))
    assert len(fake.starts()) == 3


@slow
def test_a_server_that_hangs_is_ended_and_started_again(fake, engine_of, monkeypatch, caplog):
    monkeypatch.setattr(vllm_serve, "_HUNG_SECONDS", 2.0)
    fake.behaves(freezes_at_request=50, troubled_starts=1)
    assert len(dict(engine_of(concurrency=8).stream(questions(100)))) == 100
    assert "s without an answer to /health" in caplog.text


@slow
def test_a_server_that_stops_to_listen_and_does_not_end_is_killed(fake, engine_of, monkeypatch, caplog):
    monkeypatch.setattr(vllm_serve_running, "_CLOSED_SECONDS", 1.0)
    monkeypatch.setattr(vllm_serve_running, "_LOOK_SECONDS", 0.5)
    fake.behaves(closes_at_request=50, troubled_starts=1)
    assert len(dict(engine_of(concurrency=8).stream(questions(100)))) == 100
    assert "s without an answer to /health" in caplog.text


@pytest.mark.slow
def test_a_server_that_dies_between_two_streams_is_started_again(fake, engine_of):
    engine = engine_of()
    assert len(dict(engine.stream(questions(3)))) == 3
    os.kill(fake.processes()[0], signal.SIGKILL)
    assert fake.gone_within(5)
    assert len(dict(engine.stream(questions(3)))) == 3
    assert len(fake.starts()) == 2


@pytest.mark.slow
def test_the_guard_killed_takes_the_server_with_it(fake, engine_of):
    engine = engine_of()
    stream = engine.stream(questions(400))
    next(stream)
    guard = int(Path(f"/proc/{fake.processes()[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    assert len(dict(stream)) == 399
    assert len(fake.starts()) == 2
    assert not [number for number in fake.processes()[:2] if is_there(number)]  # the first server's group


def test_an_error_of_the_requests_themselves_is_not_taken_for_the_servers(fake, engine_of):
    def source():
        yield questions(1)[0]
        os.kill(fake.processes()[0], signal.SIGKILL)
        raise EngineError("the store is broken")

    engine = engine_of()
    assert len(dict(engine.stream(questions(1)))) == 1
    with pytest.raises(EngineError, match="the store is broken"):
        dict(engine.stream(source()))
    assert len(fake.starts()) == 1


# The end


def test_close_in_the_middle_ends_the_stream_and_the_server(fake, engine_of):
    fake.behaves(latency=0.2)
    engine = engine_of(concurrency=2)
    stream = engine.stream(questions(50))
    next(stream)
    engine.close()
    assert fake.left() == []
    with pytest.raises(EngineError, match="closed while it was answering"):
        dict(stream)
    assert len(fake.starts()) == 1


@slow
def test_a_server_that_ignores_sigterm_is_killed(fake, engine_of, monkeypatch):
    monkeypatch.setattr(child_server, "_GRACE_SECONDS", 1.0)
    fake.behaves(ignores_sigterm=True)
    engine = engine_of()
    dict(engine.stream(questions(1)))
    began = time.monotonic()
    engine.close()
    assert 1 < time.monotonic() - began < 8
    assert fake.left() == []


@pytest.mark.slow
def test_an_engine_that_is_dropped_ends_its_server(fake, engine_of):
    engine = VLLMServeEngine("org/m", program=fake.program)
    dict(engine.stream(questions(1)))
    del engine
    gc.collect()
    assert fake.left() == []


@pytest.mark.slow
def test_a_fork_ends_nothing_and_has_a_server_of_its_own(fake, engine_of):
    engine = engine_of()
    dict(engine.stream(questions(1)))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            engine.close()
            assert not fake.gone_within(0.5)
            status = 0 if len(dict(engine.stream(questions(3)))) == 3 else 1
            engine.close()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert len(fake.starts()) == 2
    assert len(fake.left()) == 3
    assert len(dict(engine.stream(questions(3)))) == 3


DRIVER = """
import atexit, os, sys, time
from tagevol_hf.engines.base import Message, Request
from tagevol_hf.engines.vllm_serve import VLLMServeEngine

def source():
    for number in range(10**6):
        yield Request((Message("user", f"question {number}"),))

engine = VLLMServeEngine("org/m", program=sys.argv[2:], concurrency=8)
for number, _ in enumerate(engine.stream(source())):
    if number == 20:
        if sys.argv[1] == "has a fork that ends":
            child = os.fork()
            if child == 0:
                atexit._run_exitfuncs()
                os._exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        if sys.argv[1] == "is killed with a fork":
            if os.fork() == 0:
                time.sleep(8)  # it holds all that its parent had open
                os._exit(0)
        print("ready", flush=True)
        if sys.argv[1] == "returns":
            break
        if sys.argv[1] == "raises":
            raise RuntimeError("a bug")
        if sys.argv[1] == "exits at once":
            os._exit(3)
    if number == 200 and sys.argv[1].startswith("has"):
        break
"""


@slow
@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("returns", None),
        ("raises", None),
        ("exits at once", None),
        ("is interrupted", signal.SIGINT),
        ("is terminated", signal.SIGTERM),
        ("is killed", signal.SIGKILL),
        ("is killed with a fork", signal.SIGKILL),
    ],
)
def test_no_process_is_left_when_the_parent_ends(fake, how, number):
    parent = subprocess.Popen(
        [sys.executable, "-c", DRIVER, how, *fake.program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert parent.stdout.readline() == "ready\n"
        if number is not None:
            assert len(fake.left()) == 3
            parent.send_signal(number)
        parent.wait(20)
        assert fake.gone_within(5), fake.left()
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


@slow
def test_the_end_of_a_fork_ends_nothing(fake):
    command = [sys.executable, "-c", DRIVER, "has a fork that ends", *fake.program]
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=30, check=True)
    assert len(fake.starts()) == 1
    assert fake.gone_within(5)


@slow
def test_no_process_is_left_when_the_parent_is_killed_while_the_server_starts(fake):
    fake.behaves(health=503)
    parent = subprocess.Popen([sys.executable, "-c", DRIVER, "is killed", *fake.program], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while not (fake.folder / "processes").exists() or len(fake.processes()) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert fake.gone_within(15), fake.left()
