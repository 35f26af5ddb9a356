"""Tag-Evol through real vLLM on CPU: every variant and budget, one grammar a schema, and what the prefix cache counts.

The model is tiny and random, made in the test.
"""

import json
from collections import Counter

import pytest
from datasets import Dataset, Features, List, Value
from recording import RecordingEngine

from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.evolve.tag_evol import draw_candidates
from tagevol_hf.evolve.variants import VARIANTS
from tagevol_hf.rows import ROW_FEATURES, split_rejected
from tagevol_hf.tags.pool import TagPool

pytestmark = pytest.mark.slow

BUDGETS = list(range(1, 8))
SEEDS = ["Sort a list of numbers.", "Plan a trip to the coast.", "Explain why tides follow the moon."]
OWN = ["sorting", "travel", "astronomy"]
POOL = TagPool({name: {"aspect": 1} for name in [*OWN, *(f"tag {number:02d}" for number in range(30))]})
BLOCK = 128  # tokens, vLLM's on a CPU


def seeds():
    rows = [
        {"id": f"s{place}", "instruction": text, "input": "", "response": "", "history": [], "rejection": None}
        for place, text in enumerate(SEEDS)
    ]
    tagged = [{**row, "tags": [own]} for row, own in zip(rows, OWN, strict=True)]
    return Dataset.from_list(tagged, features=Features({**ROW_FEATURES, "tags": List(Value("string"))}))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_accepted_row_has_its_budget_and_a_schema_is_compiled_once(vllm_engine, variant):
    engine = RecordingEngine(vllm_engine)
    drawn = draw_candidates(seeds(), POOL, BUDGETS, variant=variant)
    # A length of its own, so that no other test has had these schemas compiled.
    stage = VARIANTS[variant](engine, max_chars=60 + list(VARIANTS).index(variant), attempts=12, max_tokens=1600)
    before = vllm_engine.compiled_grammars or 0
    evolved, lost = split_rejected(stage.apply(drawn))
    assert len(evolved) + len(lost) == len(drawn) == len(SEEDS) * len(BUDGETS)
    accepted = Counter(evolved["budget"])
    assert set(accepted) == set(BUDGETS), lost["rejection"]
    for row in evolved:
        assert len(row["chosen_tags"]) == len(set(row["chosen_tags"])) == row["budget"]
        assert set(row["chosen_tags"]) <= set(row["candidates"])
        assert not set(row["chosen_tags"]) & set(row["seed_tags"])
    schemas = {json.dumps(request.schema) for request, _ in engine.seen}
    assert len(schemas) <= len(BUDGETS) < len(drawn) <= len(engine.seen)
    assert vllm_engine.compiled_grammars - before == len(schemas)
    assert {reply.reason for _, reply in engine.seen} == {""}


@pytest.fixture
def cache_counts(vllm_engine, monkeypatch):
    """vLLM's own counters of its prefix cache, which it keeps only where it logs them."""
    from vllm.v1.metrics.stats import PrefixCacheStats

    next(vllm_engine.stream([Request((Message("user", "hello"),), Sampling(max_tokens=1))]))  # loads the model
    cache = vllm_engine._running._engine.engine_core.engine_core.scheduler.kv_cache_manager
    monkeypatch.setattr(cache, "log_stats", True)
    monkeypatch.setattr(cache, "prefix_cache_stats", PrefixCacheStats())
    return lambda: cache.prefix_cache_stats


def chat_tokens(tokenizer, request):
    turns = [{"role": message.role, "content": message.content} for message in request.messages]
    return tokenizer.apply_chat_template(turns, tokenize=True, add_generation_prompt=True, return_dict=False)


def test_the_shared_part_of_a_budget_comes_from_vllms_prefix_cache(vllm_engine, cache_counts, tiny_llama):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    engine = RecordingEngine(vllm_engine)
    stage = VARIANTS["paper"](engine, max_chars=40, attempts=1, max_tokens=200)
    hits = queries = 0
    for budget in (1, 3, 5):
        engine.seen.clear()
        stage.apply(draw_candidates(seeds(), POOL, [budget]))
        prompts = [chat_tokens(tokenizer, request) for request, _ in engine.seen]
        shared = next(place for place, tokens in enumerate(zip(*prompts, strict=False)) if len(set(tokens)) > 1)
        whole = chat_tokens(tokenizer, engine.seen[0][0])
        own = len(tokenizer(engine.seen[0][0].messages[0].content.partition("<instruction>")[2]).input_ids)
        assert shared >= 0.85 * (len(whole) - own - 20)  # 20: the template's own last words
        assert shared >= 2 * BLOCK
        served = sorted(reply.cached_tokens for _, reply in engine.seen)
        assert served[1] >= shared // BLOCK * BLOCK  # all but the first
        hits += sum(served)
        queries += sum(map(len, prompts))
    assert (cache_counts().hits, cache_counts().queries) == (hits, queries)
