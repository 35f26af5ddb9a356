"""The normaliser on 11,976 tags as a tagger wrote them, with synonyms and near misses planted among them."""

import json
import os
import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from tagevol_hf.tags.embed import NgramEmbedder
from tagevol_hf.tags.normalize import PRESETS, Normalization, TagNormalizer

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
REAL_TAGS = DATA / "tags" / "tag_values.jsonl"
ROWS = 306_044  # of InsTag's pool
KEPT = Normalization(alpha=1)  # every tag gets to the semantic step

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL_TAGS.is_file(), reason=f"{REAL_TAGS} is not there"),
]

# Pairs that look alike and mean different things.
APART = [
    ("data science", "data structure"), ("conversation", "conversion"), ("c", "c++"), ("c++", "c#"), ("c", "c#"),
    ("html4", "html5"), ("mathematics", "mathematical notation"), ("logic", "logical reasoning"),
    ("community", "communication"), ("economics", "economy policy"), ("physics", "physiology"),
    ("marketing", "market analysis"), ("astronomy", "gastronomy"), ("emotion detection", "motion detection"),
    ("python", "python programming"), ("information retrieval", "information request"),
    ("word problem", "problem solve"),
    ("statistic", "statistical inference"), ("linear equation", "quadratic equation"), ("java", "javascript"),
    ("sql", "nosql"), ("unit test", "unit conversion"), ("evaluation", "valuation"), ("immigration", "migration"),
    ("psychology", "psychiatry"), ("sales", "salsa"), ("geology", "geography"), ("biology", "biography"),
]  # fmt: skip


@pytest.fixture(scope="module")
def counts():
    found = Counter()
    for line in REAL_TAGS.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        found[entry["tag"]] += entry["count"]
    assert len(found) == 11_976
    return found


@pytest.fixture(scope="module")
def fitted(counts):
    return TagNormalizer.from_counts(counts, rows=ROWS, settings=KEPT, embedder=NgramEmbedder())


def test_it_is_deterministic_and_free_of_order(counts, fitted):
    shuffled = list(counts.items())
    random.Random(1).shuffle(shuffled)
    again = TagNormalizer.from_counts(dict(shuffled), rows=ROWS, settings=KEPT, embedder=NgramEmbedder())
    assert again == fitted


def test_a_second_application_changes_nothing(counts, fitted):
    assert all(fitted.apply([name]) == [name] for name in fitted.names)
    assert all(len(fitted.apply([tag])) == 1 for tag in counts)
    assert all(fitted.apply(fitted.apply([tag])) == fitted.apply([tag]) for tag in counts)


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_fifty_most_frequent_tags_keep_their_place(counts, name):
    settings = Normalization(
        steps=[step for step in PRESETS[name].steps if step != "association"], stem=PRESETS[name].stem
    )
    fitted = TagNormalizer.from_counts(counts, rows=ROWS, settings=settings, embedder=NgramEmbedder())
    frequent = [tag for tag, _ in counts.most_common(50)]
    assert {tag: fitted.apply([tag]) for tag in frequent if fitted.apply([tag]) != [tag]} == {}


def test_frequent_tags_that_move_get_a_sensible_name(counts):
    fitted = TagNormalizer.from_counts(counts, rows=ROWS, settings=Normalization(alpha=5), embedder=NgramEmbedder())
    frequent = [tag for tag, _ in counts.most_common(2500)]
    assert {tag: fitted.apply([tag]) for tag in frequent if fitted.apply([tag]) != [tag]} == {
        "problem-solving": ["problem solve"],
        "fact-checking": ["fact check"],
        "audience target": ["target audience"],
        "seek information": ["information seek"],
    }


def variants(tag, draw):
    """Other spellings of a tag, as taggers write them."""
    first, *middle, last = tag.split()
    words = " ".join([first, *middle])
    typo = draw.randrange(2, len(last) - 1)
    return {
        "case": tag.title(),
        "hyphen": tag.replace(" ", "-"),
        "underscore": tag.replace(" ", "_").upper(),
        "plural": f"{words} {last}s",
        "punctuation": f"“{tag}”.",
        "full width": "".join(chr(ord(char) + 0xFEE0) if "a" <= char <= "z" else char for char in tag),
        "order": f"{last} {words}",
        "doubled": f"{words} {last[:typo]}{last[typo]}{last[typo:]}" if len(tag) > 22 else tag.capitalize(),
    }


def pairs(groups):
    return {frozenset(pair) for group in groups for pair in combinations(sorted(group), 2)}


def test_planted_synonyms_are_merged_and_near_misses_are_not(counts):
    draw = random.Random(7)
    able = [tag for tag, _ in counts.most_common(3000) if len(tag.split()) > 1 and tag.replace(" ", "").isalpha()]
    able = [tag for tag in able if tag.isascii() and len(tag.split()[-1]) > 4 and tag[-1] not in "sgdye"]
    chosen = draw.sample(sorted(able), 100)
    planted, kinds = dict(counts), {}
    for tag in chosen:
        found = {kind: text for kind, text in variants(tag, draw).items() if text not in counts}
        for kind, text in draw.sample(sorted(found.items()), 5):
            planted[text], kinds[text] = 1, (kind, tag)
    for tag in {tag for pair in APART for tag in pair}:
        planted.setdefault(tag, 30)
    assert len(kinds) >= 490
    fitted = TagNormalizer.from_counts(planted, rows=ROWS, settings=KEPT, embedder=NgramEmbedder())
    groups, found = {tag: {tag} for tag in chosen}, {}
    for text, (_, tag) in kinds.items():
        groups[tag].add(text)
    for tag in [*chosen, *kinds]:
        found.setdefault(fitted.apply([tag])[0], set()).add(tag)
    expected, merged = pairs(groups.values()), pairs(found.values())
    right = len(expected & merged)
    precision, recall = right / len(merged), right / len(expected)
    f1 = 2 * precision * recall / (precision + recall)
    missed = Counter(kind for text, (kind, tag) in kinds.items() if fitted.apply([text]) != fitted.apply([tag]))
    assert f1 > 0.9, (f1, precision, recall, missed)
    together = [pair for pair in APART if fitted.apply([pair[0]]) == fitted.apply([pair[1]])]
    assert together == []


def test_tags_of_other_scripts_survive_among_them(counts):
    others = [
        "机器学习",
        "文章写作",
        "كتابة المقالات",
        "машинное обучение",
        "résumé écrit",
        "日本語の詩",
        "español básico",
    ]
    planted = {**counts, **dict.fromkeys(others, 400)}
    for settings in (KEPT, Normalization(stem="porter"), Normalization(stem="phrase")):
        fitted = TagNormalizer.from_counts(planted, rows=ROWS, settings=settings, embedder=NgramEmbedder())
        assert [fitted.apply([tag]) for tag in others] == [[tag] for tag in others]
