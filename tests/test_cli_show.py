"""The command `tagevol show` in the terminal."""

import json
import re

import pytest
import typer
from rich.console import Console
from run_folders import ROOT
from told_run import save_told_run
from typer.testing import CliRunner

from tagevol_hf import cli_show


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_told_run(tmp_path_factory.mktemp("told") / "run")


def show(*arguments):
    app = typer.Typer(rich_markup_mode=None)
    cli_show.add_to(app)
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "80", "TERM": "dumb"})


def test_the_whole_way_of_a_row_is_shown_in_order(run):
    done = show(run, "--id", "s1/b1")
    assert done.exit_code == 0, done.output
    heads = re.findall(r"^ ?\d+ (\w+)", done.output, re.MULTILINE)
    assert heads == ["load", "aspect_tags", "tag_evol", "respond", "compare", "select"]
    first, why = done.output.splitlines()[:2]
    assert first.startswith("s1/b1  in ")
    assert first.endswith(": selected")
    assert why.split(None, 1) == ["why", "number 1 of 2 in cluster 4, score 70.00"]
    for line in (
        "aspects        subject: sum, digits",
        "candidates     tide, poem, proof",
        "chosen tags    tide",
        "plan           weave them in",
        "instruction    Add 2 and 3 in 1 ways.",
        "labels         addition",
        "sums → addition (close to addition)",
        "odd → dropped (fewer than 2 rows have it)",
        "cluster        4: addition, digits",
        "against        s1/b2: 70 : 61, 71 : 62; won in both orders",
        "shown first: truncated: cut off",
        "score          70.00 ± 1.50, from 2 comparisons",
    ):
        assert line in done.output


def test_a_rejected_row_shows_reason_attempts_and_raw_reply(run):
    done = show(run, "--id", "s1/b3")
    assert "wrong_count: not exactly b tags were chosen" in done.output
    assert "tag_evol, after 3 attempts" in done.output
    assert '{"chosen": ␛]0;x␇[1]}' in done.output


@pytest.mark.parametrize("more", [(), ("--full",), ("--json",)])
def test_control_characters_of_data_never_reach_the_terminal(run, more):
    for row_id in ("s1/b1", "s1/b3"):
        done = show(run, "--id", row_id, *more)
        assert done.exit_code == 0
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.output)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J\x9b1m", "a␛[2J\\u009b1m"),
        ("two\nlines\r\nand\rmore", "two\nlines\nand␍more"),
        ("left \u202eright\u200b", "left \\u202eright\\u200b"),
        ("half \ud83d", "half \\ud83d"),
        ("[bold]x[/bold] 你好 é", "[bold]x[/bold] 你好 é"),
        (None, ""),
    ],
)
def test_what_would_steer_a_terminal_is_spelt_out(text, shown):
    assert cli_show.visible(text) == shown


def test_a_seed_is_shown_with_its_children_in_short(run):
    done = show(run, "--id", "s1")
    assert "Made of it: 3" in done.output
    assert "s1/b1  budget 1: selected, score 70.00" in done.output
    assert "s1/b3  budget 3: rejected: wrong_count" in done.output


def test_long_texts_are_wrapped_and_cut_and_full_shows_them(run):
    words = "word " * 300
    page = cli_show.Page(Console(width=60), 400, 24)
    lines = [line.plain for line in page._text("response", words)]
    assert max(map(len, lines)) <= 60
    assert lines[-1].endswith("--full shows all)")
    whole = cli_show.Page(Console(width=60), cli_show._WHOLE, cli_show._WHOLE)
    assert sum(line.plain.count("word") for line in whole._text("response", words)) == 300


def test_markup_in_data_is_text(run):
    page = cli_show.Page(Console(width=80), 400, 24)
    (line,) = page._text("x", "[red]not red[/red] [link=a]b")
    assert line.plain.endswith("[red]not red[/red] [link=a]b")


def test_json_says_the_same(run):
    told = json.loads(show(run, "--id", "s1/b1", "--json").output)
    assert told["fate"] == "selected"
    assert told["comparisons"][0]["verdict"] == "won in both orders"
    assert [part["step"] for part in told["parts"]][-1] == "select"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["recipes/quickstart", "recipes/tag-evol/math/evol-instruct.yaml"])
def test_every_row_of_a_real_run_has_a_story(tmp_path, recipe):
    from tagevol_hf import curate, load_recipe
    from tagevol_hf.story.folder import Folder, ids_of

    changes = [f"data.source={ROOT / 'recipes/quickstart/seeds.jsonl'}", "data.columns={}", "engines.default=builtin"]
    changes += ["select.n=6"] if recipe.endswith("quickstart") else ["measure.references=[]"]
    run = curate(load_recipe(ROOT / recipe, changes, 4), tmp_path / "run")
    ids = {one for rows in Folder(run.path).everything() for one in ids_of(rows)}
    assert len(ids) == 4 + 12
    fates = {}
    for row_id in ids:
        told = json.loads(show(run.path, "--id", row_id, "--json").output)
        fates[row_id] = told["fate"]
        assert told["why"]
        assert told["parts"][0]["step"] == "load"
        assert show(run.path, "--id", row_id).exit_code == 0
    counts = {fate: list(fates.values()).count(fate) for fate in set(fates.values())}
    assert counts.pop("evolved") == 4
    totals = run.record["totals"]
    assert counts.get("selected", 0) == totals["selected"]
    assert counts.get("not chosen", 0) == totals["not_chosen"]
