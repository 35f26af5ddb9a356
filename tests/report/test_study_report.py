"""The page of a study: complete, closed to the network, and safe against text that wants to be markup."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from demo_run import write
from report.test_report import CHROMIUM, HOSTILE, Page, asked_paths  # noqa: F401 - a fixture

from tagevol_hf.errors import DataError
from tagevol_hf.report.study import write_study_report
from tagevol_hf.report.study.charts import bar_chart, line_chart
from tagevol_hf.report.study.examples import read_examples
from tagevol_hf.rows import rejection


def evolved(seed: str, number: int, kind: str = "budget", **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"{seed}/{kind[0]}{number}",
        "instruction": f"Sort the list {seed} and explain {'well ' * number}",
        "input": "",
        "response": "",
        "seed_id": seed,
        "seed_instruction": f"Sort the list {seed}",
        kind: number,
        "chosen_tags": [f"tag {n}" for n in range(number)] if kind == "budget" else [],
        "operator": "" if kind == "budget" else "deepen",
    }
    return {**row, **changes}


def save(folder: Path, selected: list[Any], not_chosen: list[Any], rejected: list[Any]) -> None:
    for name, rows in (("selected", selected), ("not_chosen", not_chosen), ("rejected", rejected)):
        if rows:
            Dataset.from_list(rows).save_to_disk(folder / name)


def arm(name: str, **changes: Any) -> dict[str, Any]:
    figures = {"rows_in": 8, "accepted": 7, "rejected": 1, "rejected_share": 0.125, "calls": 30, "asked": 20}
    figures |= {"stored": 10, "evolution_calls": 9, "evolved": 7, "calls_per_instruction": 9 / 7, "longest_chain": 1}
    figures |= {"difficulty": 4.5, "reply_obedience": 0.875, "words_mean": 31.25, "seconds": 65.0}
    body = {
        "name": name,
        "folder": name,
        "status": "complete",
        "message": "",
        "digest": "9f2c4be07d11",
        "seeds": {"rows": 8, "digest": "0123456789ab"},
        "engines": {"evolution": {"spec": "vllm:m", "identity": "m@1", "language_model": True}},
        "figures": figures,
        "groups": {},
        "rejected": {"wrong_count": 1},
        "steps": [{"name": "tag_evol", "calls": 9}, {"name": "measure", "calls": 5}],
        "notes": ["Tagged: 5 instructions."],
    }
    return {**body, **changes}


def study(folder: Path, arms: list[dict[str, Any]], **changes: Any) -> Path:
    names = [one["name"] for one in arms]
    body = {
        "format": 1,
        "name": "saturation",
        "question": "What does a larger budget do?",
        "version": "0.1",
        "written": "2026-02-03T14:05:09+00:00",
        "command": "tagevol compare studies/budgets.yaml",
        "axis": "tag_evol.budgets",
        "places": {},
        "plot": ["difficulty", "reply_obedience"],
        "definitions": {name: f"What {name} is." for one in arms for name in one["figures"]},
        "by_rule": [],
        "doubts": [],
        "differences": {"tag_evol.budgets": dict(zip(names, ([n] for n in range(1, 99)), strict=False))},
        "recipes": {name: {"recipe": "/x/curate.yaml", "set": ["tag_evol.budgets=[1]"]} for name in names},
        "arms": arms,
    }
    write(folder / "compare.json", {**body, **changes})
    return folder


def page_of(folder: Path) -> Page:
    file = write_study_report(folder)
    assert file == folder / "report.html"
    assert [path.name for path in folder.glob(".report*")] == []
    page = Page(file.read_text(encoding="utf-8"))
    assert page.tags["script"] == 0
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert value == "data:," or (value or "").startswith("#"), (tag, name, value)
    assert "@import" not in page.html
    assert "url(" not in page.html
    assert len(page.ids) == len(set(page.ids))
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    labels = {value for _, name, value in page.attributes if name == "aria-labelledby"}
    links = {(value or "")[1:] for _, name, value in page.attributes if name == "href" and value != "data:,"}
    assert labels | links <= set(page.ids)
    assert all(value in ("col", "row") for tag, name, value in page.attributes if (tag, name) == ("th", "scope"))
    return page


def test_a_sweep_has_lines_a_table_and_the_same_seed_under_each_arm(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        rows = [evolved(seed, number) for seed in "abcd"]
        lost = [evolved("z", number, rejection=rejection("tag_evol", "wrong_count", "", "", 3))]
        save(tmp_path / f"b={number}", selected=rows, not_chosen=[], rejected=lost)
    arms = [arm(f"b={n}", figures={**arm("x")["figures"], "difficulty": 3.0 + n}) for n in (1, 2, 3)]
    page = page_of(study(tmp_path, arms, places={"b=1": 1, "b=2": 2, "b=3": 3}))
    for words in (
        "tagevol study · 3 February 2026, 14:05 UTC",
        "What does a larger budget do?",
        "b=1 8 7 12 % 30 1.29 1 4 88 %",
        "Difficulty by budgets: 4, 5, 6.",
        "wrong_count not exactly b tags were chosen 1 1 1",
        "Words mean What words_mean is. 31.2 31.2 31.2",
        "b=2 20 10 9 7 1 min 5 s",
        "Tag-Evol 9 9 9",
        "tag_evol.budgets [1] [2] [3]",
        "evolution vllm:m m@1 all",
        "9f2c4be07d11 0123456789ab",
        "tagevol compare studies/budgets.yaml",
    ):
        assert words in page.text, words
    assert page.html.count('class="card seed"') == 3
    assert page.html.count('class="over arm"') == 9
    assert "<ins>and explain well" in page.html
    assert page.tags["svg"] == 2
    assert "rule engine" not in page.text
    assert len(page.html.encode()) < 100_000


def test_arms_without_an_axis_have_bars_and_groups_have_lines(tmp_path: Path) -> None:
    groups = {f"round {n}": {"difficulty": 3 + n} for n in (1, 2, 3)}
    arms = [arm("tag-evol"), arm("evol-instruct", groups=groups), arm("auto", groups={"round 1": {"difficulty": 4}})]
    page = page_of(study(tmp_path, arms, doubts=["The arms have other seeds."]))
    assert page.html.count("<h3>Difficulty by round</h3>") == 1
    assert "Difficulty by round: 4, 5, 6." in page.text
    assert page.html.count('<ul class="bars arms">') == 2
    assert '<p class="warning">The arms have other seeds.</p>' in page.html
    assert "No accepted row to show." in page.text


def test_failed_arms_say_why_and_have_no_figures(tmp_path: Path) -> None:
    lost = {"status": "failed", "message": "tag_evol: no row is left (timeout 8)", "figures": {}, "notes": []}
    arms = [arm("one"), arm("two", **lost, rejected={"timeout": 8}), arm("three", **{**lost, "status": "not run"})]
    page = page_of(study(tmp_path, arms, by_rule=["one"]))
    assert page.text.count("no row is left") == 2
    assert "not all arms are finished" in page.text
    assert "two failed: tag_evol: no row is left (timeout 8)" in page.text
    assert "three not run: tag_evol" in page.text
    assert "timeout no reply came within the time limit 0 8" in page.text
    assert "Partly made by the built-in rule engine" in page.text


@pytest.mark.parametrize("body", [{"arms": []}, {"arms": "x", "definitions": 3, "places": [1], "plot": {}, "name": 5}])
def test_values_of_other_types_count_as_missing(tmp_path: Path, body: dict[str, Any]) -> None:
    write(tmp_path / "compare.json", body)
    assert "0 arms side by side." in page_of(tmp_path).text


@pytest.mark.parametrize("text", ["", "[1]", '{"name": "s", "arms": ['])
def test_no_comparison(tmp_path: Path, text: str) -> None:
    (tmp_path / "compare.json").write_text(text)
    with pytest.raises(DataError, match=r"no compare\.json that can be read; make one with: tagevol compare STUDY"):
        write_study_report(tmp_path)


def hostile_study(folder: Path, texts: list[str]) -> Path:
    rows = [evolved(text[:50], 1, instruction=text, seed_instruction=text, chosen_tags=[text]) for text in texts]
    save(folder / "a", selected=rows, not_chosen=[], rejected=[])
    save(folder / "b", selected=rows[:1], not_chosen=[], rejected=[])
    short = [text[:200] for text in texts]
    bad = arm(
        short[0],
        folder="a",
        digest=short[1],
        rejected={short[2]: 3},
        notes=short,
        steps=[{"name": short[3], "calls": 3}],
        engines={short[4]: {"spec": short[5], "identity": short[6], "language_model": True}},
        groups={f"{short[0]} 1": {"difficulty": 1}, f"{short[0]} 2": {"difficulty": 2}},
    )
    lost = arm("b", status="failed", message=short[2], figures={})
    return study(
        folder,
        [bad, lost, arm(short[5], folder="b")],
        name=short[0],
        question=short[1],
        command=short[2],
        axis=short[3],
        places={short[0]: 1, short[5]: 2},
        definitions={**dict.fromkeys(bad["figures"], short[4]), short[6]: short[0]},
        doubts=short,
        differences={short[3]: {short[0]: short[2]}},
        recipes={short[0]: {"recipe": short[1], "set": short}},
    )


def test_text_of_the_data_never_becomes_markup(tmp_path: Path) -> None:
    page = page_of(hostile_study(tmp_path, HOSTILE))
    assert page.tags["h1"] == 1
    assert page.tags["style"] == 1
    assert page.tags["img"] == 0
    assert page.tags["a"] == 9
    assert "49" not in re.findall(r"\b49\b", page.text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page.html)
    assert len(page.html.encode()) < 1_000_000


def test_secrets_and_home_folders_stay_out(tmp_path: Path) -> None:
    home = str(Path.home())
    bad = arm("a", engines={"respond": {"spec": "https://me:pw123@host/v1#m", "identity": "m", "language_model": True}})
    recipes = {"a": {"recipe": f"{home}/curate.yaml", "set": ["x.api_key=sk-abcdefghijklmnop"]}}
    page = page_of(
        study(tmp_path, [bad], recipes=recipes, command="tagevol compare --set hf_token=hf_abcdefghijklmnop")
    )
    for secret in ("pw123", f"{home}/", "abcdefghijklmnop"):
        assert secret not in page.html
    assert "~/curate.yaml" in page.html


def test_the_last_round_is_shown_and_where_there_is_none_the_reason(tmp_path: Path) -> None:
    lost = evolved("s", 1, "round", rejection=rejection("evol_instruct", "refusal", "", "", 3))
    save(tmp_path / "a", selected=[evolved("s", 1, "round"), evolved("s", 2, "round")], not_chosen=[], rejected=[])
    save(tmp_path / "b", selected=[evolved("other", 1, "round")], not_chosen=[evolved("s", 3, "round")], rejected=[])
    save(tmp_path / "c", selected=[evolved("t", 1, "round")], not_chosen=[], rejected=[lost])
    examples, notes = read_examples({name: tmp_path / name for name in "abc"})
    sides = {side.arm: side for side in examples[0].sides}
    assert notes == ()
    assert [sides[name].rewrite.label for name in "ab" if sides[name].rewrite] == ["round 2", "round 3"]
    assert (sides["c"].rewrite, sides["c"].reason) == (None, "refusal")


def test_rows_that_nothing_evolved_stand_beside_their_rewrites(tmp_path: Path) -> None:
    seed = {"id": "s", "instruction": "Sort the list s", "input": "in", "response": ""}
    save(tmp_path / "seeds", selected=[seed], not_chosen=[], rejected=[])
    save(tmp_path / "a", selected=[evolved("s", 3)], not_chosen=[], rejected=[])
    ((example,), _) = read_examples({name: tmp_path / name for name in ("seeds", "a")})
    assert [side.rewrite.label for side in example.sides if side.rewrite] == ["", "3 tags"]
    assert (example.seed.head, example.input.head) == ("Sort the list s", "in")


def test_geometry() -> None:
    chart = line_chart("F", "m", "b", {"x": [(1, 0.5), (3, 1.0)], "alone": [(1, 2)]}, str)
    assert chart is not None
    assert chart.lines[0].path == "M52.0,113.0 L462.0,22.0"
    assert [mark.text for mark in chart.x_ticks] == ["1", "3"]
    assert (chart.y_ticks[0].text, chart.y_ticks[-1].text, chart.labelled) == ("0.0", "1.0", True)
    assert line_chart("F", "m", "b", {"x": [(1, 2)]}, str) is None
    flat = line_chart("F", "m", "b", {"x": [(1, 0.0), (2, 0.0)]}, str)
    assert flat is not None
    assert flat.lines[0].path.endswith(",204.0")
    bars = bar_chart("F", "m", {"a": 2.0, "b": None, "c": 1.0}, str)
    assert bars is not None
    assert [(bar.text, bar.share) for bar in bars.bars] == [("2.0", 1.0), ("–", 0.0), ("1.0", 0.5)]
    assert bar_chart("F", "m", {"a": None}, str) is None


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_real_browser_shows_the_page_at_any_width_and_asks_for_nothing(
    tmp_path: Path,
    asked_paths: tuple[int, list[str]],  # noqa: F811
    width: int,
) -> None:
    port, asked = asked_paths
    address = f"http://127.0.0.1:{port}"
    texts = [*HOSTILE, f'<img src="{address}/img">', f"<script>fetch('{address}/script')</script>"]
    file = write_study_report(hostile_study(tmp_path / "study", texts))
    picture = tmp_path / "page.png"
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    common += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]
    common += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", f"--window-size={width},2400"]
    for what in (f"--screenshot={picture}", "--dump-dom"):
        command = [CHROMIUM or "", *common, what, file.as_uri()]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as browser:
            try:
                out, messages = browser.communicate(timeout=60)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(browser.pid, signal.SIGKILL)  # its helpers, too
        assert browser.returncode == 0
        assert "CONSOLE" not in messages
    assert asked == []
    shown = Page(out)
    assert shown.tags["script"] == shown.tags["img"] == 0
    assert "How to repeat it" in shown.text
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "study" / "compare.json").read_text())["format"] == 1
