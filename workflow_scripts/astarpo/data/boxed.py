r"""The answer in a ``\boxed{}``: where data sets and responses put their answers."""

from __future__ import annotations

import re
from typing import NamedTuple

_BOX = r"\\(?:boxed|fbox|framebox)"
# Behind a number without braces a formula does not go on: \boxed 42+1 is no box of 42.
_ALONE = (
    r"(?![A-Za-z0-9]|[-+*/^_=<>(\[{%&]|\s+[+*/^=<>\d]|\s+-\s*[\d\\]|\s*\\(?:%|(?:times|cdot|pi|frac|dfrac|sqrt|pm|le|ge|ne)"
    r"(?![A-Za-z]))|\s+(?:or|and)\b)"
)
# A box with braces, something escaped, a brace, or a box that has one number, fraction or root for its content.
_TOKEN = re.compile(
    rf"(?P<box>{_BOX}\s*\{{)"
    rf"|{_BOX}\s*(?P<bare>[-+\u2212]?(?:[0-9]++(?:[.,][0-9]++)*+|\\pi(?![A-Za-z])"
    r"|\\[dt]?frac\s*(?:[0-9]{2}|\{[^{}]*\}\s*\{[^{}]*\})|\\sqrt\s*(?:[0-9]|\{[^{}]*\})))"
    rf"{_ALONE}|{_BOX}\s+(?P<letter>[A-Z])(?=\s*(?:$|[.$]|\\\)))"
    r"|\\.|(?P<brace>[{}])",
    re.DOTALL,
)
_SPACE = r"(?:\s|\\[,;:! ]|~|\\q?quad(?![A-Za-z]))*"
_WORD = r"(?:and|or|y|und|oder|et|ou|\u548c|\u6216)"
_TEXT = r"\\(?:text|mbox|textrm)\s*\{\s*"
_SEPARATOR = rf"(?:[,;\u3001\uff0c]{_SPACE}(?:{_WORD}|{_TEXT}{_WORD}\s*\}})?|{_WORD}|{_TEXT}[,;]?\s*{_WORD}\s*\}})"
_NAME = r"(?:\\?[A-Za-z]{1,8}(?:_\{?\w{1,8}\}?)?\s*=)?"
# What may stand between boxes that are one answer: "and", "or" or a comma, besides dollars, emphasis and a name.
_BETWEEN = re.compile(
    rf"{_SPACE}(?:\*\*)?(?:\${{1,2}}|\\\)|\\\])?(?:\*\*)?{_SPACE}{_SEPARATOR}{_SPACE}(?:\*\*)?"
    rf"(?:\${{1,2}}|\\\(|\\\[)?{_SPACE}{_NAME}{_SPACE}"
)
_FURTHEST = 60  # characters between two boxes that are one answer


class _Box(NamedTuple):
    """Places in the text: of the command, of its content, behind the content, behind the box."""

    start: int
    inside: int
    outside: int
    end: int


def last_boxed(text: str) -> str | None:
    r"""Find the content of the last ``\boxed{...}`` whose braces balance; None where there is none.

    ``\fbox{42}``, ``\boxed {42}`` and ``\boxed 42`` are boxes as well. Boxes that only a comma, "and" or "or"
    separates are one answer, ``\boxed{2} and \boxed{3}`` is ``2, 3``; if they all say the same, they are one box.
    Of boxes with more, or with mere blanks between them the last one counts.

    One pass over the text, so that a hostile response costs no more than its length.
    """
    boxes = sorted(_boxes(text))
    if not boxes:
        return None
    chosen = [boxes.pop()]
    while boxes and _joined(text, boxes[-1], chosen[-1]):
        chosen.append(boxes.pop())
    contents = [text[box.inside : box.outside] for box in reversed(chosen)]
    return contents[0] if len({one.strip() for one in contents}) == 1 else ", ".join(contents)


def _joined(text: str, first: _Box, second: _Box) -> bool:
    if not first.end <= second.start <= first.end + _FURTHEST:
        return False
    return _BETWEEN.fullmatch(text, first.end, second.start) is not None


def _boxes(text: str) -> list[_Box]:
    found: list[_Box] = []
    # Places of each open brace: where its box begins (None: it opens none), and behind the brace.
    opened: list[tuple[int | None, int]] = []
    for match in _TOKEN.finditer(text):
        if match["box"] or match["brace"] == "{":
            opened.append((match.start() if match["box"] else None, match.end()))
        elif match["brace"] == "}" and opened:
            start, inside = opened.pop()
            if start is not None:
                found.append(_Box(start, inside, match.start(), match.end()))
        elif match["bare"] or match["letter"]:
            group = "bare" if match["bare"] else "letter"
            found.append(_Box(match.start(), match.start(group), match.end(group), match.end()))
    return found
