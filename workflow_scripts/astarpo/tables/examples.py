"""The page of example responses of every policy with their grades, for people to check the rewards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from astarpo.common.columns import DATASET, GENERATIONS, GRADED
from astarpo.common.errors import InputError
from astarpo.common.frames import read_frame
from astarpo.tables.rendering import render

KINDS = ("right", "wrong", "cut at the limit", "not known")
EACH = 3  # of each kind, for each policy, benchmark and protocol
LONGEST = 1500  # characters of a text that are shown


@dataclass(frozen=True)
class Passage:
    """A text as the page shows it: the middle of a long text is left out, as answers are at the end."""

    start: str
    left_out: int = 0
    end: str = ""


@dataclass(frozen=True)
class Example:
    """A response with its problem and grade; ``answer`` is what the verifier extracted, or None."""

    kind: str
    status: str
    n_tokens: int
    prompt: Passage
    response: Passage
    gold: Passage
    answer: Passage | None


@dataclass(frozen=True)
class Section:
    """The examples of a policy on a benchmark by a protocol."""

    policy: str
    benchmark: str
    protocol: str
    examples: Sequence[Example]


def choose_examples(graded: str, generations: str, problems: str) -> list[Example]:
    """Pick responses of each kind, for the same problems for every policy where possible.

    Args:
        graded, generations: parquet files for one policy, benchmark and protocol.
        problems: parquet file of the benchmark.

    Returns:
        At most `EACH` responses of each of `KINDS`.

    Raises:
        InputError: a grade is for a response or problem that is missing.
    """
    grades = read_frame(graded, GRADED)
    responses = read_frame(generations, GENERATIONS)[
        ["prompt_id", "sample_index", "response", "finish_reason", "n_tokens"]
    ]
    texts = read_frame(problems, DATASET)[["prompt_id", "prompt", "gold"]]
    rows = grades.merge(responses, on=["prompt_id", "sample_index"]).merge(texts, on="prompt_id")
    if len(rows) != len(grades):
        raise InputError(f"{graded}: does not grade the responses in {generations}, or has other problems")
    rows["kind"] = rows["finish_reason"].map({"length": "cut at the limit"}).fillna("wrong")
    rows.loc[rows["reward"] == 1.0, "kind"] = "right"
    rows.loc[rows["reward"].isna(), "kind"] = "not known"
    rows["order"] = [_order(*key) for key in zip(rows["prompt_id"], rows["sample_index"], strict=True)]
    first = rows.sort_values("order", kind="stable").groupby("kind", sort=False).head(EACH)
    return [_example(row) for kind in KINDS for _, row in first[first["kind"] == kind].iterrows()]


def _order(prompt_id: str, sample_index: int) -> bytes:
    """A sort key that depends on the problem alone, first samples first."""
    digest = hashlib.blake2b(prompt_id.encode(), digest_size=8).digest()
    return bytes([min(sample_index, 255)]) + digest


def _example(row: pd.Series) -> Example:
    return Example(
        kind=row["kind"],
        status=row["status"],
        n_tokens=row["n_tokens"],
        prompt=_passage(row["prompt"]),
        response=_passage(row["response"]),
        gold=_passage(row["gold"]),
        answer=None if pd.isna(row["answer"]) else _passage(row["answer"]),
    )


def _passage(text: str) -> Passage:
    if len(text) <= LONGEST:
        return Passage(text)
    half = LONGEST // 2
    return Passage(text[:half], len(text) - 2 * half, text[-half:])


def examples_page(sections: Iterable[Section]) -> str:
    """Make the page, with sections grouped by policy."""
    of_policy: dict[str, list[Section]] = {}
    for section in sections:
        of_policy.setdefault(section.policy, []).append(section)
    return render("examples.html.j2", title="Responses and their grades", policies=of_policy, each=EACH)
