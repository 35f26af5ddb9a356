"""Ten thousand replies of every wrong kind: none raises, all end, no row is lost."""

import json
import random
from collections import Counter

import pytest
from evolve.evolving import GOOD, POOL, answer, seeds
from scripted import ScriptedEngine

from tagevol_hf.engines.base import Reply
from tagevol_hf.evolve.tag_evol import draw_candidates
from tagevol_hf.evolve.variants import VARIANTS
from tagevol_hf.rows import REASONS, split_rejected

WORDS = [
    "one",
    "two",
    "three",
    "twenty-one",
    "drei",
    "三",
    "Nº 4",
    "IV",
    "½",
    "١",
    "tag 05",
    "TAG 07",
    "3.",
    "#4",
    "-1",
    "1e3",
]
TEXTS = [
    GOOD,
    "",
    " ",
    "Sort the list number 0.",
    "I'm sorry, but I can't.",
    "Sure! Here is the list.",
    "Отсортируйте этот список чисел и докажите, что порядок устойчив.",
    "对列表进行排序并证明该顺序是稳定的。",
    "رتب القائمة وأثبت أن الترتيب مستقر",
    "👩‍👩‍👧‍👦🔥" * 40,
    "\x00\x07\x1b[31m red \x7f",
    "\ud800 alone",
    "word " * 3000,
    "</instruction><instruction>",
    "{{instruction}}",
    '"quoted" \\ back\\slash \\u0041',
    "e\u0301" * 50,
    "\u202emirror\u202c",
]


def number(dice):
    return dice.choice(
        [
            dice.randint(-3, 30),
            dice.randint(1, 21),
            dice.randint(1, 21),
            2.0,
            2.5,
            10**30,
            True,
            None,
            [1],
            {"n": 1},
            *WORDS,
        ]
    )


def body(dice, variant):
    chosen = (
        [number(dice) for _ in range(dice.randint(0, 6))] if dice.random() < 0.8 else dice.choice(["1, 2", None, 3, {}])
    )
    good = dice.sample(range(1, 22), 3)
    text = json.loads(answer(variant, good if dice.random() < 0.5 else chosen, dice.choice(TEXTS)))
    if dice.random() < 0.1:
        text[dice.choice(["extra", "final", "plan", "chosen", ""])] = dice.choice([None, 7, [], {}, "x" * 5000])
    if dice.random() < 0.1:
        text.pop(dice.choice(list(text)))
    return text


def nested(dice, text):
    for _ in range(dice.choice([1, 3, 2000])):
        text = dice.choice(['{"answer": %s}', "[%s]"]) % text
    return text


DRESS = [
    lambda dice, text: text,
    lambda dice, text: text,
    lambda dice, text: f"```json\n{text}\n```",
    lambda dice, text: f"```\n{text}",
    lambda dice, text: f"Of course! Here it is:\n\n{text}\n\nI hope that helps {{}} [].",
    lambda dice, text: text[: dice.randint(0, len(text))],
    lambda dice, text: text[dice.randint(0, len(text)) :],
    lambda dice, text: text.replace('"', dice.choice(["'", "“", "", '\\"'])),
    lambda dice, text: text.replace(",", ",,", 1),
    lambda dice, text: text[:-1] + ",}",
    lambda dice, text: f"{text}\n{text}",
    lambda dice, text: text.replace(" ", dice.choice(["\n", "\t", "\x00", "\u00a0", "\u2028"])),
    lambda dice, text: dice.choice(["", " \n", "null", "true", "NaN", "[]", "{}", "#### 42", "\ufeff" + text]),
    lambda dice, text: dice.choice("{[") * 5000,
    nested,
    lambda dice, text: "".join(dice.choice('{}[]",:\\ \n0123abc🔥\x00é') for _ in range(dice.randint(1, 300))),
]  # fmt: skip


def reply(dice, variant):
    text = json.dumps(body(dice, variant), ensure_ascii=dice.random() < 0.5)
    text = dice.choice(DRESS)(dice, text)
    return Reply(text, dice.choice(["stop"] * 20 + ["length"]))


@pytest.mark.parametrize(
    ("variant", "replies"),
    [("paper", 500), *(pytest.param(variant, 10_000, marks=pytest.mark.slow) for variant in VARIANTS)],
)
def test_fuzzed_replies(variant, replies):
    dice = random.Random(f"{variant} {replies}")
    engine = ScriptedEngine(lambda request: reply(dice, variant))
    drawn = draw_candidates(seeds(replies), POOL, [3], variant=variant)
    done, lost = split_rejected(VARIANTS[variant](engine, attempts=1).apply(drawn))
    assert engine.asked == replies
    assert len(done) + len(lost) == replies
    reasons = Counter(mark["reason"] for mark in lost["rejection"])
    assert set(reasons) <= set(REASONS)
    assert len(done) > replies / 100, "some of them are good"
    assert len(reasons) >= (8 if variant == "random" else 10), reasons
    for row in done:
        assert len(row["chosen_tags"]) == len(set(row["chosen_tags"])) == 3
        assert set(row["chosen_tags"]) <= set(row["candidates"])
        assert row["instruction"].strip()
    assert all(mark["attempts"] == 1 and mark["stage"] == "tag_evol" for mark in lost["rejection"])
