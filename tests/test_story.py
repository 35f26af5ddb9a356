"""One row's story, read from a run folder."""

import json
import os
import shutil

import pytest
from datasets import load_from_disk
from told_run import CLUSTERED, EVOLVED, SCORED, TAGGED, ended_early, save, save_told_run, scored

from tagevol_hf.errors import DataError
from tagevol_hf.rows import REASONS
from tagevol_hf.selection.choose import select
from tagevol_hf.story import read_story

SCORED_FEATURES = {**EVOLVED, **TAGGED, **CLUSTERED, **SCORED}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_told_run(tmp_path_factory.mktemp("told") / "run")


def facts(story, step):
    return next(part.facts for part in story.parts if part.step == step)


def test_a_row_is_told_from_its_seed_to_its_choice(run):
    story = read_story(run, "s1/b1")
    assert [(part.number, part.step, part.id) for part in story.parts] == [
        (1, "load", "s1"),
        (2, "aspect_tags", "s1"),
        (4, "tag_evol", "s1/b1"),
        (5, "respond", "s1/b1"),
        (7, "compare", "s1/b1"),
        (8, "select", "s1/b1"),
    ]
    assert facts(story, "load") == {"instruction": "Add 2 and 3.", "response": "5"}
    assert facts(story, "aspect_tags")["aspects"] == [{"aspect": "subject", "tags": ["sum", "digits"]}]
    evolution = facts(story, "tag_evol")
    assert evolution["chosen_tags"] == ["tide"]
    assert evolution["candidates"] == ["tide", "poem", "proof"]
    assert not {"seed_instruction", "seed_tags"} & set(evolution)  # they stand with the seed
    assert facts(story, "respond") == {"response": "1 ways: 5"}
    assert (story.fate, story.why) == ("selected", "number 1 of 2 in cluster 4, score 70.00")


def test_tags_are_told_before_and_after_normalisation(run):
    found = {tag.tag: (tag.label, tag.why) for tag in read_story(run, "s1/b1").tags}
    assert found == {"sums": ("addition", "close to addition"), "odd": (None, "fewer than 2 rows have it")}


def test_comparisons_are_told_by_the_other_row_in_both_orders(run):
    met = {meeting.other: meeting for meeting in read_story(run, "s1/b1").comparisons}
    assert [(order.place, order.own, order.other) for order in met["s1/b2"].orders] == [
        ("first", 70.0, 61.0),
        ("second", 71.0, 62.0),
    ]
    assert met["s1/b2"].verdict == "won in both orders"
    assert met["s9"].orders[0].fault == "truncated: cut off"
    assert met["s9"].verdict == "no marks"
    assert read_story(run, "s1/b2").comparisons[0].verdict == "lost in both orders"


def test_a_row_that_was_not_chosen_is_told_its_place(run):
    story = read_story(run, "s1/b2")
    assert story.fate == "not chosen"
    assert story.why == "number 2 of 2 in cluster 4 by score 61.00; 1 of them were chosen, the last with 70.00"
    assert story.clusters == {"4": "addition, digits"}


@pytest.mark.slow
def test_the_place_is_that_of_the_selection(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    rows = [scored(1, 50.0 + number % 5, id=f"s1/{number}", instruction=f"Add {number}.") for number in range(9)]
    save(folder / "all", rows, SCORED_FEATURES)
    choice = select(load_from_disk(str(folder / "all")), n=4)
    for name, places in (("selected", choice.indices), ("not_chosen", choice.left)):
        save(folder / name, [rows[place] for place in places], SCORED_FEATURES)
    told = [read_story(folder, rows[place]["id"]).why.split(" of ")[0] for place in choice.left]
    ranks = [*(one.rank for one in choice.choices), *(int(place.removeprefix("number ")) for place in told)]
    assert sorted(ranks) == list(range(1, 10))


def test_a_copy_of_a_chosen_row_is_told_so(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    save(folder / "not_chosen", [scored(1, 70.0, id="s2/b1")], SCORED_FEATURES)
    assert read_story(folder, "s2/b1").why == "it says the same as s1/b1, which was chosen"


def test_a_rejected_row_is_told_with_its_reason_and_the_raw_reply(run):
    story = read_story(run, "s1/b3")
    assert story.fate == "rejected"
    assert story.why == f"wrong_count: {REASONS['wrong_count']}"
    assert story.rejection["raw"] == '{"chosen": \x1b]0;x\x07[1]}'
    assert story.rejection["attempts"] == 3
    assert [(part.number, part.step) for part in story.parts] == [(1, "load"), (2, "aspect_tags"), (4, "tag_evol")]


def test_a_seed_is_told_with_all_that_was_made_of_it(run):
    story = read_story(run, "s1")
    assert (story.fate, story.why) == ("evolved", "3 rows were made of it, and took its place")
    assert [(child.id, child.made_by, child.fate, child.score) for child in story.children] == [
        ("s1/b1", {"budget": 1}, "selected", 70.0),
        ("s1/b2", {"budget": 2}, "not chosen", 61.0),
        ("s1/b3", {"budget": 3}, "rejected: wrong_count", None),
    ]


def test_the_story_is_one_json_object(run):
    told = json.loads(json.dumps(read_story(run, "s1/b1").plain()))
    assert told["comparisons"][0]["orders"][0]["own"] == 70.0
    assert told["parts"][2]["facts"]["plan"] == "weave them in"


def test_a_run_that_stopped_tells_what_there_is(run, tmp_path):
    folder = ended_early(run, tmp_path / "run", "stopped", last=5)
    story = read_story(folder, "s1/b2")
    assert story.fate == "on its way"
    assert story.why == "last seen after step 5 respond; the run stopped: the server is gone"
    assert [part.step for part in story.parts] == ["load", "aspect_tags", "tag_evol", "respond"]
    with pytest.raises(DataError, match=r"s1/b3'; the nearest are .*not at its end, where rejected rows are saved"):
        read_story(folder, "s1/b3")


def test_a_row_that_left_a_run_without_an_end_is_told_so(run, tmp_path):
    folder = ended_early(run, tmp_path / "run", "running", last=8)
    story = read_story(folder, "s1/b2")
    assert story.fate == "gone"
    assert story.why == (
        "it left after step 7 compare; why is saved at the end of a run, and the run goes on, or was ended from outside"
    )


def test_the_result_of_an_earlier_run_in_the_folder_does_not_count(run, tmp_path):
    folder = ended_early(run, tmp_path / "run", "running", last=7)
    shutil.copytree(run / "not_chosen", folder / "not_chosen")
    assert read_story(folder, "s1/b2").fate == "not chosen"  # written since the run began
    os.utime(folder / "not_chosen" / "state.json", (0, 0))
    assert read_story(folder, "s1/b2").fate == "on its way"


@pytest.mark.parametrize(
    ("asked", "near"),
    [("s1/b", "s1/b1, s1/b2, s1/b3"), ("s1/b1x", "s1, s1/b1"), ("\x1b[31mq", "some that are there: s1/b")],
)
def test_an_unknown_id_gives_the_nearest(run, asked, near):
    with pytest.raises(DataError, match="no saved row has the id") as caught:
        read_story(run, asked)
    assert near in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_folder_that_is_no_run_is_told_in_one_line(tmp_path):
    with pytest.raises(DataError, match="not a run folder"):
        read_story(tmp_path, "s1")


def test_what_cannot_be_read_counts_as_missing(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    for file in (folder / "steps" / "05-respond").glob("*.arrow"):
        file.write_bytes(b"broken")
    (folder / "tags.json").write_text("[")
    story = read_story(folder, "s1/b1")
    assert [part.step for part in story.parts][-2:] == ["compare", "select"]
    assert {tag.label for tag in story.tags} == {None}
