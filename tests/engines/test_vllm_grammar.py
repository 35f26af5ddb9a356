"""A grammar is compiled once a schema: the kept grammars by themselves, and inside real vLLM on CPU."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import stand_in_vllm

from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.builtin import BuiltinEngine
from tagevol_hf.engines.vllm import VLLMEngine
from tagevol_hf.engines.vllm_grammar import GrammarKeepingScheduler, KeptGrammars, keep_grammars
from tagevol_hf.evolve.auto_evol import AutoEvol
from tagevol_hf.evolve.eliminate import EqualityJudge
from tagevol_hf.evolve.evol_instruct import EvolInstruct
from tagevol_hf.evolve.optimizer import MethodOptimizer, TrajectoryAnalyst
from tagevol_hf.evolve.review import TagReview
from tagevol_hf.evolve.tag_evol import TagEvol
from tagevol_hf.evolve.variants import FromScratch, GivenTags
from tagevol_hf.selection.compare import Comparer
from tagevol_hf.tags.taggers import AspectFiller, AspectNamer, AspectTagger, OpenTagger

slow = pytest.mark.slow


@dataclass
class Matcher:
    """Stands for llguidance's: copies share what they learned, and what has gone wrong."""

    shared: dict = field(default_factory=dict)
    tokens: list = field(default_factory=list)

    def deep_copy(self):
        return Matcher(self.shared, list(self.tokens))

    def compute_bitmask(self):
        self.failed = self.shared.get("too many states", False)

    def is_error(self):
        return self.failed


@dataclass
class Grammar:
    ll_matcher: Matcher
    terminated: bool = False


class Compiler:
    """Stands for a back end's `compile_grammar`."""

    def __init__(self):
        self.asked = []

    def __call__(self, kind, spec, stop_token_ids=None):
        self.asked.append(spec)
        time.sleep(0.002)
        if spec == "bad":
            raise ValueError("no such type")
        return Grammar(Matcher())


# By themselves


def test_a_schema_is_compiled_once_and_each_request_has_a_grammar_of_its_own():
    compiler = Compiler()
    kept = KeptGrammars(compiler)
    given = [kept("json", spec, stop_token_ids={2}) for spec in "abaabb"]
    assert compiler.asked == ["a", "b"]
    assert (kept.compiled, kept.given) == (2, 6)
    given[0].ll_matcher.tokens.append(7)
    given[0].terminated = True
    after = kept("json", "a", stop_token_ids={2})
    assert (after.ll_matcher.tokens, after.terminated) == ([], False)
    assert after.ll_matcher.shared is given[0].ll_matcher.shared is not given[1].ll_matcher.shared


def test_many_threads_compile_a_schema_once():
    compiler = Compiler()
    kept = KeptGrammars(compiler)
    start = threading.Barrier(8, timeout=10)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(lambda spec: (start.wait(), kept("json", spec)), spec) for spec in "abcdabcd"]
        given = [one.result(10)[1] for one in asked]
    assert sorted(compiler.asked) == ["a", "b", "c", "d"]
    assert len({id(grammar.ll_matcher) for grammar in given}) == 8


def test_threads_that_fill_masks_have_a_lexer_each():
    compiler = Compiler()
    kept = KeptGrammars(compiler, threads=3)
    given = [kept("json", "a") for _ in range(30)]
    assert len(compiler.asked) == 3
    assert len({id(grammar.ll_matcher.shared) for grammar in given}) == 3


def test_what_differs_in_any_argument_is_compiled_apart():
    compiler = Compiler()
    kept = KeptGrammars(compiler)
    for kind, stop in (("json", {1}), ("json", {2}), ("regex", {1}), ("json", {1})):
        kept(kind, "a", stop_token_ids=stop)
    assert kept.compiled == 3


def test_a_lexer_that_met_a_limit_is_not_given_again():
    compiler = Compiler()
    kept = KeptGrammars(compiler)
    kept("json", "a").ll_matcher.shared["too many states"] = True
    again = kept("json", "a")
    assert not again.ll_matcher.shared
    assert (kept.compiled, kept.given) == (2, 2)
    kept("json", "a")
    assert kept.compiled == 2


def test_a_schema_that_cannot_be_compiled_fails_each_time_and_is_not_counted():
    kept = KeptGrammars(Compiler())
    for _ in range(2):
        with pytest.raises(ValueError, match="no such type"):
            kept("json", "bad")
    assert (kept.compiled, kept.given) == (0, 2)


def test_a_grammar_that_cannot_be_copied_is_passed_on():
    made = []
    kept = KeptGrammars(lambda *arguments: made.append(object()) or made[-1])
    assert [kept("json", "a"), kept("json", "a")] == made
    assert kept.compiled == 2


def test_many_schemas_are_not_kept_for_ever():
    kept = KeptGrammars(Compiler())
    for number in range(150):
        kept("json", str(number))
    assert len(kept._grammars) <= 64


# In vLLM's parts


class GuidanceBackend:
    def __init__(self):
        self.compile_grammar = Compiler()


class XgrammarBackend(GuidanceBackend):
    pass


class Manager:
    """Stands for vLLM's `StructuredOutputManager`, which makes its back end at the first request."""

    def __init__(self, backend):
        self.backend, self._made = None, backend

    def grammar_init(self, spec):
        if self.backend is None:
            self.backend = self._made()
        return self.backend.compile_grammar("json", spec)


def test_only_the_guidance_back_end_is_changed_and_only_in_this_manager():
    manager, other, untouched = Manager(GuidanceBackend), Manager(XgrammarBackend), Manager(GuidanceBackend)
    keep_grammars(manager)
    keep_grammars(other)
    assert manager.backend is None
    for each in (manager, other, untouched):
        for _ in range(5):
            each.grammar_init("a")
    assert (manager.kept_grammars.compiled, manager.kept_grammars.given) == (1, 5)
    assert other.kept_grammars is None
    assert len(other.backend.compile_grammar.asked) == len(untouched.backend.compile_grammar.asked) == 5


@dataclass
class SchedulerConfig:
    """Stands for vLLM's."""

    manager: object
    scheduler_cls: object = GrammarKeepingScheduler

    def get_scheduler_cls(self):
        assert self.scheduler_cls is None
        return Scheduler


class Scheduler:
    def __init__(self, vllm_config, structured_output_manager, *, log_stats):
        self.vllm_config, self.log_stats = vllm_config, log_stats
        self.structured_output_manager = structured_output_manager


@dataclass
class Config:
    scheduler_config: SchedulerConfig


class Closed:
    __slots__ = ()


@pytest.mark.parametrize(("manager", "told"), [(Manager(GuidanceBackend), False), (Closed(), True)])
def test_the_scheduler_is_vllms_own_whatever_its_parts_are_like(caplog, manager, told):
    config = Config(SchedulerConfig(manager))
    with caplog.at_level(logging.DEBUG, "vllm.tagevol_hf"):
        made = GrammarKeepingScheduler(config, manager, log_stats=True)
    assert type(made) is Scheduler
    assert (made.vllm_config, made.structured_output_manager, made.log_stats) == (config, manager, True)
    assert config.scheduler_config.scheduler_cls is GrammarKeepingScheduler
    assert ("a grammar is compiled for every request" in caplog.text) == told


@pytest.mark.parametrize("version", ["0.10.2", "0.33.0"])
def test_a_vllm_with_other_parts_is_used_as_it_is(monkeypatch, version, caplog):
    seen = stand_in_vllm.install(monkeypatch, version)  # it has no SchedulerConfig
    engine = VLLMEngine("org/m")
    assert engine.compiled_grammars is None
    with caplog.at_level(logging.DEBUG, "tagevol_hf"):
        replies = dict(engine.stream([Request((Message("user", "q"),), Sampling(), {"type": "object"})] * 3))
    assert [reply.reason for reply in replies.values()] == [""] * 3
    assert getattr(seen.engine_args[0], "scheduler_cls", None) is None
    assert engine.compiled_grammars is None
    assert "this vLLM compiles a grammar for every request" in caplog.text


# With the real llguidance and the real vLLM

ROW = {
    "id": "s0",
    "instruction": "Sort a list.",
    "input": "",
    "seed_instruction": "Sort a list.",
    "seed_tags": ["sorting"],
    "chosen_tags": ["tag 1", "tag 2"],
    "candidates": [f"tag {number}" for number in range(21)],
    "aspect_names": ["topic", "form", "result"],
}
STAGES = [
    *(AspectTagger, AspectNamer, AspectFiller, OpenTagger, Comparer),
    *(TagEvol, FromScratch, GivenTags, TagReview),
    *(EvolInstruct, AutoEvol, EqualityJudge, TrajectoryAnalyst, MethodOptimizer),
]


def question(schema, number=0, max_tokens=1):
    return Request((Message("user", f"Question {number}."),), Sampling(1.0, 1.0, max_tokens, number), schema)


@slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_stages_schema_is_compiled_by_vllm(vllm_engine, stage):
    made = stage(BuiltinEngine())
    rows = [{**ROW, "budget": budget} for budget in range(1, 8)]
    replies = dict(vllm_engine.stream(question(made.schema_for(row), place) for place, row in enumerate(rows)))
    assert [(replies[place].reason, replies[place].completion_tokens) for place in range(7)] == [("", 1)] * 7
    assert all(replies[place].text == "{" or replies[place].text.startswith('{"') for place in range(7))


@slow
def test_who_gets_the_scheduler_that_keeps_grammars(tiny_llama):
    pytest.importorskip("vllm", reason="vLLM is not installed")
    from tagevol_hf.engines.vllm_options import engine_args

    assert engine_args(str(tiny_llama), {}, "guidance").scheduler_cls is GrammarKeepingScheduler
    assert engine_args(str(tiny_llama), {}, "xgrammar").scheduler_cls is None  # it keeps its own
    own = {"scheduler_cls": "vllm.v1.core.sched.scheduler.Scheduler"}
    assert engine_args(str(tiny_llama), own, "guidance").scheduler_cls == own["scheduler_cls"]


def boxed(width):
    return {"type": "object", "properties": {"box": {"type": "string", "minLength": width, "maxLength": width}}}


@slow
def test_the_engine_counts_and_replies_are_those_of_grammars_compiled_for_each(vllm_engine, monkeypatch):
    requests = [question(boxed(20 + n % 3), n, 60) for n in range(24)]
    before = vllm_engine.compiled_grammars or 0
    replies = dict(vllm_engine.stream(requests))
    assert vllm_engine.compiled_grammars - before == 3
    manager = vllm_engine._running._engine.engine_core.engine_core.structured_output_manager
    asked = []
    own = manager.kept_grammars._compile
    monkeypatch.setattr(
        manager.backend, "compile_grammar", lambda *given, **named: asked.append(1) or own(*given, **named)
    )
    expected = dict(vllm_engine.stream(requests))
    assert len(asked) == 24
    assert {n: reply.text for n, reply in replies.items()} == {n: reply.text for n, reply in expected.items()}


@slow
def test_a_real_lexer_that_met_its_limit_is_compiled_again(tiny_llama):
    pytest.importorskip("llguidance", reason="llguidance is not installed")
    import llguidance
    import llguidance.hf
    from transformers import AutoTokenizer

    chat = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer = llguidance.hf.from_tokenizer(chat)
    few = llguidance.LLParserLimits(max_lexer_states=300)
    kept = KeptGrammars(lambda schema: Grammar(llguidance.LLMatcher(tokenizer, schema, log_level=0, limits=few)))
    schema = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(boxed(400)), {"whitespace_flexible": False})
    first, second = kept(schema).ll_matcher, kept(schema).ll_matcher
    for token in chat.encode('{"box":"' + "tide " * 80, add_special_tokens=False):
        first.compute_bitmask()
        if not first.consume_token(token):
            break
    assert "too many states" in first.get_error()
    second.compute_bitmask()
    assert second.is_error()  # the others with this lexer are lost with it; the next is not
    third = kept(schema).ll_matcher
    third.compute_bitmask()
    assert not third.is_error()
    assert (kept.compiled, kept.given) == (2, 3)


APART = """
import sys
from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.vllm import VLLMEngine

def schema(width):
    return {"type": "object", "properties": {"box": {"type": "string", "maxLength": width}}}

if __name__ == "__main__":
    engine = VLLMEngine.from_spec(sys.argv[1] + "?dtype=float32&enforce_eager=true&max_model_len=512&max_num_seqs=8")
    requests = (Request((Message("user", f"q {n}"),), Sampling(1.0, 1.0, 20, n), schema(10 + n % 2)) for n in range(30))
    print("replies", sum(reply.reason == "" for _, reply in engine.stream(requests)), engine.compiled_grammars)
    engine.close()
"""


@slow
def test_a_core_in_a_process_of_its_own_tells_in_its_log(tiny_llama, tmp_path):
    pytest.importorskip("vllm", reason="vLLM is not installed")
    script = tmp_path / "apart.py"
    script.write_text(APART)
    done = subprocess.run(
        [sys.executable, str(script), str(tiny_llama)],
        env={
            **os.environ,
            "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
            "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
            "VLLM_LOGGING_LEVEL": "INFO",
            "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH", "")])),
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    said = done.stdout + done.stderr
    assert "replies 30 None" in done.stdout, said[-3000:]
    told = [line for line in said.splitlines() if "compiled a grammar" in line]
    assert len(told) == 2, told
    assert all("EngineCore" in line for line in told)
    assert "Using custom scheduler class" not in said
