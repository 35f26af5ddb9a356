"""How much of a prompt all rows share, counted in tokens; what the row adds comes last."""

import os
from pathlib import Path

import pytest
from evolve.evolving import POOL, answer, seeds
from scripted import ScriptedEngine

from tagevol_hf.evolve.tag_evol import draw_candidates
from tagevol_hf.evolve.variants import VARIANTS

FOLDER = Path(os.environ.get("TAGEVOL_TEST_MODELS", Path(__file__).parents[3] / "shared" / "models")) / "tokenizers"


def gpt2():
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer(str(FOLDER / "gpt2_encoder.json"), str(FOLDER / "gpt2_vocab.bpe"))
    return lambda text: tokenizer.encode(text).ids


def mistral():
    sentencepiece = pytest.importorskip("sentencepiece")
    return sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "mistral7b_v0.1_tokenizer.model")).encode


def common(texts):
    shortest = min(texts, key=len)
    return next((n for n, part in enumerate(zip(*texts, strict=False)) if len(set(part)) > 1), len(shortest))


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is not there")
@pytest.mark.parametrize("tokenizer", [gpt2, mistral])
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_stands_before_the_row_is_shared_by_all_rows_of_a_budget(variant, tokenizer):
    encode = tokenizer()
    engine = ScriptedEngine(lambda request: answer(variant))
    VARIANTS[variant](engine, attempts=1).apply(draw_candidates(seeds(8), POOL, [1, 3, 7], variant=variant))
    for start in range(3):
        prompts = [request.messages[0].content for request in engine.requests[start::3]]
        before = [len(encode(prompt.partition("<instruction>")[0])) for prompt in prompts]
        shared = common([encode(prompt) for prompt in prompts])
        assert shared >= 0.85 * max(before)
        assert shared > 200
