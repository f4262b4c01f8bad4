"""What a verifier is given, and what it says."""

from __future__ import annotations

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
        status: ``correct``, ``incorrect``, ``no_answer`` (nothing to judge) or ``timeout``; grading adds ``error``.
        answer: the answer as extracted, None where there is none.
    """

    status: Status
    answer: str | None


# (gold answer, response) -> verdict.
Verifier = Callable[[str, Response], Verdict]
