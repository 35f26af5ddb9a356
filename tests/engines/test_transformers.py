"""The transformers engine on a CPU, with tiny random models and with a small trained one."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest

from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.transformers import TransformersEngine
from tagevol_hf.errors import EngineError
from tagevol_hf.training.tiny import make_tiny_model

pytestmark = pytest.mark.slow  # loads torch and transformers

MODELS = Path(os.environ.get("TAGEVOL_TEST_MODELS", Path(__file__).parents[2].parent / "shared" / "models"))
STORIES = MODELS / "stories260K"
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
GREEDY, DRAWN, NUCLEUS = Sampling(0.0, 1.0, 40), Sampling(1.0, 1.0, 40), Sampling(0.7, 0.9, 40)


def question(number, sampling=GREEDY, schema=None):
    """A question whose length depends on its number, with its number as the seed."""
    text = f"Tag the instruction number {number}. " + "word " * (number * 7 % 40)
    return Request((Message("user", text),), replace(sampling, seed=number), schema)


def asked(number):
    """A question of every kind in turn."""
    kinds = [(GREEDY, None), (DRAWN, None), (NUCLEUS, None), (replace(DRAWN, max_tokens=400), SCHEMA)]
    sampling, schema = kinds[number % 4]
    return question(number, replace(sampling, max_tokens=sampling.max_tokens + number % 13), schema)


def with_start(request):
    """The same after a long text that is the same for all."""
    text = "These words are the same for every row of the stage. " * 12 + request.messages[0].content
    return replace(request, messages=(Message("user", text),))


def answers(engine, requests):
    return dict(engine.stream(requests))


def texts(replies):
    return {number: (reply.text, reply.finish_reason, reply.completion_tokens) for number, reply in replies.items()}


@pytest.fixture(scope="module")
def engine(tiny_llama):
    engine = TransformersEngine(str(tiny_llama), device="cpu")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def story_engine(tmp_path_factory):
    if not (STORIES / "config.json").exists():
        pytest.skip(f"needs the model stories260K; none in {MODELS} (set TAGEVOL_TEST_MODELS)")
    template = tmp_path_factory.mktemp("template") / "plain.jinja"
    template.write_text("{{ bos_token }}{{ messages[-1].content }}")
    engine = TransformersEngine(str(STORIES), chat_template=template, device="cpu")
    yield engine
    engine.close()


# Without loading


def test_making_the_engine_loads_nothing_and_names_the_content(tiny_llama):
    engine = TransformersEngine.from_spec(f"{tiny_llama}?dtype=float32&max_batch_size=4&device=cpu")
    name, digest = engine.identity.split("@")
    assert name == "tiny-llama"
    assert digest.endswith("+transformers")
    assert engine._running is None
    assert answers(engine, []) == {}
    assert engine._running is None
    assert pickle.loads(pickle.dumps(engine)).identity == engine.identity


def test_the_identity_names_what_changes_answers(tmp_path):
    assert TransformersEngine.from_spec("org/m?revision=abc&max_batch_size=3").identity == "org/m@abc+transformers"
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages[0].content }}")
    first = TransformersEngine("org/m", chat_template=template).identity
    assert first.startswith("org/m+transformers+template=")
    template.write_text("{{ messages[-1].content }}")
    assert TransformersEngine("org/m", chat_template=template).identity != first


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "no model is named; expected transformers:MODEL"),
        ("/no/such/model", r"model '/no/such/model': there is no such folder"),
        ("org/m?max_batchsize=4", r"'max_batchsize' is not an option; did you mean \"max_batch_size\"\?"),
        ("org/m?max_batch_size=0", "max_batch_size is '0'; expected a positive int"),
        ("org/m?max_model_len=many", "max_model_len is 'many'; expected a positive int"),
        ("org/m?dtype=float8", "dtype is 'float8'; expected one of auto, float32, bfloat16, float16"),
        ("org/m?chat_template=/no/file", "chat_template '/no/file': no such file"),
        ("org/m?lora=/no/folder", "lora '/no/folder': no adapter_config.json in this folder"),
    ],
)
def test_wrong_specs(rest, message):
    with pytest.raises(EngineError, match=message) as caught:
        TransformersEngine.from_spec(rest)
    assert "\n" not in str(caught.value)


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # what an import then finds is as if it were not installed
from tagevol_hf.engines.base import Message, Request
from tagevol_hf.engines.transformers import TransformersEngine
engine = TransformersEngine.from_spec(sys.argv[2] + "?device=cpu")
try:
    print(list(engine.stream([Request((Message("user", "x"),), schema={"type": "integer"})])))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("library", ["torch", "transformers", "llguidance"])
def test_a_library_that_is_not_installed(library, tiny_llama):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, library, str(tiny_llama)], capture_output=True, text=True, timeout=120
    )
    told = f"{library} is not installed; install it with: pip install 'tagevol_hf[transformers]'"
    assert done.stdout.strip() == f"MissingExtraError {told}", done.stderr[-2000:]


# Models that cannot be used


def _broken(tiny_llama, folder, name, content):
    shutil.copytree(tiny_llama, folder)
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_broken_file_is_told_in_one_line(tiny_llama, tmp_path, name):
    folder = _broken(tiny_llama, tmp_path / "broken", name, b"{this is cut")
    with pytest.raises(EngineError, match=r"transformers:.*broken: the model cannot be loaded: ") as caught:
        answers(TransformersEngine(str(folder)), [question(0)])
    assert "\n" not in str(caught.value)


def test_a_model_that_the_hub_does_not_give_is_told_with_the_way_on():
    with pytest.raises(EngineError, match=r"transformers:nobody/no-such-model: the model cannot be loaded: ") as caught:
        answers(TransformersEngine("nobody/no-such-model"), [question(0)])
    assert "\n" not in str(caught.value)
    assert "; the model cannot be found: is its name right" in str(caught.value)


def test_weights_that_are_missing_are_not_made_up(tiny_llama, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_llama, tmp_path / "partial")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"1 weights are not in the model's files, such as model.layers.1.mlp.up"):
        answers(TransformersEngine(str(folder)), [question(0)])


def test_a_model_without_a_chat_template(tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(EngineError, match="the model's tokenizer has no chat template; give one as a Jinja file"):
        answers(TransformersEngine(str(folder)), [question(0)])


def test_a_model_that_keeps_no_keys_and_values(tiny_llama, tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    folder = shutil.copytree(tiny_llama, tmp_path / "mamba")
    MambaForCausalLM(MambaConfig(vocab_size=512, hidden_size=32, num_hidden_layers=1)).save_pretrained(folder)
    with pytest.raises(EngineError, match=r"this kind of model \(MambaForCausalLM\) does not keep keys and values"):
        answers(TransformersEngine(str(folder)), [question(0)])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("max_model_len=9000", "max_model_len is 9000; the model's context has 4096 tokens"),
        ("device=no-device", "device='no-device' cannot be used: "),
    ],
)
def test_options_that_do_not_fit_the_machine_or_the_model(tiny_llama, option, message):
    with pytest.raises(EngineError, match=message):
        answers(TransformersEngine.from_spec(f"{tiny_llama}?{option}"), [question(0)])


def test_logits_that_are_not_numbers(tiny_llama, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_llama, tmp_path / "nan")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] *= float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"the logits are not numbers: .* give another dtype, such as dtype=bfloat16"):
        answers(TransformersEngine(str(folder)), [question(0)])


# Replies


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral"])
def test_every_reply_fits_its_schema(architecture, tmp_path):
    model = make_tiny_model(tmp_path / architecture, architecture, ["tag the instruction as JSON"], vocab_size=512)
    engine = TransformersEngine(str(model), device="cpu")
    replies = answers(engine, (question(n, Sampling(1.0, 1.0, 400), SCHEMA) for n in range(64)))
    assert sorted(replies) == list(range(64))
    for reply in replies.values():
        assert reply.finish_reason == "stop"
        CHECK.validate(json.loads(reply.text))
        assert reply.text.startswith('{"tags":["')  # no white space between the parts
        assert reply.prompt_tokens > 10
        assert reply.completion_tokens > 10
    assert len({reply.text for reply in replies.values()}) == 64


def test_a_greedy_model_ends_its_json(engine):
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    reply = answers(engine, [question(0, schema=schema)])[0]
    assert json.loads(reply.text) in ({"n": 1}, {"n": 2})
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_a_reply_does_not_depend_on_those_beside_it(engine, tiny_llama, batch_size):
    expected = texts(answers(engine, map(asked, range(40))))
    other = TransformersEngine(str(tiny_llama), device="cpu", max_batch_size=batch_size)
    order = list(range(40))[::-1] if batch_size == 16 else [n * 7 % 40 for n in range(40)]
    replies = texts(answers(other, map(asked, order)))
    assert {number: replies[place] for place, number in enumerate(order)} == expected


def test_the_same_seed_gives_the_same_text_and_another_one_another(engine):
    request = question(5, DRAWN)
    seeds = [1, 2, 1, None, None]
    replies = answers(engine, [replace(request, sampling=replace(DRAWN, seed=seed)) for seed in seeds])
    assert replies[0].text == replies[2].text != replies[1].text
    assert replies[3].text == replies[4].text
    again = [replace(request, sampling=DRAWN, draw=draw) for draw in range(4)]
    assert len({reply.text for reply in answers(engine, again).values()}) == 4


def test_a_small_nucleus_is_greedy_and_draws_follow_the_probabilities():
    torch = pytest.importorskip("torch")
    from tagevol_hf.engines.transformers_sampling import Drawing, next_tokens

    shares = torch.tensor([0.5, 0.3, 0.15, 0.05])
    for top_p, kept in ((1.0, 4), (0.9, 3), (0.79, 2), (0.3, 1)):
        drawings = [Drawing(1.0, top_p, seed) for seed in range(4000)]
        tokens = next_tokens(shares.log().expand(4000, -1).clone(), drawings, [7] * 4000)
        counts = torch.bincount(torch.tensor(tokens), minlength=4) / 4000
        expected = torch.where(torch.arange(4) < kept, shares, 0.0) / shares[:kept].sum()
        assert (counts - expected).abs().max() < 0.03, (top_p, counts)


def test_a_vocabulary_that_is_larger_than_the_first_look_at_the_nucleus():
    torch = pytest.importorskip("torch")
    from tagevol_hf.engines.transformers_sampling import Drawing, next_tokens

    flat = torch.zeros(300, 1000)
    flat[:, :900] = 1.0  # the likeliest 900 tokens hold 96 %, far more than are looked at first
    tokens = next_tokens(flat, [Drawing(1.0, 0.95, seed) for seed in range(300)], [0] * 300)
    assert max(tokens) < 900
    assert len(set(tokens)) > 200


def test_greedy_text_of_a_trained_model_is_that_of_generate(story_engine):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(STORIES)
    model = AutoModelForCausalLM.from_pretrained(STORIES, dtype=torch.float32)
    story = "Once upon a time there was a little girl named Lily who liked to play outside in the park"
    starts = [story[: 9 + 5 * n] for n in range(16)]
    requests = [Request((Message("user", start),), Sampling(max_tokens=100 + n)) for n, start in enumerate(starts)]
    replies = answers(story_engine, requests)
    for number, start in enumerate(starts):
        tokens = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(start, add_special_tokens=False)]])
        longest = min(100 + number, 512 - tokens.shape[1])
        written = model.generate(tokens, max_new_tokens=longest, do_sample=False)[0, tokens.shape[1] :]
        assert replies[number].text == tokenizer.decode(written, skip_special_tokens=True)
        assert replies[number].completion_tokens == len(written)


def test_a_window_that_is_shorter_than_the_prompt(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    model = make_tiny_model(tmp_path / "mistral", "mistral", ["tag the instruction"], vocab_size=512)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "sliding_window": 16}))
    engine = TransformersEngine(str(model), device="cpu", max_batch_size=4)
    replies = answers(engine, map(question, range(12)))
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    assert plain.config.sliding_window == 16
    for number, reply in replies.items():
        tokens = torch.tensor([engine._running.model.tokens(question(number))])
        written = plain.generate(tokens, max_new_tokens=40, do_sample=False)[0, tokens.shape[1] :]
        assert reply.text == engine._running.model.tokenizer.decode(written, skip_special_tokens=True)


@pytest.mark.slow
def test_greedy_replies_are_those_of_vllm(engine, vllm_engine):
    requests = [question(n, GREEDY, SCHEMA if n % 2 else None) for n in range(16)]
    ours, theirs = answers(engine, requests), answers(vllm_engine, requests)
    assert {n: reply.text for n, reply in ours.items()} == {n: reply.text for n, reply in theirs.items()}


def test_several_turns_and_any_character(engine):
    turns = (
        Message("user", "Grüße 😀 \u200f שלום \x00 <|im_end|>"),
        Message("assistant", "日本"),
        Message("user", "ok"),
    )
    replies = answers(engine, [Request(turns, GREEDY), Request(turns[:1], GREEDY)])
    assert replies[0].prompt_tokens > replies[1].prompt_tokens > 10
    assert {reply.finish_reason for reply in replies.values()} <= {"stop", "length"}


def test_a_reply_that_is_cut_off_says_so(engine):
    replies = answers(engine, [question(0, replace(DRAWN, max_tokens=4), schema) for schema in (None, SCHEMA)])
    assert [(reply.finish_reason, reply.completion_tokens) for reply in replies.values()] == [("length", 4)] * 2


def test_the_context_ends_a_reply(tiny_llama):
    engine = TransformersEngine.from_spec(f"{tiny_llama}?device=cpu&max_model_len=64")
    reply = answers(engine, [question(0, replace(GREEDY, max_tokens=5000))])[0]
    assert (reply.finish_reason, reply.prompt_tokens + reply.completion_tokens) == ("length", 64)


# Bad requests


def test_bad_requests_fail_alone(engine):
    long = Request((Message("user", "x1 " * 5_000),), GREEDY)
    bad = [
        long,
        question(1, schema={"type": "nothing"}),
        question(2, schema={"type": "string", "pattern": "(?=a)b"}),
        question(3, schema={"not": {"type": "string"}}),
        question(4, schema={"const": {1, 2}}),
        question(5, replace(GREEDY, max_tokens=0)),
        question(6, replace(DRAWN, temperature=-1.0)),
        question(7, replace(DRAWN, top_p=0.0)),
        Request((Message("user", "half a pair: \ud83d"),), GREEDY),
    ]
    replies = answers(engine, [question(0), *bad, question(2)])
    assert replies[1].reason == "prompt_too_long"
    assert replies[1].detail.endswith("tokens; the model's context has 4096")
    refused = [replies[number] for number in range(2, 10)]
    assert {reply.reason for reply in refused} == {"refused_request"}
    assert refused[0].detail == "Invalid type: nothing"
    assert "look-around" in refused[1].detail
    assert refused[4].detail == "max_tokens must be at least 1, got 0"
    assert not any("\n" in reply.detail for reply in refused)
    assert [replies[number].reason for number in (0, 10)] == ["", ""]


def test_a_template_that_takes_no_system_turn(tiny_llama, tmp_path):
    template = tmp_path / "own.jinja"
    template.write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}"
        "{{ messages[0].content }}"
    )
    engine = TransformersEngine(str(tiny_llama), chat_template=template, device="cpu")
    requests = [
        Request((Message(role, text),), GREEDY) for role, text in (("system", "a"), ("user", "a"), ("user", ""))
    ]
    replies = answers(engine, requests)
    assert replies[0].reason == "refused_request"
    assert replies[0].detail == "the chat template refused the messages: no system turn here"
    assert (replies[1].reason, replies[1].prompt_tokens) == ("", 1)
    assert replies[2].detail == "the chat template made an empty prompt"


# The flow


def test_requests_are_pulled_lazily_and_nothing_is_written_after_closing(tiny_llama, monkeypatch):
    from tagevol_hf.engines.transformers_model import LoadedModel

    engine = TransformersEngine(str(tiny_llama), device="cpu", max_batch_size=6)
    pulled, calls, logits = [], [], LoadedModel.logits
    monkeypatch.setattr(LoadedModel, "logits", lambda *given: calls.append(1) or logits(*given))

    def source():
        for number in range(100):
            pulled.append(number)
            yield question(number, replace(GREEDY, max_tokens=3 if number == 3 else 300))

    stream = engine.stream(source())
    assert (pulled, engine._running) == ([], None)
    assert next(stream)[0] == 3
    assert pulled == list(range(6))
    before = len(calls)
    stream.close()
    assert len(calls) == before
    assert answers(engine, [question(0)])[0].completion_tokens > 0


def test_a_source_that_pauses(engine):
    """Retries come while others run; a pause with nothing in flight gives an empty group."""
    seen = []

    def source():
        yield None
        yield question(0, replace(GREEDY, max_tokens=2))
        yield question(1, replace(GREEDY, max_tokens=30))
        yield None
        while 0 not in seen:
            yield None
        yield question(2, replace(GREEDY, max_tokens=2))
        while len(seen) < 3:
            yield None
        yield None

    groups = []
    for group in engine.arrivals(source()):
        groups.append([number for number, _ in group])
        seen.extend(groups[-1])
    assert groups == [[], [0], [2], [1], []]


def test_each_request_is_answered_while_the_source_waits_for_it(engine):
    answered = []

    def source():
        for number in range(5):
            yield question(number, replace(GREEDY, max_tokens=3))
            while number not in answered:
                yield None

    for group in engine.arrivals(source()):
        answered.extend(number for number, _ in group)
    assert answered == list(range(5))


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_a_start_that_prompts_share_is_read_once_and_changes_no_reply(tiny_llama, batch_size, monkeypatch):
    from tagevol_hf.engines import transformers_prefix
    from tagevol_hf.engines.transformers_model import LoadedModel

    def requests():
        return [asked(number) if number % 6 == 5 else with_start(asked(number)) for number in range(24)]

    engine = TransformersEngine(str(tiny_llama), device="cpu", max_batch_size=batch_size)
    read, logits = [], LoadedModel.logits
    monkeypatch.setattr(LoadedModel, "logits", lambda *given: read.append(given[1].numel()) or logits(*given))
    replies, columns = answers(engine, requests()), sum(read)
    read.clear()
    monkeypatch.setattr(transformers_prefix, "_WORTH_IT", 10**6)
    plain = answers(engine, requests())
    assert texts(replies) == texts(plain)
    cached = [replies[number].cached_tokens for number in range(24) if number % 6 != 5]
    assert sum(count > 100 for count in cached) >= len(cached) - 2
    assert all(reply.cached_tokens < reply.prompt_tokens for reply in replies.values())
    assert {reply.cached_tokens for reply in plain.values()} == {0}
    assert columns < sum(read) - 100 * 15


def test_short_replies_do_not_wait_for_long_ones(engine, tiny_llama):
    engine = TransformersEngine(str(tiny_llama), device="cpu", max_batch_size=4)
    lengths = [200, *([5] * 30)]
    order = [n for n, _ in engine.stream(question(0, replace(GREEDY, max_tokens=length)) for length in lengths)]
    assert sorted(order) == list(range(31))
    assert order.index(0) > 20


def test_two_streams_at_once_keep_their_own_replies(engine):
    whole = [texts(answers(engine, map(asked, numbers))) for numbers in (range(5), range(5, 10))]
    streams = [engine.stream(map(asked, numbers)) for numbers in (range(5), range(5, 10))]
    mixed = [{}, {}]
    for _ in range(5):
        for stream, found in zip(streams, mixed, strict=True):
            number, reply = next(stream)
            found[number] = reply
    assert [texts(found) for found in mixed] == whole


def test_close_frees_the_model_and_a_later_stream_loads_it_again(tiny_llama):
    import weakref

    engine = TransformersEngine(str(tiny_llama), device="cpu")
    first = answers(engine, [asked(3)])
    left = weakref.ref(engine._running.model._model)
    stream = engine.stream([asked(3), question(1, replace(GREEDY, max_tokens=4000))])
    next(stream)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="the engine was closed while it was answering"):
        list(stream)
    assert left() is None
    assert texts(answers(engine, [asked(3)])) == texts(first)


def test_threads_of_torch_are_left_alone(engine):
    import torch

    before = torch.get_num_threads()
    answers(engine, [asked(3)])
    assert torch.get_num_threads() == before


# Memory


def _with_room_for(monkeypatch, rows, error):
    from tagevol_hf.engines.transformers_model import LoadedModel

    sizes, logits = [], LoadedModel.logits

    def limited(model, tokens, *others):
        sizes.append(len(tokens))
        found = logits(model, tokens, *others)  # the fault comes when the cache has grown already
        if len(tokens) > rows:
            raise error
        return found

    monkeypatch.setattr(LoadedModel, "logits", limited)
    return sizes


@pytest.mark.parametrize("rows", [1, 5])
def test_a_full_memory_makes_the_batch_smaller_and_changes_no_reply(engine, tiny_llama, monkeypatch, rows):
    import torch

    requests = [with_start(asked(number)) if number % 2 else asked(number) for number in range(24)]
    expected = texts(answers(engine, requests))
    sizes = _with_room_for(monkeypatch, rows, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    small = TransformersEngine(str(tiny_llama), device="cpu", max_batch_size=16)
    assert texts(answers(small, requests)) == expected
    assert len([size for size in sizes if size > rows]) <= 4  # 16, 8, 4, 2


def test_a_memory_that_is_too_small_for_one_request(tiny_llama, monkeypatch):
    _with_room_for(monkeypatch, 0, RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    engine = TransformersEngine(str(tiny_llama), device="cpu")
    with pytest.raises(EngineError, match=r"the memory of cpu does not do for one request .* give a smaller max_mod"):
        answers(engine, map(question, range(3)))


def test_a_model_that_fails(tiny_llama, monkeypatch):
    _with_room_for(monkeypatch, 0, RuntimeError("the size of tensor a\nmust match"))
    with pytest.raises(EngineError, match="the model failed: the size of tensor a must match"):
        answers(TransformersEngine(str(tiny_llama), device="cpu"), [question(0)])


# An adapter, a GPU


def test_an_adapter_changes_replies_and_the_identity(engine, tiny_llama, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), config).save_pretrained(tmp_path / "adapter")
    tuned = TransformersEngine.from_spec(f"{tiny_llama}?device=cpu&lora={tmp_path}/adapter")
    assert tuned.identity.startswith(f"{engine.identity}+lora=")
    assert texts(answers(tuned, [asked(0)])) != texts(answers(engine, [asked(0)]))
    assert pickle.loads(pickle.dumps(tuned)).identity == tuned.identity
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(EngineError, match=r"lora .*adapter': the adapter cannot be used: "):
        answers(TransformersEngine(str(tiny_llama), device="cpu", lora=tmp_path / "adapter"), [asked(0)])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_gpu(engine, tiny_llama, dtype):
    """In float32 the greedy replies are those of the CPU; in any type schemas are kept, and close frees the memory."""
    import torch

    gpu = TransformersEngine(str(tiny_llama), dtype=dtype)
    before = torch.cuda.memory_allocated()
    replies = answers(gpu, (question(n, Sampling(1.0, 0.9, 400), SCHEMA) for n in range(64)))
    assert gpu._running.model.device.type == "cuda"
    for reply in replies.values():
        CHECK.validate(json.loads(reply.text))
    if dtype == "float32":
        requests = [question(n) for n in range(8)]
        assert texts(answers(gpu, requests)) == texts(answers(engine, requests))
    gpu.close()
    assert torch.cuda.memory_allocated() <= before
