r"""Whether two answers are the same by the rule of MATH (arXiv 2103.03874): as strings, once both are written alike.

Published results of MATH rest on it. It knows that `\tfrac12` is `1/2`, and does not know that `0.25` is `1/4`, nor
that `\text{Evelyn}` is `Evelyn`: what computer algebra takes for the same is a few points more.
"""

from __future__ import annotations

import re

_GONE = re.compile(r"\n|\\!|\\left(?![a-z])|\\right(?![a-z])|\^\{?\\circ\}?|\\?\$|\\?%")
_UNIT = re.compile(r"\\text\{ ")
_POINT = re.compile(r"(^|[ {])\.")
_ROOT = re.compile(r"\\sqrt([^{])")
_FRACTION = re.compile(r"\\frac(?:(\w)(\w|(?=\{))|(\{[^{}]*\})(\w))")
_SLASH = re.compile(r"(-?\d+)/(-?\d+)")


def same_string(first: str, second: str) -> bool:
    """Whether two answers are the same string once both are written alike."""
    return written_alike(first) == written_alike(second)


def written_alike(answer: str) -> str:
    r"""An answer without spacing, degrees, dollars, percent signs, a unit in `\text{ …}` behind it, or "x =" before it.

    Fractions and roots get their braces, `.5` its 0, `0.5` and `1/2` become `\frac{1}{2}`.
    """
    text = _GONE.sub("", answer.replace("\\\\", "\\")).replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac")
    text = _POINT.sub(r"\g<1>0.", _UNIT.split(text)[0])
    name, equals, value = text.partition("=")
    if equals and "=" not in value and len(name) <= 2:
        text = value
    text = _ROOT.sub(r"\\sqrt{\1}", text).replace(" ", "")
    text = _FRACTION.sub(_braced, text)
    if text == "0.5":
        return "\\frac{1}{2}"
    whole = _SLASH.fullmatch(text)
    return f"\\frac{{{int(whole[1])}}}{{{int(whole[2])}}}" if whole else text


def _braced(match: re.Match[str]) -> str:
    above, below, braced, after = match.groups()
    if braced:
        return f"\\frac{braced}{{{after}}}"
    return f"\\frac{{{above}}}" + (f"{{{below}}}" if below else "")
