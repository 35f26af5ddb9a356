"""Whether two final answers are the same: as text, as numbers, or by computer algebra in a process of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from fractions import Fraction
from types import TracebackType

from ..errors import MissingExtraError

_SECONDS = 5  # of processor time a pair, so that a busy machine changes no answer
_WAIT_SECONDS = 120  # for a reply, the start included: the last resort
_MOST_CHARS = 400  # a longer answer is compared as text alone
_START = (
    "import sys; seconds = int(sys.argv[1]); sys.path[:] = sys.argv[2:]; "
    "from tagevol_hf.answers.worker import main; main(seconds)"
)

_UNIT = re.compile(r"\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}")
_DRESSING = re.compile(r"\\[,;!:]|\\(?:left|right|displaystyle)(?![A-Za-z])|\{,\}|\\?\$|[€£¥]|\*\*")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:/(\d+))?(?:\s+[a-z][a-z\s./-]*)?\.?")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_NAMED = re.compile(r"\\[A-Za-z]+\s*\{[A-Za-z]+\*?\}")  # such as \begin{pmatrix}, \operatorname{lcm}


class Equality:
    """Compares answers, and remembers what it found; a context manager that ends its process.

    Answers are the same where their texts are (case, blanks, dressing and, behind a plain number, a unit aside), or
    their numbers, or where math_verify says so. A pair on which that takes more than five seconds of
    processor time, or too much memory, counts as two answers. Works in any thread: no signals here.

    Raises:
        MissingExtraError: If math_verify is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise MissingExtraError("math_verify", "eval")
        self._known: dict[tuple[str, str], bool] = {}
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Equality:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def same(self, first: str, second: str) -> bool:
        """Whether two answers are the same."""
        one, other = sorted((plain(first), plain(second)))
        if one == other:
            return True
        numbers = number(one), number(other)
        if None not in numbers:
            return numbers[0] == numbers[1]
        if not (_is_formula(one) and _is_formula(other)):
            return False
        if (one, other) not in self._known:
            self._known[one, other] = self._ask(one, other)
        return self._known[one, other]

    def groups(self, answers: Sequence[str]) -> list[int]:
        """For each answer the place of the first one that is the same."""
        heads: list[int] = []
        found = []
        for place, answer in enumerate(answers):
            head = next((head for head in heads if self.same(answers[head], answer)), None)
            if head is None:
                heads.append(place)
            found.append(place if head is None else head)
        return found

    def _ask(self, one: str, other: str) -> bool:
        """Ask the process; where it dies of the question, the answer is no, and the next question starts another."""
        worker = self._worker = self._worker or _started()
        late = threading.Timer(_WAIT_SECONDS, worker.kill)
        late.daemon = True
        late.start()
        try:
            said = _exchange(worker, json.dumps([one, other]))
        finally:
            late.cancel()
        if not said:
            self._end()
        return said.strip() == b"true"

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            with worker:  # closes the pipes and waits
                worker.kill()


def plain(answer: str) -> str:
    """An answer without what does not change it: case of words, blanks, currency, LaTeX spacing, thousands' commas."""
    bare = _DRESSING.sub("", _UNIT.sub(r" \1 ", answer))
    bare = " ".join(_GROUPED.sub("", bare).split()).strip().rstrip(".")
    return bare if "\\" in bare or not _WORD.search(bare) else bare.lower()


def number(text: str) -> Fraction | None:
    """The value of a plain number, decimal or fraction, with a unit in words behind it or not; None for other text."""
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > _MOST_CHARS:
        return None
    below = int(match.group(2) or 1)
    return Fraction(match.group(1).rstrip(".")) / below if below else None


def _is_formula(text: str) -> bool:
    """Whether computer algebra is to be asked: not for prose, in which letters would be taken for unknowns."""
    return 0 < len(text) <= _MOST_CHARS and not _WORD.search(_NAMED.sub("", text))


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _START, str(_SECONDS), *sys.path]
    return subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,  # what a dead process did not take must not be left to be written at the end
    )


def _exchange(worker: subprocess.Popen[bytes], line: str) -> bytes:
    """The process's reply; empty where it is gone."""
    if worker.stdin is None or worker.stdout is None:
        return b""
    with contextlib.suppress(OSError):
        worker.stdin.write(f"{line}\n".encode())
        return worker.stdout.readline()
    return b""
