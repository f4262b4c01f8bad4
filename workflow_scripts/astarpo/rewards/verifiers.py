"""Verifiers: one response in, one verdict out. The same callable serves stage 1, training and evaluation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["correct", "incorrect", "no_answer", "timeout", "error"]


@dataclass(frozen=True)
class Response:
    """What a verifier sees: the response alone, never the prompt.

    Attributes:
        text: the decoded response, special tokens left out.
        token_ids: its tokens, the end token included.
        finish_reason: ``stop`` if it ended by itself, ``length`` if it was cut.
    """

    text: str
    token_ids: list[int]
    finish_reason: str


@dataclass(frozen=True)
class Verdict:
    """A verifier's judgement.

    Attributes:
        status: ``correct``, ``incorrect`` or ``no_answer`` (nothing to judge); grading adds ``timeout`` and ``error``.
        answer: the answer as extracted, None where there is none.
    """

    status: Status
    answer: str | None


Verifier = Callable[[str, Response], Verdict]


def integer(gold: str, response: Response) -> Verdict:
    r"""Compare the integer in the last ``\boxed{}`` of the response with the gold integer.

    Args:
        gold: an integer; thousands commas are allowed.
        response: the response.

    Returns:
        ``no_answer`` where there is no box, ``incorrect`` where it holds no integer or another one.

    Raises:
        ValueError: the gold answer is no integer.
    """
    wanted = _to_integer(gold)
    if wanted is None:
        raise ValueError(f"the gold answer is no integer: {gold!r}")
    answer = last_boxed(response.text)
    if answer is None:
        return Verdict("no_answer", None)
    return Verdict("correct" if _to_integer(answer) == wanted else "incorrect", answer)


def last_boxed(text: str) -> str | None:
    r"""Find the content of the last ``\boxed{...}`` whose braces balance; None where there is none.

    One pass over the text, so that a hostile response costs no more than its length.
    """
    opened: list[
        tuple[int, bool]
    ] = []  # position after each open brace, and whether it opens a box
    best: tuple[int, int] | None = None
    for match in re.finditer(r"\\boxed\s*\{|[{}]", text):
        if match.group() != "}":
            opened.append((match.end(), len(match.group()) > 1))
        elif opened:
            start, is_box = opened.pop()
            if is_box and (best is None or start > best[0]):
                best = (start, match.start())
    return None if best is None else text[best[0] : best[1]]


def _to_integer(text: str) -> int | None:
    cleaned = text.strip().replace(",", "")
    return int(cleaned) if re.fullmatch(r"[+-]?[0-9]{1,1000}", cleaned) else None


VERIFIERS: dict[str, Verifier] = {"integer": integer}
