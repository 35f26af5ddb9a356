import os
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.rows import REJECTION, rejection
from tagevol_hf.tags.embed import NgramEmbedder
from tagevol_hf.tags.normalize import PRESETS, Normalization, TagNormalizer, add_labels, fit_normalizer
from tagevol_hf.tags.rule import plain, rule_key

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
REAL_TAGS = DATA / "tags" / "tag_values.jsonl"
TAGGED = Features(
    {
        "id": Value("string"),
        "open_tags": List({"tag": Value("string"), "explanation": Value("string")}),
        "rejection": REJECTION,
    }
)


ALL = Normalization(alpha=1)  # no tag is rare


class Angles:
    """Vectors on a circle: the angle in degrees is given for each text."""

    identity = "angles"

    def __init__(self, **angles):
        self.angles = angles

    def encode(self, texts):
        turns = np.radians([self.angles.get(text.replace(" ", "_"), 170) for text in texts])
        return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def tagged(*tag_lists):
    rows = [
        {"id": str(place), "open_tags": [{"tag": tag, "explanation": ""} for tag in tags], "rejection": None}
        for place, tags in enumerate(tag_lists)
    ]
    return Dataset.from_dict({name: [row[name] for row in rows] for name in TAGGED}, features=TAGGED)


# --- the rule key -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Word Problems", "word problem"),
        ("problem-solving", "problem solve"),
        ("goal setting", "goal set"),
        ("note-taking", "note take"),
        ("cost optimizing", "cost optimize"),
        ("future planning", "future plan"),
        ("web_development", "web development"),
        ("Newton’s law", "Newton law"),
        ("ＡＩ", "ai"),
        ("Épée", "épée"),
        ("city histories", "city history"),
        ("boxes", "box"),
    ],
)
def test_spellings_of_one_tag_have_one_key(one, other):
    assert rule_key(one) == rule_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("conversion", "conversation"),
        ("optimization", "optimism"),
        ("community", "communication"),
        ("setting", "set"),
        ("marketing analysis", "market analysis"),
        ("plane geometry", "plan geometry"),
        ("c++", "c#"),
        ("c++", "c"),
        ("news", "new"),
        ("physics class", "physical class"),
        ("string", "str"),
        ("cafe", "café"),
    ],
)
def test_different_tags_have_different_keys(one, other):
    assert rule_key(one) != rule_key(other)


def test_every_script_survives():
    for tag in ("中文写作", "مقالة", "программирование", "हिन्दी", "ไทย", "naïve idea", "日本語"):
        assert rule_key(tag) == tag
    assert plain("???") == "???"


def test_porter_stems_every_word_as_the_paper_does():
    assert rule_key("conversion", "porter") == rule_key("conversations", "porter")
    assert rule_key("Word Problems", "none") == "word problems"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20))
def test_plain_is_idempotent(text):
    assert plain(plain(text)) == plain(text)
    assert rule_key(plain(text)) == rule_key(text)


# --- the steps --------------------------------------------------------------------------------------------------


def test_each_raw_tag_says_where_it_went_and_why():
    counts = {"Math Problem": 2, "math problems": 5, "arithmetic": 4, "sums": 9, "poem": 3, "rare": 1, "poems": 1}
    embedder = Angles(arithmetic=2, sums=1, poem=90)
    fitted = TagNormalizer.from_counts(counts, rows=20, settings=Normalization(alpha=2), embedder=embedder)
    table = {entry.tag: (entry.canonical, entry.step) for entry in fitted.entries}
    assert table == {
        "Math Problem": ("math problems", "rule"),
        "math problems": ("math problems", "kept"),
        "arithmetic": ("sums", "semantic"),
        "sums": ("sums", "kept"),
        "poem": ("poem", "kept"),
        "poems": ("poem", "rule"),  # rare, but the same tag as one that stays
        "rare": (None, "frequency"),
    }
    assert fitted.entry("rare").why == "fewer than 2 rows have it"
    assert fitted.entry("arithmetic").why == "'arithmetic' is 0.0002 from 'sums' by cosine distance"
    assert fitted.entry("Math Problem").why == "the same but for case, signs or inflection ('math problem')"
    assert fitted.names == ["math problems", "poem", "sums"]
    assert fitted.summary() == {
        "raw_tags": 7,
        "names": 3,
        "too_rare": 1,
        "merged_by_rule": 2,
        "merged_by_embedding": 1,
        "merged_by_association": 0,
        "steps": "frequency, rule, semantic",
        "alpha": 2,
        "stem": "inflection",
        "eps": 0.05,
        "support": 4,
        "confidence": 0.99,
        "orphans": "best",
        "embedder": "angles",
    }


def test_neighbours_chain_and_the_most_frequent_name_stays():
    # cosine distance 0.05 is 18.2 degrees: 0 - 15 - 30 is one chain, 60 stands apart
    embedder = Angles(a=0, b=15, c=30, d=60)
    fitted = TagNormalizer.from_counts({"a": 3, "b": 3, "c": 2, "d": 9}, rows=9, settings=ALL, embedder=embedder)
    assert [fitted.apply([tag]) for tag in "abcd"] == [["a"], ["a"], ["a"], ["d"]]


def test_ties_are_alphabetical():
    fitted = TagNormalizer.from_counts({"Poems": 2, "poem": 2, "Poem": 2}, rows=6, settings=ALL)
    assert fitted.apply(["poem"]) == ["Poem"]


@pytest.mark.parametrize(("rows", "alpha"), [(0, 2), (100, 2), (6500, 2), (26_000, 10), (52_000, 20), (104_000, 40)])
def test_alpha_is_scaled_to_the_data(rows, alpha):
    assert TagNormalizer.from_counts({}, rows=rows).settings.alpha == alpha


def test_a_tag_counts_once_a_row():
    fitted = TagNormalizer.fit([["a", "a", " "], ["b"]], ALL)
    assert [(entry.tag, entry.count) for entry in fitted.entries] == [("a", 1), ("b", 1)]
    assert fitted.rows == 2


def test_a_row_that_would_lose_everything_keeps_its_most_frequent_tag():
    counts = {"common": 9, "rare": 1, "rarer ones": 2, "Rarer One": 1}
    fitted = TagNormalizer.from_counts(counts, rows=12, settings=Normalization(alpha=5))
    assert fitted.apply(["rare", "common"]) == ["common"]
    assert fitted.apply(["rare", "Rarer One", "rarer ones"]) == ["rarer ones"]
    assert fitted.apply(["Rarer One"]) == ["rarer ones"]  # in its most frequent spelling
    assert fitted.apply(["Never seen!"]) == ["never seen"]
    assert fitted.apply(["new", "rare"]) == ["rare"]
    assert fitted.apply([]) == fitted.apply([" "]) == []


def test_without_the_rule_step_a_lone_tag_stays_as_it_is():
    fitted = TagNormalizer.from_counts({"Rare!": 1}, rows=9, settings=Normalization(steps=["frequency"], alpha=5))
    assert fitted.apply(["Never-Seen", "Rare!"]) == ["Rare!"]
    assert fitted.apply(["Never-Seen"]) == ["Never-Seen"]


def test_the_summary_counts_what_each_step_did():
    rows = [["sonnet", "poem"]] * 40 + [["poem", "verse"]] * 45 + [["Poems", "rare"], ["a"], ["b"]] * 2
    fitted = TagNormalizer.fit(rows, Normalization(steps=["frequency", "rule", "association"], alpha=3))
    told = fitted.summary()
    counted = {name: told[name] for name in ("raw_tags", "names", "too_rare", "merged_by_rule")}
    assert counted == {"raw_tags": 7, "names": 1, "too_rare": 3, "merged_by_rule": 1}
    assert told["merged_by_association"] == 2
    assert TagNormalizer.fit([], ALL).rows == 0


def test_a_data_set_is_fitted_with_the_embedder_that_is_given():
    dataset = tagged(["a"], ["a"], ["b"], ["d"])
    fitted = fit_normalizer(dataset, ALL, Angles(a=0, b=15, d=60))
    assert fitted.embedder == "angles"
    assert fitted.apply(["b", "d"]) == ["a", "d"]


def test_unseen_tags_go_by_rule():
    fitted = TagNormalizer.from_counts({"word problem": 9, "poem": 9}, rows=12, settings=Normalization(alpha=5))
    assert fitted.apply(["Word-Problems", "POEM", "poems", "unknown"]) == ["word problem", "poem"]


KNOWN = st.sampled_from(["Poem", "poems", "poem!", "story", "Stories", "诗", "c++", "C#", "x"])
TAG_LISTS = st.lists(st.lists(KNOWN | st.text(max_size=6), max_size=4), max_size=12)


SETTINGS = st.builds(
    Normalization,
    steps=st.sets(st.sampled_from(["frequency", "rule", "semantic", "association"])),
    alpha=st.none() | st.integers(1, 3),
    stem=st.sampled_from(["inflection", "porter", "phrase", "none"]),
    eps=st.sampled_from([0.0, 0.05, 0.4]),
    support=st.none() | st.integers(1, 2),
    confidence=st.sampled_from([0.5, 0.99, 1.0]),
    orphans=st.sampled_from(["best", "rest"]),
)


@settings(max_examples=80, deadline=None)
@given(TAG_LISTS, SETTINGS | st.sampled_from(list(PRESETS.values())), st.randoms())
def test_idempotent_and_free_of_row_order(tag_lists, how, random_source):
    fitted = TagNormalizer.fit(tag_lists, how, NgramEmbedder(64))
    shuffled = random_source.sample(tag_lists, len(tag_lists))
    assert TagNormalizer.fit(shuffled, how, NgramEmbedder(64)) == fitted
    for name in fitted.names:
        assert fitted.apply([name]) == [name]
    for entry in fitted.entries:
        assert entry.canonical is None or entry.canonical in fitted.names
        assert entry.why
    for tags in tag_lists:
        labels = fitted.apply(tags)
        assert fitted.apply(labels) == labels
        if how.orphans == "best":
            assert bool(labels) == any(tag.strip() for tag in tags)


# --- steps on and off, and the presets --------------------------------------------------------------------------


def test_each_step_can_be_left_out():
    rows = [["poem", "verse"]] * 5 + [["Poems", "verse"]] * 2 + [["ode"]] * 2 + [["rare"]]
    near = Angles(poem=0, ode=5, verse=80, Poems=1)

    def names(*steps):
        return TagNormalizer.fit(rows, Normalization(steps=steps, alpha=2, support=3), near).names

    assert names() == ["Poems", "ode", "poem", "rare", "verse"]
    assert names("frequency") == ["Poems", "ode", "poem", "verse"]
    assert names("rule") == ["ode", "poem", "rare", "verse"]
    assert names("semantic") == ["poem", "rare", "verse"]  # "Poems" and "ode" are near "poem"
    assert names("association") == ["Poems", "ode", "rare", "verse"]  # too few rows have "Poems"
    assert names("frequency", "rule", "semantic") == ["poem", "verse"]
    assert names("rule", "association") == ["ode", "poem", "rare"]


def test_the_papers_preset_takes_all_four_steps():
    paper = PRESETS["paper"]
    assert paper.steps == ("frequency", "rule", "semantic", "association")
    assert (paper.stem, paper.eps, paper.confidence) == ("porter", 0.05, 0.99)
    scaled = paper.for_rows(52_000)
    assert (scaled.alpha, scaled.support) == (20, 40)


def test_the_release_stems_the_phrase_and_sends_orphans_to_the_rest():
    rows = [["Word Problems"]] * 20 + [["word problem", "rare thing"]] + [["rare thing"]]
    fitted = TagNormalizer.fit(rows, PRESETS["release"])
    assert fitted.settings.alpha == 20
    assert fitted.apply(["word problem"]) == ["Word Problems"]
    assert fitted.apply(["rare thing"]) == []
    # only the end of a phrase is stemmed
    assert rule_key("studies plans", "phrase") == "studies plan"
    assert rule_key("studies plans", "porter") == "studi plan"


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize(
    "tag", ["中文写作", "مقالة", "программирование", "हिन्दी", "ไทย", "naïve idée", "日本語", "c++", "c#"]
)
def test_tags_of_every_script_survive_every_preset(name, tag):
    fitted = TagNormalizer.fit([[tag]] * 30 + [["plain english"]] * 30, PRESETS[name], NgramEmbedder())
    assert fitted.apply([tag]) == [tag]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0}, "normalize_tags.alpha: out of range, got 0"),
        ({"support": 0}, "normalize_tags.support: out of range, got 0"),
        ({"eps": 3.0}, "normalize_tags.eps: out of range, got 3.0"),
        ({"confidence": 0.0}, "normalize_tags.confidence: out of range, got 0.0"),
    ],
)
def test_a_number_out_of_range_is_named(change, message):
    with pytest.raises(DataError, match=message):
        TagNormalizer.fit([["a"]], Normalization(**change))


def test_counts_alone_do_not_say_what_comes_together():
    with pytest.raises(DataError, match="the step association counts tags that come together; use fit, with rows"):
        TagNormalizer.from_counts({"a": 1}, rows=1, settings=PRESETS["paper"])


# --- as a file and over a data set ------------------------------------------------------------------------------


def test_saved_and_loaded_it_is_the_same(tmp_path):
    fitted = TagNormalizer.from_counts({"诗": 3, "a\ud800": 2, "b": 1}, rows=4, embedder=NgramEmbedder())
    fitted.save(tmp_path / "tags.json")
    assert '\n   "tag": "诗",\n' in (tmp_path / "tags.json").read_bytes().decode(errors="replace"), "a person reads it"
    assert TagNormalizer.load(tmp_path / "tags.json") == fitted


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 9}', '{"format": 2, "entries": [{"tag": 1}]}', '{"format": 1}']
)
def test_a_wrong_file_is_named(tmp_path, text):
    path = tmp_path / "tags.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"tags\.json: (not a tag normaliser|a tag normaliser of another format)"):
        TagNormalizer.load(path)


def test_labels_are_added_and_rejected_rows_do_not_count():
    dataset = tagged(["poem"], ["Poems", "haiku"], ["haiku"], [])
    marked = dataset.map(
        lambda row: {"rejection": rejection("x", "timeout") if row["id"] == "2" else None}, features=TAGGED
    )
    fitted = fit_normalizer(marked, ALL)
    assert [(entry.tag, entry.count) for entry in fitted.entries] == [("Poems", 1), ("haiku", 1), ("poem", 1)]
    labelled = add_labels(marked, fitted)
    assert labelled["labels"][:] == [["Poems"], ["Poems", "haiku"], [], []]
    assert labelled.features["labels"] == List(Value("string"))


def test_an_empty_data_set_keeps_its_types():
    empty = tagged()
    labelled = add_labels(empty, fit_normalizer(empty))
    assert len(labelled) == 0
    assert labelled.features["labels"] == List(Value("string"))


def test_a_missing_column_is_named():
    dataset = Dataset.from_dict({"id": ["a"], "text": ["b"]})
    message = "needs the column open_tags; the data set has: id, text; apply OpenTagger first"
    with pytest.raises(DataError, match=message):
        fit_normalizer(dataset)
    with pytest.raises(DataError, match=message):
        add_labels(dataset, TagNormalizer.fit([]))


@pytest.mark.parametrize(
    "forms",
    [
        *("class classes", "box boxes", "match matches", "brush brushes", "buzz buzzes buzzing", "city cities"),
        *("tie ties", "die dies", "sky skies", "tag tags", "story stories", "create creating created"),
        *("enable enabling enabled", "size sizing sized", "plan planning planned", "hope hoping hoped"),
        *("hop hopping hopped", "fall falling", "miss missing", "add adding", "egg egging", "rate rating rated"),
        *("play playing played", "fix fixing fixed", "show showing", "levy levying", "cache caching", "move moving"),
        *("handle handling handled", "make making", "price priced pricing", "walk walking walked", "blend blended"),
    ],
)
def test_forms_of_a_word_at_the_end_of_a_phrase_are_one(forms):
    assert len({rule_key(f"good {form}") for form in forms.split()}) == 1


def test_words_that_only_look_like_forms_stay():
    words = "class bus status analysis basis news perhaps agreed feed need seed sing string bring red bed data"
    assert {word: rule_key(f"a {word}") for word in words.split()} == {word: f"a {word}" for word in words.split()}
    assert rule_key("a hope") != rule_key("a hop")
    assert rule_key("classes") == "class"
    assert rule_key("buzzes") == "buzz"
    assert rule_key("ties") == "tie"
    assert rule_key("branches of wishes") == "branch of wish"
    assert rule_key("dog loving") == rule_key("dog love") == "dog love"
    assert rule_key("yearly yoking") == rule_key("yearly yoke") == "yearly yoke"


@pytest.mark.parametrize(
    ("tag", "key"),
    [
        ("goal-setting plans", "goal setting plan"),  # only the last word loses its ending
        ("three word phrases here", "three word phrase here"),
        ("running", "running"),
        ("x\u200by", "xy"),
        ("c++ #1 +", "c++ 1"),
        ("c#_x!y", "c# x y"),
        ("\u2026 !", "... !"),
        ("\u096b e\u0301", "\u096b \u00e9"),
    ],
)
def test_keys_of_phrases(tag, key):
    assert rule_key(tag) == key
