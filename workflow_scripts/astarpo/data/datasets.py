"""Data sets and benchmarks: rows of a source, checked, filtered, split by hash and summarised in a card."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from astarpo.common.errors import InputError
from astarpo.common.seeds import unit_hash
from astarpo.data.golds import UNREADABLE, GoldLog, gold_of_coin, try_own_verifier
from astarpo.data.prompts import render
from astarpo.data.rows import Card, DatasetRow, GoldEntries, Problem
from astarpo.data.settings import (
    Contamination,
    DatasetSettings,
    Decontamination,
    RandomReward,
)
from astarpo.data.sources import describe_source, read_source

if TYPE_CHECKING:
    pass


def prepare(
    settings: DatasetSettings, name: str, benchmarks: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[DatasetRow], Card]:
    """Prepare the rows of a data set or benchmark.

    Args:
        settings: of the data set or benchmark.
        name: of the entry, for error messages.
        benchmarks: name -> problems that ``settings.decontaminate`` excludes from this data set.

    Returns:
        Rows with the columns of `columns.DATASET`, and the card: rows in, kept, dropped by reason, an example,
        rows whose gold answer cannot be read, and duplicate problems whose gold answers differ.

    Raises:
        InputError: the source is unreadable, a row is malformed, no row is left, or a custom verifier gives no
            verdict on the first gold answers.
    """
    dropped: Counter[str] = Counter()
    rows_in, rows = 0, list[DatasetRow]()
    golds = GoldLog(settings.verifier)
    limit = settings.max_prompts
    problems: Iterable[Problem] = read_source(settings.source, settings.columns)
    shared: dict[int, str] = {}
    if benchmarks and settings.decontaminate is not None:
        problems = list(problems)
        shared = _shared(problems, settings.decontaminate, benchmarks)
    for index, problem in enumerate(problems):
        rows_in += 1
        reason = shared.get(index) or _reason_to_drop(problem, index + 1, settings, golds)
        if reason is None and limit is not None and len(rows) >= limit:
            reason = "beyond max_prompts"
        if reason is not None:
            dropped[reason] += 1
            continue
        rows.append(_finished_row(problem, index, golds.occurrences[problem["problem"]], settings))
    entries = golds.entries()
    if not rows:
        examples = "".join(f" Row {one['row']} has {one['gold']!r}." for one in entries["unreadable_golds"][:3])
        raise InputError(
            f"{name}: none of {rows_in} rows is left from {describe_source(settings.source)}; dropped: "
            f"{dict(dropped) or 'none'}. Check hash_range, max_prompts and the verifier.{examples}"
        )
    try_own_verifier(settings.verifier, [row["gold"] for row in rows])
    return rows, _card(settings, rows_in, rows, dropped, entries)


def _shared(
    problems: Sequence[Problem], settings: Decontamination, benchmarks: Mapping[str, Sequence[str]]
) -> dict[int, str]:
    """Find the rows that a benchmark also has, and the reason for dropping each."""
    from astarpo.data.contamination import contaminated

    near = Contamination(**settings.only(Contamination))
    ours = [problem["problem"] for problem in problems]
    reasons: dict[int, str] = {}
    for benchmark, texts in benchmarks.items():
        for index, kind in contaminated(ours, texts, near, settings.near).items():
            reasons.setdefault(index, f"in benchmark {benchmark} ({kind})")
    return reasons


def _finished_row(raw: Problem, index: int, occurrence: int, settings: DatasetSettings) -> DatasetRow:
    assert raw["gold"] is not None, "a row without a gold answer is dropped"
    identifier, gold = prompt_id(raw["problem"], occurrence), raw["gold"]
    if settings.verifier == "random":
        gold = gold_of_coin(settings.random_reward or RandomReward(), identifier)
    return {
        "prompt_id": identifier,
        "problem": raw["problem"],
        "prompt": render(settings.template, raw["problem"]),
        "gold": gold,
        "verifier": settings.verifier,
        "worked_solution": raw["worked_solution"],
        "source_index": index,
        "problem_kind": raw.get("problem_kind"),
        "level": raw.get("level"),
    }


def _reason_to_drop(raw: Problem, number: int, settings: DatasetSettings, golds: GoldLog) -> str | None:
    """Return why a row is dropped, or None; records problems and gold answers."""
    low, high = settings.hash_range
    if not low <= unit_hash(normalise(raw.get("split_by", raw["problem"]))) < high:
        return "other hash range"
    if raw["gold"] is None:
        return "gold answer is missing"
    if not raw["gold"]:
        return "no answer in its box"
    # Before duplicates, so that a row without a usable answer does not displace one that has it.
    if not golds.readable(number, raw["gold"]):
        return UNREADABLE
    if golds.occurrence(number, raw["problem"], raw["gold"]) > 1 and settings.drop_duplicates:
        return "duplicate problem"
    return None


def _card(
    settings: DatasetSettings, rows_in: int, rows: list[DatasetRow], dropped: Counter[str], entries: GoldEntries
) -> Card:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['prompt_id']}\0{row['prompt']}\0{row['gold']}\n".encode())
    return {
        "source": settings.source.model_dump(mode="json"),
        "template": settings.template,
        "verifier": settings.verifier,
        "rows_in": rows_in,
        "rows_kept": len(rows),
        "rows_dropped": dict(sorted(dropped.items())),
        "sha256": digest.hexdigest(),
        "example": {
            "prompt": rows[0]["prompt"],
            "gold": rows[0]["gold"],
            "worked_solution": rows[0]["worked_solution"],
        },
        **entries,
    }


def prompt_id(problem: str, occurrence: int = 1) -> str:
    """Name a prompt by a hash of its problem, so that it has the same name in every file and on every machine.

    Args:
        problem: the text.
        occurrence: 1 for the first row with this text, 2 for the next.
    """
    digest = hashlib.blake2b(problem.encode(), digest_size=8).hexdigest()
    return digest if occurrence == 1 else f"{digest}-{occurrence}"


def normalise(problem: str) -> str:
    """Fold case and white space, so that trivial variants hash alike."""
    return " ".join(problem.casefold().split())
