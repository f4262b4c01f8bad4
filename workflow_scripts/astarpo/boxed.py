r"""The answer in a ``\boxed{}``: where data sets and responses put their answers."""

from __future__ import annotations

import re
from typing import NamedTuple

# What ends a text for the models in use. Behind it a model that was not stopped makes up the next question.
_END_OF_TEXT = re.compile(
    r"<\|(?:endoftext|end_of_text|eot_id|eom_id|im_end|end|return|eos|EOT|END_OF_TURN_TOKEN)\|>"
    r"|<\uff5cend\u2581of\u2581sentence\uff5c>|<end_of_turn>|<eos>|</s>"
)
# Where a model that runs on asks itself the next question.
_NEXT_QUESTION = re.compile(
    r"\n\s*(?:\*\*|#+ )?(?:Question|Problem|Human|User|Exercise)(?: [0-9]+)?\s*:"
)
_BOX = r"\\(?:boxed|fbox|framebox)"
# A box with braces, something escaped, a brace, or a box that has one number, fraction or root for its content.
_TOKEN = re.compile(
    rf"(?P<box>{_BOX}\s*\{{)"
    rf"|{_BOX}\s*(?P<bare>[-+\u2212]?(?:[0-9](?:[0-9.,]*[0-9])?|\\pi(?![A-Za-z])"
    r"|\\[dt]?frac\s*(?:[0-9]{2}|\{[^{}]*\}\s*\{[^{}]*\})|\\sqrt\s*(?:[0-9]|\{[^{}]*\})))"
    rf"|{_BOX}\s+(?P<letter>[A-Z])(?=\s*(?:$|[.$]|\\\)))"
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


def before_the_end(text: str) -> str:
    """What precedes the first token that ends a text (``<|endoftext|>``, ``</s>``); all of it without one."""
    end = _END_OF_TEXT.search(text)
    return text if end is None else text[: end.start()]


def last_boxed(text: str) -> str | None:
    r"""Find the content of the last ``\boxed{...}`` whose braces balance; None where there is none.

    ``\fbox{42}``, ``\boxed {42}`` and ``\boxed 42`` are boxes as well. Boxes that only a comma, "and" or "or"
    separates are one answer, ``\boxed{2} and \boxed{3}`` is ``2, 3``; if they all say the same, they are one box.
    Of boxes with more, or with mere blanks between them the last one counts. Nothing behind a token that ends
    the text counts, and nothing behind a line ``Question:`` that comes after a box.

    One pass over the text, so that a hostile response costs no more than its length.
    """
    text = before_the_end(text)
    boxes = sorted(_boxes(text))
    if not boxes:
        return None
    question = _NEXT_QUESTION.search(text, boxes[0].end)
    if question is not None:
        boxes = [box for box in boxes if box.end <= question.start()]
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
