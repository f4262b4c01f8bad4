"""Gold answers: their text as spelled in the source, and those that a person should review."""

from __future__ import annotations

import importlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from astarpo.common.errors import InputError, shortened
from astarpo.data.boxed import last_boxed
from astarpo.data.rows import Card, DifferingDuplicate, GoldEntries, UnreadableGold
from astarpo.data.settings import Columns, RandomReward

UNREADABLE = "gold answer does not verify against itself"
SHOWN = 5  # rows of each kind on the terminal; the card lists all
LONGEST_SHOWN = 200  # characters of a gold answer in the card


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
    """Whether a value is None, NaN, or pandas' NA or NaT."""
    value = _only_item(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, Decimal)) and math.isnan(value)


def text_of(value: object, place: str) -> str:
    """Spell a value as text: JSON strings and numbers as written, other numbers without an exponent.

    Args:
        value: a string, a number, or a list with one of them.
        place: file, row and column, for error messages.

    Returns:
        The text. A float keeps its decimal point (``27.0``): whether it counts as an integer is up to the verifier.

    Raises:
        InputError: the value has another type, or is empty.
    """
    value = _only_item(value)
    spelling = _spelling(value)
    if spelling is None:
        raise InputError(f"{place}: must be a string or a number, but is {shortened(value)}")
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
    r"""Extract the answer from a row's gold column.

    Args:
        value: the cell.
        columns: ``gold``, ``gold_after`` and ``gold_boxed`` are used.
        place: file and row, for error messages.

    Returns:
        The answer; None if it is missing, empty if ``gold_boxed`` is set and there is no box or an empty one.

    Raises:
        InputError: the value is neither a string nor a number, or lacks the ``gold_after`` mark.
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
    """Check that a verifier accepts a gold answer as a response to itself; if not, no response could be correct.

    Gold answers of custom verifiers are accepted as they are; `try_own_verifier` checks the verifier.

    The verifiers are imported at run time, so that they are not part of the data stages' code: a corrected verifier
    makes grading run again, but not sampling.
    """
    verifiers = importlib.import_module("astarpo.rewards.verifiers")
    if verifiers.is_own(verifier) or verifier == "random":
        return True  # the correct response to a gold answer is unknown
    try:
        verdict = verifiers.VERIFIERS[verifier](gold, verifiers.right_response(verifier, gold))
    except Exception:
        # Whatever the verifier raises, a gold answer that it cannot read is dropped and counted.
        return False
    return bool(verdict.status == "correct")


def gold_of_coin(coin: RandomReward, prompt_id: str) -> str:
    """Write the gold answer of the verifier `random`: a verifier does not see the prompt, so this names it.

    Args:
        coin: share and seed.
        prompt_id: of the prompt.
    """
    return json.dumps({"prompt": prompt_id, "seed": coin.seed, "share": coin.share}, sort_keys=True)


def try_own_verifier(verifier: str, golds: Sequence[str]) -> None:
    """Try a custom verifier on a few gold answers before any responses are sampled.

    Args:
        verifier: its name; built-in verifiers are not tried.
        golds: gold answers.

    Raises:
        InputError: it gives no verdict; see `rewards.preparation.try_own_verifier`.
    """
    if importlib.import_module("astarpo.rewards.verifiers").is_own(verifier):
        importlib.import_module("astarpo.rewards.preparation").try_own_verifier(verifier, golds)


class GoldLog:
    """A record of the problems and gold answers of a source.

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
        """Whether the verifier can read a gold answer; records it if not. Rows count from 1, as in messages."""
        if verifies(self.verifier, gold):
            return True
        self._unreadable.append({"row": row, "gold": gold[:LONGEST_SHOWN]})
        return False

    def occurrence(self, row: int, problem: str, gold: str) -> int:
        """Count a problem, 1 for its first row; records a gold answer whose spelling differs from the first."""
        self.occurrences[problem] += 1
        first_row, first_gold = self._first.setdefault(problem, (row, gold))
        if gold.strip() != first_gold.strip():
            self._repeated.append({"row": row, "gold": gold, "first_row": first_row, "first_gold": first_gold})
        return self.occurrences[problem]

    def entries(self) -> GoldEntries:
        """Return the card's entries: rows with unreadable gold answers, and rows that contradict an earlier one.

        Two gold answers to a problem differ if the verifier does not accept one for the other.
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
    """Return the warnings about gold answers in a card.

    Args:
        card: with the entries of `GoldLog.entries`, and ``verifier``.

    Returns:
        Lines for the terminal: the first rows of each kind, and how many there are.
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
