"""Input and result of verifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["correct", "incorrect", "no_answer", "timeout", "error"]


@dataclass(frozen=True)
class Response:
    """The input of a verifier: the response alone, never the prompt.

    Attributes:
        text: the decoded response without special tokens.
        token_ids: its tokens, including the end token.
        finish_reason: ``stop`` if it ended by itself, ``length`` if it was cut off.
    """

    text: str
    token_ids: list[int]
    finish_reason: str


@dataclass(frozen=True)
class Verdict:
    """A verifier's judgement.

    Attributes:
        status: ``correct``, ``incorrect``, ``no_answer`` (nothing to judge) or ``timeout``; grading adds ``error``.
        answer: the extracted answer, None if there is none.
    """

    status: Status
    answer: str | None


# (gold answer, response) -> verdict.
Verifier = Callable[[str, Response], Verdict]
