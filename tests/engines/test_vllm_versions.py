"""The vLLM engine at both ends of the supported versions, against stand-ins that take only what those take.

`test_vllm.py` runs the version that is installed.
"""

import json
import struct

import pytest
import stand_in_vllm

from tagevol_hf.engines import vllm_api
from tagevol_hf.engines.base import Message, Request, Sampling, SteadyEngine
from tagevol_hf.engines.vllm import VLLMEngine
from tagevol_hf.errors import EngineError

BEFORE, NEWEST = "0.10.2", "0.33.0"
both = pytest.mark.parametrize("version", [BEFORE, NEWEST])
SCHEMA = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "integer"}}}


def ask(text, schema=None, *, max_tokens=1000):
    return Request((Message("user", text),), Sampling(max_tokens=max_tokens), schema)


def adapter(folder, *, rank=4, layers=2, **config):
    """A folder as peft writes it, with small tensors."""
    names = [f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_{m}.weight" for n in range(layers) for m in "AB"]
    header = {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in names}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    plain = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**plain, "modules_to_save": None, **config}))
    return folder


@both
def test_a_whole_stream(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version)
    engine = VLLMEngine.from_spec("org/m?max_in_flight=8&max_num_seqs=3&max_model_len=200&enforce_eager=true")
    assert isinstance(engine, SteadyEngine)
    pulled = []
    source = (pulled.append(n) or ask(f"question {n}") for n in range(40))
    found = []
    for position, reply in engine.stream(source):
        found.append(position)
        assert reply.text == f"base: question {position}"
        assert (reply.finish_reason, reply.prompt_tokens) == ("stop", len(f"question {position}"))
        assert len(pulled) <= len(found) + 8  # pulled when there is room, and no sooner
    assert sorted(found) == list(range(40))
    assert found != sorted(found)  # as they are ready
    assert seen.most_at_once == 8
    engine.close()
    assert seen.shut_down == 1
    assert seen.contexts == ["LLM_CLASS"]  # with which vLLM runs larger batches
    (args,) = seen.engine_args
    assert (args.model, args.max_num_seqs, args.max_model_len, args.enforce_eager) == ("org/m", 3, 200, True)
    assert (args.enable_prefix_caching, args.enable_chunked_prefill, args.enable_lora) == (True, False, None)


@both
def test_a_flow_that_pauses(monkeypatch, version):
    stand_in_vllm.install(monkeypatch, version)
    again = []

    def source():
        yield ask("a")
        yield ask("bb")
        yield None
        assert again == ["a"] or again == ["bb"]  # pulled after the first group only
        yield ask(f"{again[0]}, once more")
        while len(again) < 3:
            yield None
        yield None

    groups = []
    for group in VLLMEngine("org/m").arrivals(source()):
        groups.append(group)
        again += [reply.text.removeprefix("base: ") for _, reply in group]
    assert {position: reply.text for group in groups for position, reply in group} == {
        0: "base: a",
        1: "base: bb",
        2: f"base: {again[0]}, once more",
    }
    assert groups[-1] == []  # paused with nothing in flight
    assert [] not in groups[:-1]


@both
def test_a_group_is_what_a_step_finished(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version)
    engine = VLLMEngine("org/m", engine_args={"max_num_seqs": 50})
    groups = list(engine.arrivals(ask("x" * (30 + n % 3)) for n in range(30)))
    assert [len(group) for group in groups] == [10, 10, 10]
    assert seen.steps == 3


@both
def test_replies_kept_to_schemas(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version)
    other = {"type": "object", "properties": {}}
    engine = VLLMEngine("org/m")
    replies = dict(engine.stream(ask(f"q{n}", (SCHEMA, other, None)[n % 3]) for n in range(30)))
    for n in range(30):
        if n % 3 == 2:
            assert replies[n].text == f"base: q{n}"
        else:
            assert json.loads(replies[n].text) == {"reply": f"base: q{n}", "schema": (SCHEMA, other)[n % 3]}
    assert seen.guides == [json.dumps(SCHEMA), json.dumps(other)]  # once each, the order of the properties kept
    args = seen.engine_args[0]
    if version == BEFORE:
        assert (args.guided_decoding_backend, args.guided_decoding_disable_any_whitespace) == ("guidance", True)
    else:
        assert args.structured_outputs_config == {"backend": "guidance", "disable_any_whitespace": True}


@both
def test_many_schemas_are_not_kept_for_ever(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version)
    engine = VLLMEngine("org/m", structured_backend="outlines")
    schemas = [{"type": "object", "title": str(n)} for n in range(200)]
    replies = dict(engine.stream(ask("q", schema) for schema in schemas))
    assert [json.loads(replies[n].text)["schema"] for n in range(200)] == schemas
    assert len(seen.guides) == 200
    assert len(engine._running._schemas) <= 64


@both
def test_bad_requests_fail_alone(monkeypatch, version):
    stand_in_vllm.install(monkeypatch, version)
    requests = [
        ask("fine"),
        ask("x" * 300),
        ask("x", max_tokens=0),
        ask("x", {"type": "nothing"}),
        ask("cut here", max_tokens=3),
        ask("fine too"),
    ]
    replies = dict(VLLMEngine("org/m").stream(requests))
    assert [replies[n].reason for n in range(6)] == [
        "",
        "prompt_too_long",
        "refused_request",
        "refused_request",
        "",
        "",
    ]
    assert replies[1].detail == "the prompt has 300 tokens; the model's context has 300"
    assert replies[2].detail == "max_tokens must be at least 1, got 0."
    assert replies[3].detail == "Failed to convert the grammar: no such type"
    assert (replies[4].text, replies[4].finish_reason) == ("bas", "length")


@both
def test_a_run_of_bad_requests_alone(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version)
    replies = dict(VLLMEngine("org/m").stream(ask("x" * 400) for _ in range(200)))
    assert {reply.reason for reply in replies.values()} == {"prompt_too_long"}
    assert sorted(replies) == list(range(200))
    assert seen.steps == 0


@both
def test_closing_early_aborts_what_is_in_flight(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version)
    engine = VLLMEngine("org/m", max_in_flight=6)
    stream = engine.stream(ask(f"question {n}") for n in range(100))
    next(stream)
    stream.close()
    running = engine._running._engine
    assert running.get_num_unfinished_requests() == 0
    assert seen.aborted == seen.requests[4:6]  # the others were done
    assert dict(engine.stream([ask("again")]))[0].text == "base: again"


@both
def test_a_failing_vllm_ends_the_run_with_its_message(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version, fails_at=2)
    found = []
    with pytest.raises(EngineError) as caught:
        found.extend(VLLMEngine("org/m", max_in_flight=8).stream(ask(f"question {n}") for n in range(50)))
    assert str(caught.value) == "vllm:org/m: vLLM failed: the engine core died; run again, what was answered is kept"
    assert seen.aborted == []  # nobody is there to hear it


@both
def test_a_long_queue_is_read_between_steps(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version)
    pulled = []
    source = (pulled.append(seen.steps) or ask("x" * 59) for _ in range(1000))  # each takes three steps
    next(VLLMEngine("org/m", engine_args={"max_num_seqs": 200}).stream(source))
    assert [pulled.count(step) for step in range(3)] == [200, 64, 64]
    assert len(pulled) == 328


@both
def test_twice_as_many_as_run_at_once_are_in_flight(monkeypatch, version):
    seen = stand_in_vllm.install(monkeypatch, version)
    engine = VLLMEngine("org/m", engine_args={"max_num_seqs": 20})
    assert len(list(engine.stream(ask("x" * 59) for _ in range(100)))) == 100
    assert seen.most_at_once == 40


@both
def test_an_adapter(monkeypatch, version, tmp_path):
    seen = stand_in_vllm.install(monkeypatch, version)
    folder = adapter(tmp_path / "poet", rank=12)
    engine = VLLMEngine.from_spec(f"org/m?lora={folder}&max_num_seqs=2")
    replies = dict(engine.stream(ask(f"q{n}", SCHEMA if n == 2 else None) for n in range(3)))
    assert [replies[n].text for n in (0, 1)] == ["poet: q0", "poet: q1"]
    assert json.loads(replies[2].text)["reply"] == "poet: q2"
    args = seen.engine_args[0]
    assert (args.enable_lora, args.max_lora_rank) == (True, 16)
    assert [request.lora_path for request in seen.adapters] == [str(folder)]


@both
def test_options_of_the_users_own_stand_over_those_of_the_adapter(monkeypatch, version, tmp_path):
    seen = stand_in_vllm.install(monkeypatch, version)
    folder = adapter(tmp_path / "poet")
    assert dict(VLLMEngine.from_spec(f"org/m?lora={folder}&max_lora_rank=64").stream([ask("q")]))
    assert seen.engine_args[0].max_lora_rank == 64


def refused(spec):
    engine = VLLMEngine.from_spec(spec)
    with pytest.raises(EngineError) as caught:
        dict(engine.stream([ask("q")]))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@both
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "adapter_config.json has peft_type 'IA3', which vLLM does not serve"),
        ({"use_dora": True}, "has use_dora=True, which vLLM does not serve; merge it into the model"),
        ({"modules_to_save": ["lm_head"]}, "has modules_to_save=['lm_head']"),
        ({"bias": "all"}, "has bias='all'"),
        ({"r": 0}, "adapter_config.json has r=0; expected the rank of a LoRA adapter, at least 1"),
        ({"r": 1000}, "its rank is 1000; vLLM serves ranks up to 512"),
    ],
)
def test_adapters_that_vllm_cannot_serve(monkeypatch, version, tmp_path, config, message):
    seen = stand_in_vllm.install(monkeypatch, version)
    folder = adapter(tmp_path / "poet", **config)
    told = refused(f"org/m?lora={folder}")
    assert told.startswith(f"lora '{folder}': ")
    assert message in told
    assert seen.engine_args == []  # before the model is loaded


@both
def test_an_adapter_of_a_deeper_model(monkeypatch, version, tmp_path):
    seen = stand_in_vllm.install(monkeypatch, version)
    folder = adapter(tmp_path / "poet", layers=4)
    told = refused(f"org/m?lora={folder}")
    assert "the adapter does not fit the model: it changes layer 3, the model has 2 layers" in told
    assert seen.shut_down == 1


@both
def test_an_adapter_that_vllm_itself_refuses(monkeypatch, version, tmp_path):
    seen = stand_in_vllm.install(monkeypatch, version)
    folder = adapter(tmp_path / "poet", rank=20)
    told = refused(f"org/m?lora={folder}&max_lora_rank=8")
    assert "the adapter does not fit the model: LoRA rank 20 is greater than max_lora_rank 8." in told
    assert seen.shut_down == 1


def test_ranks_by_module_are_refused_where_vllm_would_not_see_them(monkeypatch, tmp_path):
    folder = adapter(tmp_path / "poet", rank_pattern={"q_proj": 32})
    stand_in_vllm.install(monkeypatch, BEFORE)
    assert "adapter_config.json has a rank_pattern, which vLLM does not serve" in refused(f"org/m?lora={folder}")
    seen = stand_in_vllm.install(monkeypatch, NEWEST)
    assert dict(VLLMEngine.from_spec(f"org/m?lora={folder}").stream([ask("q")]))[0].text == "poet: q"
    assert seen.engine_args[0].max_lora_rank == 32


def test_the_old_engine_of_the_lowest_version_is_refused(monkeypatch):
    stand_in_vllm.install(monkeypatch, BEFORE, old_engine=True)
    told = refused("org/m")
    assert told.startswith("vllm:org/m: vLLM 0.10.2 took its old engine (V0)")
    assert told.endswith("unset VLLM_USE_V1, or update vllm")


@both
def test_an_option_that_this_version_does_not_have(monkeypatch, version):
    stand_in_vllm.install(monkeypatch, version)
    assert '"max_num_seqs"' in refused("org/m?max_nun_seqs=3")
    if version == NEWEST:
        assert "'max_seq_len_to_capture' is not an option" in refused("org/m?max_seq_len_to_capture=1")


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("0.9.2", "vllm 0.9.2 is below the versions that this package is tested with (0.10.2 to 0.33)"),
        ("0.10.1", "vllm 0.10.1 is below"),
        ("0.10.2", None),
        ("0.22.0", None),
        ("0.33.4", None),
        ("0.34.0", "vllm 0.34.0 is above the versions that this package is tested with (0.10.2 to 0.33)"),
        ("1.0.0rc1", "vllm 1.0.0rc1 is above"),
        ("0.1.dev77+g123", None),
    ],
)
def test_a_version_outside_the_range_is_told_once(monkeypatch, caplog, version, told):
    vllm_api._warn_outside_range.cache_clear()
    stand_in_vllm.install(monkeypatch, version)
    for _ in range(2):
        assert dict(VLLMEngine("org/m").stream([ask("q")]))[0].text == "base: q"
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (told is not None)
    assert told is None or messages[0].startswith(told)
