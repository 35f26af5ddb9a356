"""A figure that shows itself in a notebook and looks right in a paper: sizes, colours, fonts, files."""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import bidirectional, combining, east_asian_width

from ..errors import MissingExtraError
from ..report.words import printable

try:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager
except ImportError:
    raise MissingExtraError("matplotlib", "figures") from None

SINGLE, DOUBLE = 3.4, 7.0  # inches: one column of a paper, and two
# Okabe and Ito: told apart by the colour-blind. Dark against light, so that it can be read in grey, too.
CHOSEN, OTHER, LOST, ADDED, LINE, MUTED = "#0072B2", "#BDD7E7", "#D55E00", "#009E73", "#222222", "#8A8A8A"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C7A00", "#555555")
MARKERS = "osD^vPX"

_DPI = 200
_NOTEBOOK_DPI, _CSS_DPI = 192, 96
_STYLE: dict[str, Any] = {
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": LINE,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "savefig.dpi": _DPI,
    "svg.fonttype": "none",  # text stays text: it can be searched, edited, and shown in the reader's fonts
    "svg.hashsalt": "tagevol_hf",
    "text.usetex": False,
    "text.parse_math": False,
}
_SCRIPTS = (  # for what DejaVu Sans lacks
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Emoji",
    "Symbola",
)


class Picture(Figure):
    """A matplotlib figure outside pyplot; a notebook shows it, and `write` makes the files for a paper."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """For a notebook, in twice the dots of its size."""
        stream = io.BytesIO()
        with style():
            self.savefig(stream, format="png", dpi=_NOTEBOOK_DPI)
        wide, high = (round(inches * _CSS_DPI) for inches in self.get_size_inches())
        return stream.getvalue(), {"width": wide, "height": high}

    def write(self, stem: Path) -> list[Path]:
        """Write `stem`.png (200 dots an inch) and `stem`.svg; equal figures give equal bytes of SVG."""
        files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
        with style():
            self.savefig(files[0])
            self.savefig(files[1], metadata={"Date": None})
        return files


def drawn(wide: float, high: float, draw: Callable[[Picture], None]) -> Picture:
    """A picture of so many inches, drawn in the style of this package, whatever the user's own matplotlibrc says."""
    with style():
        picture = Picture(figsize=(wide, high), layout="constrained")
        FigureCanvasAgg(picture)
        draw(picture)
        picture.draw_without_rendering()  # every text is made now, in this style
    return picture


@contextmanager
def style() -> Iterator[None]:
    """The style of the figures, and no warning about a character that no font here has."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*Glyph .* missing from")
        warnings.filterwarnings("ignore", message=r"(?s).*Matplotlib currently does not support")
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams
        parameters.update({**_STYLE, "font.family": _families()})
        yield


@functools.cache
def _families() -> list[str]:
    there = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _SCRIPTS if name in there)]


_UNFIT = re.compile(r"[\ufffe\uffff\U0001fffe\U0001ffff]")  # what XML cannot hold


def short(text: Any, most: int) -> str:
    """A text of the data in one line, not wider than so many Latin letters; it is read from the left."""
    line = " ".join(_UNFIT.sub("\ufffd", printable(str(text)[: 4 * most + 100])).split())
    if _wide(line) > most:
        while _wide(line) > most - 1:
            line = line[:-1]
        line = line.rstrip() + "…"
    return f"{_FROM_LEFT}{line}{_FROM_LEFT}" if any(bidirectional(char) in _FROM_RIGHT for char in line) else line


_FROM_LEFT, _FROM_RIGHT = "\u200e", ("R", "AL")


def _wide(line: str) -> int:
    """Width of a line, a Latin letter being 1 and a Chinese one 2."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in line)
