"""The registry of verifiers, shared by stage 1, training and evaluation."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import get_args

from astarpo.common.errors import InputError
from astarpo.common.own_files import load_own, own_files
from astarpo.rewards.countdown import countdown, countdown_solution
from astarpo.rewards.latex import math, math_quickly
from astarpo.rewards.multiple_above import multiple_above, smallest_multiple_above
from astarpo.rewards.numbers import gsm8k, gsm8k_flexible, integer
from astarpo.rewards.random_reward import random
from astarpo.rewards.verdicts import Response, Status, Verdict, Verifier

__all__ = ["VERIFIERS", "Entry", "Response", "Status", "Verdict", "Verifier"]

Quick = Callable[[str, Response], Verdict | None]
Canary = tuple[str, str, Status]


@dataclass(frozen=True)
class Entry:
    """A verifier and its properties.

    Attributes:
        judge: the verifier.
        spell: gold answer -> its shortest correct response; None if unknown.
        quick: the verdict of ``judge`` in time linear in the text, or None: then a worker calls ``judge``.
        canaries: (gold, response, status), checked before anything is graded.
        judges_truncated: its verdicts stand for truncated responses too, whatever `grading.truncated` says.
    """

    judge: Verifier
    spell: Callable[[str], str] | None
    quick: Quick
    canaries: tuple[Canary, ...] = ()
    judges_truncated: bool = False


def boxed(answer: str) -> str:
    r"""Write an answer as ``\boxed{answer}``."""
    return f"\\boxed{{{answer}}}"


def after_hashes(answer: str) -> str:
    """Write an answer as ``#### answer``."""
    return f"#### {answer}"


def multiple(gold: str, response: Response) -> Verdict:
    """Judge with the verifier that the gold answer names: ``integer: 42``, ``math: \\frac12``.

    For data sets with several kinds of answers; ``columns.verifier`` of a data set writes these gold answers.

    Args:
        gold: a verifier's name, a colon, a blank, and the gold answer.
        response: the response.

    Raises:
        ValueError: the gold answer names no verifier.
    """
    entry, rest = _named_by(gold)
    return entry.judge(rest, response)


def _multiple_quickly(gold: str, response: Response) -> Verdict | None:
    entry, rest = _named_by(gold)
    return entry.quick(rest, response)


def _spell_multiple(gold: str) -> str:
    entry, rest = _named_by(gold)
    if entry.spell is None:
        raise ValueError(f"no correct response to {gold!r} is known")
    return entry.spell(rest)


def _named_by(gold: str) -> tuple[Entry, str]:
    name, separator, rest = gold.partition(": ")
    if not separator or name == "multiple" or name not in REGISTRY:
        known = ", ".join(sorted(REGISTRY.keys() - {"multiple"}))
        raise ValueError(f"the gold answer must begin with one of {known} and ': ', but is {gold!r}")
    return REGISTRY[name], rest


def _nothing_quickly(gold: str, response: Response) -> None:
    return None


_COIN = '{"prompt": "a", "seed": 0, "share": 0.5}'
_MULTIPLE = '{"above": 23, "at_most": 99, "factor": 7}'
_SUM = '{"numbers": [2, 3], "solution": "2+3", "target": 5}'
REGISTRY: dict[str, Entry] = {
    "countdown": Entry(
        countdown,
        countdown_solution,
        countdown,
        (
            (_SUM, r"\boxed{3+2}", "correct"),
            (_SUM, r"\boxed{5}", "incorrect"),
            (_SUM, "3+2", "no_answer"),
            (_SUM, r"\boxed{5=3+2}", "correct"),
            (_SUM, r"\boxed{3+2=6}", "incorrect"),
        ),
    ),
    "gsm8k": Entry(
        gsm8k,
        after_hashes,
        gsm8k,
        (
            ("1,000", "#### $1000", "correct"),
            ("-5", "#### 5", "incorrect"),
            ("5", "5", "no_answer"),
            ("5", "#### **5** eggs", "correct"),
            ("5", "#### 5 is wrong", "incorrect"),
            ("5", "#### 5 dozen", "incorrect"),
            ("5", "#### 5\nQuestion: 2+2?\n#### 4", "correct"),
        ),
    ),
    "gsm8k_flexible": Entry(
        gsm8k_flexible,
        after_hashes,
        gsm8k_flexible,
        (
            ("5", "So it is 5.", "correct"),
            ("5", "5 of 6", "incorrect"),
            ("5", "five", "no_answer"),
            ("5", "so .5", "incorrect"),
        ),
    ),
    "integer": Entry(
        integer,
        boxed,
        integer,
        (
            ("12", r"\boxed{12}", "correct"),
            ("12", r"\boxed{-12}", "incorrect"),
            ("12", "12", "no_answer"),
            ("12", r"\boxed{m+n=12}", "correct"),
            ("12", r"\boxed{1,2}", "incorrect"),
        ),
    ),
    "math": Entry(
        math,
        boxed,
        math_quickly,
        (
            (r"\frac{1}{2}", r"\boxed{0.5}", "correct"),
            (r"x^2+1", r"\boxed{1+x^2}", "correct"),
            (r"\sqrt{2}", r"\boxed{\sqrt{3}}", "incorrect"),
            ("2", r"\boxed{1} or \boxed{3}", "incorrect"),
        ),
    ),
    "multiple": Entry(
        multiple,
        _spell_multiple,
        _multiple_quickly,
        (("integer: 12", r"\boxed{12}", "correct"), ("math: 12", r"\boxed{13}", "incorrect")),
    ),
    # A coin that punished truncated responses would teach a policy to end them, which is what it is a control for.
    "random": Entry(random, None, random, ((_COIN, "8", "correct"), (_COIN, "7", "incorrect")), judges_truncated=True),
    "multiple_above": Entry(
        multiple_above,
        smallest_multiple_above,
        multiple_above,
        (
            (_MULTIPLE, r"\boxed{98}", "correct"),
            (_MULTIPLE, r"\boxed{21}", "incorrect"),
            (_MULTIPLE, r"\boxed{105}", "incorrect"),
            (_MULTIPLE, r"\boxed{4*7}", "incorrect"),
            (_MULTIPLE, "28", "no_answer"),
        ),
    ),
}
VERIFIERS: dict[str, Verifier] = {name: entry.judge for name, entry in REGISTRY.items()}


def right_response(verifier: str, gold: str) -> Response | None:
    """The shortest correct response to a gold answer.

    Args:
        verifier: a name in the registry, or ``path/to/file.py:function``.
        gold: the gold answer.

    Returns:
        The response, None if it is unknown, as for a user's verifier.
    """
    spell = None if is_own(verifier) else REGISTRY[verifier].spell
    return None if spell is None else Response(spell(gold), [], "stop")


def judges_truncated(verifier: str) -> bool:
    """Whether the verdicts of this verifier stand for truncated responses too, see `Entry`."""
    return verifier in REGISTRY and REGISTRY[verifier].judges_truncated


def takes_answers(verifier: str) -> bool:
    """Whether an extracted answer can serve as a gold answer of this verifier."""
    return verifier in REGISTRY and verifier not in ("countdown", "multiple", "multiple_above", "random")


# Users' verifiers.


def is_own(verifier: str) -> bool:
    """Whether a name refers to a function in a file, ``path/to/file.py:function``."""
    return verifier.rpartition(":")[0].endswith(".py")


def own_file(verifier: str) -> str:
    """The file of a user's verifier."""
    return verifier.rpartition(":")[0]


def own_function(verifier: str) -> str:
    """The function of a user's verifier."""
    return verifier.rpartition(":")[2]


def problem_with(verifier: str) -> str | None:
    """Describe what is wrong with a verifier's name, None if it is valid; the file is parsed but not run."""
    if verifier in REGISTRY:
        return None
    if not is_own(verifier):
        return f"known are {', '.join(sorted(REGISTRY))}, or path/to/file.py:function"
    path, function = Path(own_file(verifier)), own_function(verifier)
    if not path.is_file():
        return f"there is no file {path}"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        return f"{path} is not valid Python ({error})"
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in names:
        return f"{path} has no function {function!r}; it has {', '.join(names) or 'none'}"
    try:
        own_files(own_file(verifier))
    except InputError as error:
        return f"{path} imports a file with an error: {error}"
    return None


def find_entry(verifier: str) -> Entry | None:
    """Look up a verifier; a user's file is loaded by `load_function`, in a worker."""
    if verifier in REGISTRY:
        return REGISTRY[verifier]
    if not is_own(verifier):
        return None
    return Entry(lambda gold, response: _as_verdict(load_function(verifier)(gold, response)), None, _nothing_quickly)


@lru_cache(maxsize=16)
def load_function(verifier: str) -> Callable[[str, Response], object]:
    """Load the function of a user's verifier, once per process.

    Args:
        verifier: ``path/to/file.py:function``.

    Raises:
        Exception: whatever the file raises while it is loaded; AttributeError: it has no such function.
    """
    loaded: Callable[[str, Response], object] = getattr(load_own(own_file(verifier)), own_function(verifier))
    return loaded


def _as_verdict(result: object) -> Verdict:
    """Convert what a verifier returned: a `Verdict`, True, False, or None for no answer."""
    if isinstance(result, Verdict):
        if result.status not in get_args(Status):
            known = ", ".join(get_args(Status))
            raise TypeError(f"the status of a Verdict must be one of {known}, but is {result.status!r}")
        if not isinstance(result.answer, str | None):
            raise TypeError(f"the answer of a Verdict must be a str or None, but is {result.answer!r}")
        return result
    if isinstance(result, bool):
        return Verdict("correct" if result else "incorrect", None)
    if result is None:
        return Verdict("no_answer", None)
    raise TypeError(f"a verifier must return a Verdict, True, False or None, but returned {result!r}")
