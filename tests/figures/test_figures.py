"""Figures for papers and notebooks; importing matplotlib takes a second, so nearly all is slow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from demo_run import demo_record, save, write
from mapped_run import without

from tagevol_hf.errors import DataError
from tagevol_hf.figures import RunFigures, write_figures
from tagevol_hf.figures.data import FIGURES

HOSTILE = [
    r"$\frac{a}{$ cost of_$x^2",
    "标签：数据分析与可视化，非常长的中文标签名称在这里出现",
    "👩‍🔬🚀 emoji",
    "new\nline\ttab",
    "x" * 10_000,
    '<script>&amp;"]]>',
    "\x00\x07\ufffe control",
    "مرحبا بالعالم",
    "",
    "$",
    "a_b^c{",
    "\\",
]


@pytest.fixture
def hostile(folder: Path) -> Path:
    """The run with names that no figure expects."""
    entries = [
        {"tag": name, "count": 40 - place, "key": name, "canonical": name, "step": "kept", "why": ""}
        for place, name in enumerate(HOSTILE)
    ]
    write(folder / "tags.json", {"format": 2, "entries": entries})
    write(folder / "clusters.json", {"names": [[name, "label"] for name in HOSTILE]})
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for step, name in zip(record["steps"][2:6], HOSTILE, strict=False):
        step["name"] = name
    record["totals"]["rejected"] = {name: place * 1234 + 1 for place, name in enumerate(HOSTILE)}
    write(folder / "run.json", record)
    (folder / "sft-tiny").rename(folder / "sft-$x_1$ of a model with a long name that goes on and on")
    return folder


MISSING = """
import sys
sys.modules["matplotlib"] = None
from tagevol_hf.errors import MissingExtraError
from tagevol_hf.figures import RunFigures, write_figures
figures = RunFigures(sys.argv[1])
assert "funnel" in figures.names()
for ask in (figures.funnel, figures.clusters, lambda: write_figures(sys.argv[1], sys.argv[2])) * 2:
    try:
        ask()
    except MissingExtraError as fault:
        print(fault)
"""


@pytest.mark.slow
def test_without_matplotlib_the_extra_is_named(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MISSING, str(folder), str(tmp_path / "figures")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    told = "matplotlib is not installed; install it with: pip install 'tagevol_hf[figures]'"
    assert done.stdout.splitlines() == [told] * 6, done.stderr[-2000:]
    assert not (tmp_path / "figures").exists()


def check_png(file: Path) -> None:
    """A picture of one or two columns at 200 dots an inch, with something on it."""
    from PIL import Image

    with Image.open(file) as image:
        image.load()
        assert image.width in (680, 1400)
        assert image.height > 150
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 10
        check_edges(image)


def check_edges(image: Any) -> None:
    """Nothing is cut off: the outermost dots are white."""
    dots = image.convert("L")
    wide, high = dots.size
    for box in ((0, 0, wide, 1), (0, high - 1, wide, high), (0, 0, 1, high), (wide - 1, 0, wide, high)):
        assert dots.crop(box).getextrema() == (255, 255), f"something is cut off at {box}"


def texts(file: Path) -> list[str]:
    """The texts of an SVG."""
    root = ElementTree.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.slow
def test_every_figure_is_written_as_png_and_svg_twice_the_same(folder: Path, tmp_path: Path) -> None:
    files = write_figures(folder, tmp_path / "a" / "b")
    assert [file.name for file in files] == [f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")]
    again = write_figures(folder, tmp_path / "again")
    for file, other in zip(files, again, strict=True):
        assert file.read_bytes() == other.read_bytes(), file.name
        check_png(file) if file.suffix == ".png" else texts(file)
    assert {"Tag-Evol", "185 (−7)", "rows", "48"} <= set(texts(tmp_path / "a" / "b" / "funnel.svg"))
    assert "chosen (48)" in texts(tmp_path / "a" / "b" / "clusters.svg")


@pytest.mark.slow
def test_names_of_the_data_are_shown_as_they_are_and_cut(hostile: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = write_figures(hostile, tmp_path / "figures")
    assert len(files) == 2 * len(FIGURES)
    for file in files:
        check_png(file) if file.suffix == ".png" else None
    shown = texts(tmp_path / "figures" / "tags.svg")
    assert r"$\frac{a}{$ cost of_$x^2" in shown
    assert {"$", "\\", "a_b^c{", "new line tab"} <= set(shown)
    assert "x" * 23 + "…" in shown
    assert any(text.startswith("标签") and text.endswith("…") for text in shown)
    for name in ("clusters", "funnel", "reasons", "loss"):
        assert max(map(len, texts(tmp_path / "figures" / f"{name}.svg"))) < 100, name
    assert any("sft-$x_1$ of a model" in text for text in texts(tmp_path / "figures" / "loss.svg"))


@pytest.mark.slow
def test_what_has_no_data_is_left_out_and_told(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    files = write_figures(without(folder, "cluster_map.json", "sft-tiny"), tmp_path / "figures", said.append)
    assert not {"clusters", "loss"} & {file.stem for file in files}
    assert [line.split(" is left out")[0] for line in said] == ["figure clusters", "figure loss"]
    assert "tagevol train" in said[1]


@pytest.mark.slow
def test_an_empty_run_has_only_its_steps(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    save(folder, selected=[], not_chosen=[], rejected=[])
    write(folder / "run.json", demo_record(0, 0, {}))
    assert {file.stem for file in write_figures(folder, tmp_path / "figures", lambda _: None)} == {"funnel", "judge"}
    write(folder / "run.json", {"name": "begun", "status": "running", "steps": []})
    assert write_figures(folder, tmp_path / "none", lambda _: None) == []


@pytest.mark.slow
def test_a_target_that_is_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="expected a folder for figures"):
        write_figures(folder, tmp_path / "file")


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_shows_itself_in_a_notebook(folder: Path, name: str) -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from PIL import Image

    figure: Any = getattr(RunFigures(folder), name)()
    assert isinstance(figure, Figure)
    image, size = figure._repr_png_()
    with Image.open(BytesIO(image)) as shown:
        assert shown.width == pytest.approx(2 * size["width"], abs=2)
        check_edges(shown)
    texts_of = [text for text in figure.findobj(Text) if text.get_text()]
    assert len(texts_of) > 5
    assert not any(text.get_parse_math() for text in texts_of)


@pytest.mark.slow
def test_the_users_own_style_has_no_say(folder: Path, tmp_path: Path) -> None:
    import matplotlib

    expected = write_figures(folder, tmp_path / "plain")
    with matplotlib.rc_context({"font.size": 30, "text.parse_math": True, "axes.facecolor": "black"}):
        found = write_figures(folder, tmp_path / "styled")
        assert matplotlib.rcParams["font.size"] == 30
    assert [file.read_bytes() for file in found] == [file.read_bytes() for file in expected]


CHECK = """
import sys
from tagevol_hf.pipeline import load_run
run = load_run(sys.argv[1])
figure = run.figures.funnel()
assert "matplotlib.pyplot" not in sys.modules
print(type(figure).__mro__[1].__name__, len(run.selected))
"""


@pytest.mark.slow
def test_a_past_run_is_loaded_and_drawn_without_pyplot(folder: Path) -> None:
    command = [sys.executable, "-c", CHECK, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "Figure 48", done.stderr[-2000:]


@pytest.mark.slow
def test_a_real_small_run_has_its_figures(tmp_path: Path) -> None:
    from tagevol_hf.pipeline import curate, load_run
    from tagevol_hf.project import recipe_path
    from tagevol_hf.recipe_file import load_recipe

    settings = ["data.limit=16", "normalize_tags.embedder=builtin", "cluster.embedder=builtin", "select.n=16"]
    recipe = load_recipe(recipe_path(Path("recipes/quickstart")), settings)
    made = curate(recipe, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.record == made.record
    assert set(run.figures.names()) >= {"clusters", "funnel", "tags", "budgets", "scores", "lengths", "judge"}
    files = write_figures(run.path, tmp_path / "figures", lambda _: None)
    assert len(files) == 2 * len(run.figures.names())
    shown = " ".join(texts(tmp_path / "figures" / "clusters.svg"))
    assert re.search(r"chosen \(16\).*not chosen \(32\)", shown)
    again = curate(recipe, tmp_path / "again")
    assert (again.path / "cluster_map.json").read_bytes() == (run.path / "cluster_map.json").read_bytes()
