"""Gold answers: their text as the source spells it, and those that need a person's attention."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from astarpo.common.errors import InputError
from astarpo.data.boxed import last_boxed
from astarpo.data.rows import Card, DifferingDuplicate, GoldEntries, UnreadableGold
from astarpo.data.settings import Columns

UNREADABLE = "gold answer does not verify against itself"
SHOWN = 5  # of each kind, on the terminal; the card has all
LONGEST_SHOWN = 200  # characters


class SpelledFloat(float):
    """A number that remembers its spelling: ``0.00001`` in a file is not ``1e-05``.

    Args:
        spelling: as in the file.
    """

    spelling: str

    def __new__(cls, spelling: str) -> SpelledFloat:
        """Read the number, and keep the text."""
        number = super().__new__(cls, spelling)
        number.spelling = spelling
        return number


def is_missing(value: object) -> bool:
    """Whether a value means that there is none: None, NaN, or what pandas puts in its place (NA, NaT)."""
    value = _only_item(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, Decimal)) and math.isnan(value)


def text_of(value: object, place: str) -> str:
    """Spell a value as a text: texts and numbers of JSON as they stand, other numbers without an exponent.

    Args:
        value: a text, a number, or a list with one of them.
        place: file, row and column, for the message.

    Returns:
        The text. A float keeps its decimal point, 27.0 is ``27.0``: which numbers are integers is for the verifier.

    Raises:
        InputError: it is something else, or empty.
    """
    value = _only_item(value)
    spelling = _spelling(value)
    if spelling is None:
        raise InputError(f"{place}: must be a string or a number, but is {value!r}")
    if not spelling.strip():
        raise InputError(f"{place}: is empty")
    return spelling


def _only_item(value: object) -> object:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _spelling(value: object) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return None
        case int():
            return str(value)
        case SpelledFloat():
            return value.spelling
        case float() | Decimal() if math.isfinite(value):
            return format(Decimal(repr(value)) if isinstance(value, float) else value, "f")
    return None


def gold_of(value: object, columns: Columns, place: str) -> str | None:
    r"""Find the answer in a row's column of gold answers.

    Args:
        value: what the column holds.
        columns: ``gold``, ``gold_after`` and ``gold_boxed`` are read.
        place: file and row, for messages.

    Returns:
        The answer, None where it is missing; empty where ``gold_boxed`` finds an empty box or none.

    Raises:
        InputError: the value is neither text nor number, or what ``gold_after`` asks for is not in it.
    """
    if is_missing(value):
        return None
    text = text_of(value, f"{place}, column {columns.gold!r}")
    if columns.gold_boxed:
        return (last_boxed(text) or "").strip()
    mark = columns.gold_after
    if mark is None:
        return text
    if mark not in text:
        raise InputError(f"{place}: no {mark!r} in column {columns.gold!r}, so no answer")
    gold = text.rsplit(mark, 1)[1].strip()
    if not gold:
        raise InputError(f"{place}: the answer is empty")
    return gold


def verifies(verifier: str, gold: str) -> bool:
    """Tell whether a verifier accepts a gold answer for itself: otherwise no response could be right.

    Gold answers of verifiers in files of their own are taken on trust; `try_own_verifier` checks the verifier.

    The verifiers are looked up by name at run time, so that they are not part of the code of the data stages:
    a fixed verifier grades again, but draws no samples again.
    """
    verifiers = importlib.import_module("astarpo.rewards.verifiers")
    if verifiers.is_own(verifier):
        return True  # which response would be right is not known
    try:
        verdict = verifiers.VERIFIERS[verifier](gold, verifiers.right_response(verifier, gold))
    except Exception:
        # A gold answer that the verifier cannot read is dropped and counted, whatever it raised.
        return False
    return bool(verdict.status == "correct")


def try_own_verifier(verifier: str, golds: Sequence[str]) -> None:
    """Try a verifier in a file of its own on a few gold answers, before anything is sampled for it.

    Args:
        verifier: its name; those of the library are not tried.
        golds: gold answers.

    Raises:
        InputError: it gives no verdict, see `rewards.preparation.try_own_verifier`.
    """
    if importlib.import_module("astarpo.rewards.verifiers").is_own(verifier):
        importlib.import_module("astarpo.rewards.preparation").try_own_verifier(verifier, golds)


class GoldLog:
    """Notes the problems and gold answers of a source, row by row.

    Args:
        verifier: the one that reads the gold answers.
    """

    def __init__(self, verifier: str) -> None:
        self.verifier = verifier
        self.occurrences: Counter[str] = Counter()
        self._first: dict[str, tuple[int, str]] = {}
        self._unreadable: list[UnreadableGold] = []
        self._repeated: list[DifferingDuplicate] = []

    def readable(self, row: int, gold: str) -> bool:
        """Whether the verifier can read a gold answer; notes it if not. Rows count from 1, as in messages."""
        if verifies(self.verifier, gold):
            return True
        self._unreadable.append({"row": row, "gold": gold[:LONGEST_SHOWN]})
        return False

    def occurrence(self, row: int, problem: str, gold: str) -> int:
        """Count a problem: 1 for the first row that has it. Notes a gold answer spelled otherwise than the first."""
        self.occurrences[problem] += 1
        first_row, first_gold = self._first.setdefault(problem, (row, gold))
        if gold.strip() != first_gold.strip():
            self._repeated.append({"row": row, "gold": gold, "first_row": first_row, "first_gold": first_gold})
        return self.occurrences[problem]

    def entries(self) -> GoldEntries:
        """What the card says: rows whose gold answer cannot be read, and rows that contradict an earlier one.

        Gold answers to one problem differ where the verifier does not take one for the other.
        """
        differing = _differing(self.verifier, self._repeated)
        return {
            "unreadable_golds": self._unreadable,
            "differing_duplicates": [
                {**row, "gold": row["gold"][:LONGEST_SHOWN], "first_gold": row["first_gold"][:LONGEST_SHOWN]}
                for row in differing
            ],
        }


def _differing(verifier: str, repeated: Sequence[DifferingDuplicate]) -> list[DifferingDuplicate]:
    if not repeated:
        return []
    preparation = importlib.import_module("astarpo.rewards.preparation")
    pairs = [(row["first_gold"], row["gold"]) for row in repeated]
    same = preparation.mean_the_same(verifier, pairs)
    return [row for row, equal in zip(repeated, same, strict=True) if not equal]


def gold_warnings(card: Card) -> list[str]:
    """Say on the terminal what a card has to say about gold answers.

    Args:
        card: with the entries of `GoldLog.entries`, and ``verifier``.

    Returns:
        Lines: the first rows of each kind, and how many there are.
    """
    unreadable, differing = card["unreadable_golds"], card["differing_duplicates"]
    lines = []
    if unreadable:
        rows = [f"row {one['row']}: {one['gold']!r}" for one in unreadable]
        lines.append(f"warning: verifier {card['verifier']!r} cannot read {_counted(rows, 'gold answer')}")
    if differing:
        rows = [
            f"row {one['row']}: {one['gold']!r}, but row {one['first_row']}: {one['first_gold']!r}" for one in differing
        ]
        lines.append(f"warning: {_counted(rows, 'duplicate problem')}; their gold answers differ")
    return lines


def _counted(rows: Sequence[str], what: str) -> str:
    more = f"; and {len(rows) - SHOWN} more, see the card" if len(rows) > SHOWN else ""
    return f"{len(rows)} {what}{'s' if len(rows) > 1 else ''} ({'; '.join(rows[:SHOWN])}{more})"
