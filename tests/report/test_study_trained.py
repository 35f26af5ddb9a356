"""The part of a study's page about trained arms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report.test_report import HOSTILE
from report.test_study_report import arm, page_of, study


def training(name: str, equal: str = "rows", seed: int = 0, **changes: Any) -> dict[str, Any]:
    body = {"arm": name, "equal": equal, "seed": seed, "rows": 32, "tokens": 4100, "status": "complete", "message": ""}
    return {**body, "digest": "0f", "losses": [2.0, 1.5], "folder": f"trained/{name}/{equal}-seed{seed}", **changes}


def contrast(name: str, task: str = "gsm8k", **changes: Any) -> dict[str, Any]:
    body = {"task": task, "metric": "accuracy", "better": "higher", "equal": "rows", "against": "random", "arm": name}
    body |= {"n": 50, "seeds": [0, 1], "mean": 0.412, "interval": [0.38, 0.444], "sd_over_seeds": 0.01}
    return {**body, "difference": None, "difference_interval": None, **changes}


def test_a_table_and_a_plot_of_differences(tmp_path: Path) -> None:
    trainings = [training(name, seed=seed, tokens=4100 + seed) for name in ("random", "tacos") for seed in (0, 1)]
    better = contrast("tacos", mean=0.45, difference=0.038, difference_interval=[-0.01, 0.086])
    loss = {"metric": "loss", "better": "lower", "mean": 1.25, "interval": [1.2, 1.3]}
    worse = {**loss, "difference": 0.031, "difference_interval": [0.005, 0.057]}
    contrasts = [
        contrast("random"),
        better,
        contrast("random", "held_out_loss", **loss),
        contrast("tacos", "held_out_loss", **worse),
    ]
    page = page_of(study(tmp_path, [arm("random"), arm("tacos")], trainings=trainings, contrasts=contrasts))
    assert "4,100–4,101" in page.text
    assert "41.2 % [38.0, 44.4]" in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "+3.8 % [−1.0, +8.6]" in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "gsm8k, equal rows (right is better)" in page.text
    assert "held_out_loss, equal rows (left is better)" in page.text
    assert page.html.count('class="point s0"') == 2
    assert page.text.count("2 of 2") == 2
    assert 'href="#trained"' in page.html


def test_what_failed_is_said_and_nothing_is_drawn_without_differences(tmp_path: Path) -> None:
    failed = training("tacos", status="failed", message="CUDA out of memory")
    body = {"trainings": [training("random"), failed], "contrasts": [contrast("random")]}
    page = page_of(study(tmp_path, [arm("random"), arm("tacos")], **body))
    assert "tacos, rows, seed 0 has no result: CUDA out of memory" in " ".join(page.text.split())
    assert "0 of 1" in page.text
    assert "No difference to draw: random" in page.text
    assert "forest-t" not in page.html


def test_a_study_without_trainings_has_no_such_part(tmp_path: Path) -> None:
    page = page_of(study(tmp_path, [arm("a"), arm("b")]))
    assert "Trained and evaluated" not in page.text
    assert 'href="#trained"' not in page.html


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_messages_stay_text(tmp_path: Path, text: str) -> None:
    trainings = [training("random"), training(text, equal=text, status="failed", message=text)]
    other = contrast(text, task=text, equal=text, metric=text, difference=1.0, difference_interval=[0.0, 2.0])
    page = page_of(
        study(tmp_path, [arm("random"), arm("b")], trainings=trainings, contrasts=[contrast("random"), other])
    )
    assert page.tags["img"] == page.tags["script"] == page.tags["iframe"] == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"trainings": "x"},
        {"trainings": [1, {}], "contrasts": [{}, None]},
        {"trainings": [{"arm": "a", "seed": "x"}], "contrasts": [{"task": 1, "interval": ["a"], "difference": 2}]},
        {"trainings": [{"arm": "a"}], "contrasts": [{"difference": 2, "difference_interval": [float("nan"), 1]}]},
    ],
)
def test_a_damaged_file_still_makes_a_page(tmp_path: Path, damage: dict[str, Any]) -> None:
    assert page_of(study(tmp_path, [arm("a"), arm("b")], **damage)).text
