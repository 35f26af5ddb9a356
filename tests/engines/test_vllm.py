"""The vLLM engine: real vLLM on CPU with a tiny random model, in this process and behind its own server."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import jsonschema_rs
import pytest

from tagevol_hf.engines import vllm_api, vllm_options
from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.server import ServerEngine
from tagevol_hf.engines.vllm import VLLMEngine
from tagevol_hf.errors import EngineError, MissingExtraError

slow = pytest.mark.slow

SCHEMA = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 1, "maxItems": 2},
        "chosen": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 21},
            "minItems": 3,
            "maxItems": 3,
        },
    },
    "required": ["tags", "chosen"],
    "additionalProperties": False,
}
CHECK = jsonschema_rs.validator_for(SCHEMA)


def question(number, schema=SCHEMA, *, max_tokens=400, temperature=1.0, seed=None):
    text = f"Tag the instruction number {number}."
    sampling = Sampling(temperature, 1.0, max_tokens, number if seed is None else seed)
    return Request((Message("user", text),), sampling, schema)


def answers(engine, requests):
    return dict(engine.stream(requests))


# Without a model


@slow
def test_making_the_engine_loads_nothing_and_names_the_content(tiny_llama, tmp_path):
    engine = VLLMEngine(str(tiny_llama))
    name, digest = engine.identity.split("@")
    assert name == "tiny-llama"
    assert len(digest) == 12
    moved = shutil.copytree(tiny_llama, tmp_path / "elsewhere" / "tiny-llama")
    assert VLLMEngine(f"{moved}/").identity == engine.identity
    (moved / "trainer_state.json").write_text("{}")
    assert VLLMEngine(str(moved)).identity == engine.identity
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    assert VLLMEngine(str(moved)).identity != engine.identity


@slow
def test_a_served_folder_has_the_identity_of_the_folder(tiny_llama):
    served = ServerEngine("http://localhost:1/v1", str(tiny_llama))
    assert served.identity == VLLMEngine(str(tiny_llama)).identity


@pytest.mark.parametrize(
    ("rest", "identity"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct?tensor_parallel_size=8&max_model_len=4096", "Qwen/Qwen2.5-7B-Instruct"),
        ("org/m?revision=abc&quantization=awq", "org/m@abc+awq"),
        ("org/m?tokenizer=org%2Ft", "org/m+tokenizer=org/t"),
    ],
)
def test_identity_of_a_hub_model(rest, identity):
    engine = VLLMEngine.from_spec(rest)
    assert engine.identity == identity
    assert pickle.loads(pickle.dumps(engine)).identity == identity


def test_a_chat_template_of_the_users_own_is_part_of_the_identity(tmp_path):
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages[0].content }}")
    identity = VLLMEngine("org/m", chat_template=template).identity
    assert identity.startswith("org/m+template=")
    template.write_text("{{ messages[-1].content }}")
    assert VLLMEngine("org/m", chat_template=template).identity != identity


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("/no/such/model", r"model '/no/such/model': there is no such folder \(/no/such/model\); expected a folder"),
        ("./model", r"model './model': there is no such folder \(.*/model\)"),
        ("a/b/c", "model 'a/b/c': there is no such folder"),
        ("~/no-such-model", "there is no such folder"),
        ("", "no model is named; expected vllm:MODEL"),
        (
            "org/m?lora=/no/adapter",
            r"lora '/no/adapter': there is no such folder \(/no/adapter\); expected a folder with adapter_config.json",
        ),
        ("org/m?max_in_flight=0", "max_in_flight is '0'; expected a positive int"),
        ("org/m?dtype", "option 'dtype' has no value; expected dtype=VALUE"),
        ("org/m?dtype=a&dtype=b", "option 'dtype' is given twice"),
        ("org/m?chat_template=/no/file", "chat_template '/no/file': no such file"),
    ],
)
def test_wrong_specs(rest, message):
    with pytest.raises(EngineError, match=message) as caught:
        VLLMEngine.from_spec(rest)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(EngineError, match=r"no weights .* in this folder; expected a Hugging Face model folder"):
        VLLMEngine(str(tmp_path))


def test_vllm_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    engine = VLLMEngine("org/m")
    with pytest.raises(
        MissingExtraError, match=r"vllm is not installed; install it with: pip install 'tagevol_hf\[vllm\]'"
    ):
        answers(engine, [question(0)])


def test_an_empty_source_loads_nothing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert answers(VLLMEngine("org/m"), []) == {}


# With vLLM, without a model


@slow
def test_options_are_read_as_vllms_own_types(tiny_llama):
    given = {
        "tensor_parallel_size": "2",
        "gpu_memory_utilization": "0.5",
        "enforce_eager": "true",
        "max_model_len": "4096",
        "dtype": "float32",
        "hf_overrides": '{"rope_theta": 1}',
        "max_num_seqs": 8,
    }
    args = vllm_options.engine_args(str(tiny_llama), given, "guidance")
    assert args.tensor_parallel_size == 2
    assert args.gpu_memory_utilization == 0.5
    assert args.enforce_eager is True
    assert args.max_model_len == 4096
    assert args.dtype == "float32"
    assert args.hf_overrides == {"rope_theta": 1}
    assert args.max_num_seqs == 8
    assert args.enable_prefix_caching is True
    assert args.structured_outputs_config == {"backend": "guidance", "disable_any_whitespace": True}


@slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tensor_paralel_size": "2"},
            r"'tensor_paralel_size' is not an option; did you mean \"tensor_parallel_size\"\?",
        ),
        ({"tensor_parallel_size": "two"}, "tensor_parallel_size='two': Input should be a valid integer"),
        ({"enforce_eager": "perhaps"}, "enforce_eager='perhaps': Input should be a valid boolean"),
        ({"dtype": "float33"}, "dtype='float33': Input should be"),
        ({"hf_overrides": "{no"}, "hf_overrides='{no' is not valid JSON"),
        ({"hf_token": "secret"}, "a token is not given here; set HF_TOKEN"),
        ({"model": "other"}, "'model' is not an option"),
    ],
)
def test_wrong_options(tiny_llama, options, message):
    with pytest.raises(EngineError, match=message) as caught:
        answers(VLLMEngine(str(tiny_llama), engine_args=options), [question(0)])
    assert "secret" not in str(caught.value)


@slow
def test_a_model_that_cannot_be_loaded_is_told_in_one_line():
    with pytest.raises(EngineError, match="vllm:nobody/no-such-model: the model cannot be loaded: ") as caught:
        answers(VLLMEngine("nobody/no-such-model"), [question(0)])
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(
        "; the model cannot be found: is its name right, HF_TOKEN set if it is gated, and the Hub in reach?"
    )


# With a model


@slow
def test_every_reply_fits_its_schema(vllm_engine):
    replies = answers(vllm_engine, (question(n) for n in range(64)))
    assert sorted(replies) == list(range(64))
    for reply in replies.values():
        assert reply.finish_reason == "stop"
        CHECK.validate(json.loads(reply.text))
        assert reply.text.startswith('{"tags":["')  # no white space between the parts
        assert reply.prompt_tokens > 10
        assert reply.completion_tokens > 10


@slow
def test_replies_belong_to_their_positions_whatever_runs_beside_them(vllm_engine):
    requests = [question(n, None, max_tokens=5 + 7 * (n % 5), temperature=0.0) for n in range(40)]
    together = answers(vllm_engine, requests)
    assert [together[n].completion_tokens <= 5 + 7 * (n % 5) for n in range(40)] == [True] * 40
    backwards = answers(vllm_engine, requests[::-1])
    assert [backwards[39 - n].text for n in range(40)] == [together[n].text for n in range(40)]


@slow
def test_the_same_seed_gives_the_same_text_and_another_one_another(vllm_engine):
    first = answers(vllm_engine, [question(n, None, max_tokens=30) for n in range(8)])
    again = answers(vllm_engine, [question(n, None, max_tokens=30) for n in (7, 6, 5, 4, 3, 2, 1, 0)])
    assert [again[7 - n].text for n in range(8)] == [first[n].text for n in range(8)]
    other = answers(vllm_engine, [question(n, None, max_tokens=30, seed=99 + n) for n in range(8)])
    assert all(other[n].text != first[n].text for n in range(8))


@slow
def test_long_seeded_prompts_together(vllm_engine):
    """A prompt split over two steps ends vLLM 0.30 on a CPU, if its request has a seed."""
    long = [
        Request((Message("user", "word " * (500 + n)),), Sampling(temperature=1.0, max_tokens=3, seed=n))
        for n in range(20)
    ]
    assert {reply.finish_reason for reply in answers(vllm_engine, long).values()} <= {"stop", "length"}


@slow
def test_a_reply_that_is_cut_off_says_so(vllm_engine):
    reply = answers(vllm_engine, [question(0, max_tokens=4)])[0]
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 4)


@slow
def test_a_prompt_that_is_too_long_fails_alone(vllm_engine):
    long = Request((Message("user", "x1 " * 33_000),), Sampling(max_tokens=5))
    replies = answers(vllm_engine, [question(0), long, question(2)])
    assert replies[1].reason == "prompt_too_long"
    assert replies[1].detail.endswith("tokens; the model's context has 4096")
    assert [replies[n].finish_reason for n in (0, 2)] == ["stop", "stop"]


@slow
def test_a_schema_that_cannot_be_kept_and_a_chat_that_cannot_be_written_fail_alone(vllm_engine):
    replies = answers(
        vllm_engine,
        [
            question(0),
            question(1, {"type": "nothing"}),
            Request((Message("user", "x"),), Sampling(max_tokens=-1)),
            question(3),
        ],
    )
    assert [replies[n].reason for n in (1, 2)] == ["refused_request"] * 2
    assert "max_tokens must be at least 1" in replies[2].detail
    assert [replies[n].finish_reason for n in (0, 3)] == ["stop", "stop"]


@slow
def test_a_shared_prefix_is_served_by_the_cache(vllm_engine):
    prefix = "These words are the same for every row of the stage. " * 30
    requests = [Request((Message("user", f"{prefix}{n}"),), Sampling(max_tokens=2)) for n in range(4)]
    first = answers(vllm_engine, requests[:1])[0]
    cached = [reply.cached_tokens for reply in answers(vllm_engine, requests[1:]).values()]
    assert first.prompt_tokens > 256
    assert min(cached) >= 128


@slow
def test_requests_are_pulled_lazily_and_an_early_close_aborts(vllm_engine, tiny_llama):
    pulled = []

    def source():
        for number in range(100):
            pulled.append(number)
            yield question(number, None, max_tokens=10 if number == 3 else 1000, temperature=0.0)

    vllm_engine._window, window = 6, vllm_engine._window
    try:
        stream = vllm_engine.stream(source())
        assert pulled == []
        position, _ = next(stream)
        assert position == 3
        assert pulled == list(range(6))
        stream.close()
    finally:
        vllm_engine._window = window
    assert vllm_engine._running._engine.get_num_unfinished_requests() == 0
    assert answers(vllm_engine, [question(0)])[0].finish_reason == "stop"


@slow
def test_two_streams_at_once_keep_their_own_replies(vllm_engine):
    whole = [answers(vllm_engine, [question(n) for n in numbers]) for numbers in (range(5), range(5, 10))]
    streams = [vllm_engine.stream(question(n) for n in numbers) for numbers in (range(5), range(5, 10))]
    mixed = [{}, {}]
    for _ in range(5):
        for stream, found in zip(streams, mixed, strict=True):
            position, reply = next(stream)
            found[position] = reply.text
    assert mixed == [{n: reply.text for n, reply in found.items()} for found in whole]


@slow
def test_bad_rows_are_asked_again_while_the_others_run(vllm_engine):
    """The flow pauses where there is nothing to ask, and goes on with new draws."""
    again, groups = [], []

    def source():
        for number in range(6):
            yield question(number, None, max_tokens=5 + 40 * (number == 5))
        while len(again) < 5:
            yield None
        for number in again:
            yield question(number, None, max_tokens=5, seed=100 + number)
        while sum(map(len, groups)) < 11:
            yield None

    for group in vllm_engine.arrivals(source()):
        groups.append(group)
        again += [position for position, _ in group if position < 5]
    replies = {position: reply for group in groups for position, reply in group}
    assert sorted(replies) == list(range(11))
    assert [position for group in groups for position, _ in group].index(5) > 4  # the long one held up nobody
    alone = answers(vllm_engine, [question(n, None, max_tokens=5, seed=100 + n) for n in again])
    assert [alone[n].text for n in range(5)] == [replies[6 + n].text for n in range(5)]
    assert max(map(len, groups)) > 1
    assert [] not in groups[:-1]


@slow
def test_a_pause_with_nothing_in_flight_gives_an_empty_group(vllm_engine):
    groups = vllm_engine.arrivals(iter([None, question(0, max_tokens=3), None, None]))
    assert next(groups) == []
    assert [position for position, _ in next(groups)] == [0]
    assert list(groups) == [[]]  # the first of the last two pauses was that of the group


# On a GPU


@pytest.mark.gpu
@slow
def test_the_same_engine_on_a_gpu(tiny_llama):
    options = {"tensor_parallel_size": "1", "dtype": "bfloat16", "enforce_eager": "true", "max_model_len": "4096"}
    engine = VLLMEngine(str(tiny_llama), engine_args={**options, "gpu_memory_utilization": "0.2"})
    try:
        replies = answers(engine, [question(n) for n in range(64)])
        free = answers(engine, [question(n, None, max_tokens=20, temperature=0.0) for n in range(300)])
    finally:
        engine.close()
    for reply in replies.values():
        assert reply.finish_reason == "stop"
        CHECK.validate(json.loads(reply.text))
    assert sorted(free) == list(range(300))
    assert {reply.completion_tokens for reply in free.values() if reply.finish_reason == "length"} <= {20}


REOPEN = """
import sys, weakref
from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.vllm import VLLMEngine
from tagevol_hf.errors import EngineError

engine = VLLMEngine.from_spec(sys.argv[1] + "?dtype=float32&enforce_eager=true&max_model_len=512")
request = Request((Message("user", "hello"),), Sampling(max_tokens=5))
first = dict(engine.stream([request]))[0].text
runner = engine._running._engine.model_executor.driver_worker.worker.model_runner
model, cache = weakref.ref(runner.model), weakref.ref(runner.kv_caches[0])
del runner
stream = engine.stream([request, request])
next(stream)
engine.close()
engine.close()
print("left", model(), cache())
assert dict(engine.stream([request]))[0].text == first
engine.close()
try:
    list(VLLMEngine.from_spec(sys.argv[2] + "?dtype=float32&enforce_eager=true").stream([request]))
except EngineError as error:
    print(error)
template = VLLMEngine.from_spec(sys.argv[2] + "?dtype=float32&enforce_eager=true&chat_template=" + sys.argv[3])
bad = Request((Message("system", "hello"),), Sampling(max_tokens=5))
print(dict(template.stream([bad]))[0].detail)
print(dict(template.stream([request]))[0].prompt_tokens)
template.close()
"""


@slow
def test_close_frees_the_model_and_templates_are_the_users_choice(tiny_llama, tmp_path):
    bare = shutil.copytree(tiny_llama, tmp_path / "bare")
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        path = bare / name
        if path.suffix == ".jinja":
            path.unlink(missing_ok=True)
        else:
            config = json.loads(path.read_text())
            config.pop("chat_template", None)
            path.write_text(json.dumps(config))
    template = tmp_path / "own.jinja"
    template.write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}"
        "{{ messages[0].content }}"
    )
    done = subprocess.run(
        [sys.executable, "-c", REOPEN, str(tiny_llama), str(bare), str(template)],
        capture_output=True,
        text=True,
        env={**os.environ, "VLLM_LOGGING_LEVEL": "ERROR"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    left, no_template, refused, tokens = done.stdout.strip().splitlines()
    assert left == "left None None"
    assert "the model's tokenizer has no chat template; give one as a Jinja file" in no_template
    assert refused == "the chat template refused the messages: no system turn here"
    assert 1 <= int(tokens) <= 5


# Behind its own server


@slow
def test_the_same_through_vllms_own_server(vllm_server):
    engine = ServerEngine.from_spec(vllm_server)
    try:
        replies = answers(engine, [question(n) for n in range(32)])
        assert sorted(replies) == list(range(32))
        for reply in replies.values():
            assert reply.finish_reason == "stop"
            CHECK.validate(json.loads(reply.text))
            assert reply.prompt_tokens > 10
        again = answers(engine, [question(n) for n in range(8)])
        assert [again[n].text for n in range(8)] == [replies[n].text for n in range(8)]
    finally:
        engine.close()


@slow
def test_bad_requests_fail_alone_at_the_server(vllm_server):
    engine = ServerEngine.from_spec(vllm_server)
    try:
        long = Request((Message("user", "x1 " * 33_000),), Sampling(max_tokens=5))
        replies = answers(engine, [question(0), long, question(2, max_tokens=4), question(3, {"type": "nothing"})])
        assert replies[1].reason == "prompt_too_long"
        assert replies[2].finish_reason == "length"
        assert replies[0].finish_reason == "stop"
    finally:
        engine.close()


@slow
def test_a_wrong_name_and_a_missing_name_at_the_server(vllm_server):
    url = vllm_server.partition("#")[0]
    with pytest.raises(EngineError, match="HTTP 404: The model `other` does not exist"):
        answers(ServerEngine(url, "other"), [question(0)])
    engine = ServerEngine(url)
    assert engine.identity == "tiny-llama"
    engine.close()


def test_a_message_is_one_line():
    assert vllm_api.one_line(ValueError("a\n b")) == "a b"
    assert vllm_api.one_line(ValueError()) == "ValueError"
