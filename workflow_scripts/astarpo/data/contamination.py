"""Problems shared by two sets: equal up to formatting, or with most n-grams in common."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from astarpo.data.rows import DatasetRow
from astarpo.data.settings import Contamination

LISTED = 200  # pairs listed in a report

_SPACING = re.compile(r"\\[,;:!> ]|\\(?:q?quad|left|right|text|mathrm|displaystyle)(?![a-z])|[~${}&]")
_DOTS = re.compile(r"\\[cl]?dots(?![a-z])")
_FRACTIONS = re.compile(r"\\[dt]frac(?![a-z])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LIST_OF_NUMBERS = re.compile(r"(?<=\d)\s*,\s*(?=-?\d)")
# Between digits, punctuation is part of a number: 1.5 is not 15.
_PUNCTUATION = re.compile(r"(?<!\d)[.,:?!]|[.,:?!](?!\d)")
_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\s\w]")


@dataclass(frozen=True)
class Match:
    """A problem of the data set and an equal or similar one of the benchmark.

    Attributes:
        dataset_index, benchmark_index: row numbers, from 0.
        kind: ``exact`` if the simplified texts are equal.
        overlap: share of n-grams in common; 1 for exact matches.
    """

    dataset_index: int
    benchmark_index: int
    kind: Literal["exact", "near"]
    overlap: float


def simplify(problem: str) -> str:
    r"""Remove formatting that does not change the problem.

    This covers case, Unicode variants, LaTeX's spacing and grouping (``$ { } \, \left``), variants of fractions and
    dots, and punctuation outside numbers. One removal may expose another (``\.0``), so they repeat until nothing
    changes.
    """
    simpler = _simplify_once(problem)
    while "".join(simpler.split()) != "".join(problem.split()):
        problem, simpler = simpler, _simplify_once(simpler)
    return simpler


def _simplify_once(problem: str) -> str:
    text = unicodedata.normalize("NFKC", problem).casefold()
    text = _FRACTIONS.sub(r"\\frac", _DOTS.sub(" dots ", text))
    text = _THOUSANDS.sub("", _SPACING.sub(" ", text))
    # Keep a separator, so that (1, 2) differs from (12).
    text = _LIST_OF_NUMBERS.sub(" ; ", text)
    return " ".join(_PUNCTUATION.sub(" ", text).split())


def ngrams(simplified: str, n: int) -> set[tuple[str, ...]]:
    """Return all n-grams of words, numbers and signs; none if the text has fewer than ``n`` of these."""
    tokens = _TOKEN.findall(simplified)
    return {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)}


def find_matches(dataset: Sequence[str], benchmark: Sequence[str], settings: Contamination) -> list[Match]:
    """Find the problems of a data set that also occur in a benchmark.

    Args:
        dataset, benchmark: texts of problems.
        settings: what counts as near.

    Returns:
        Matches in the order of the data set, exact ones first for each problem. A problem may match several.
    """
    ours, theirs = ([simplify(problem) for problem in texts] for texts in (dataset, benchmark))
    by_text: dict[str, list[int]] = defaultdict(list)
    by_ngram: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes = []
    for index, text in enumerate(theirs):
        by_text["".join(text.split())].append(index)
        grams = ngrams(text, settings.ngram)
        sizes.append(len(grams))
        for gram in grams:
            by_ngram[gram].append(index)
    matches = []
    for index, text in enumerate(ours):
        exact = by_text.get("".join(text.split()), [])
        matches += [Match(index, other, "exact", 1.0) for other in exact]
        for other, overlap in _near(ngrams(text, settings.ngram), by_ngram, sizes):
            if overlap >= settings.threshold and other not in exact:
                matches.append(Match(index, other, "near", overlap))
    return matches


def _near(
    grams: set[tuple[str, ...]], by_ngram: dict[tuple[str, ...], list[int]], sizes: list[int]
) -> Iterator[tuple[int, float]]:
    """Yield (benchmark problem, share of n-grams) for each benchmark problem that shares any."""
    shared = Counter(index for gram in grams for index in by_ngram.get(gram, ()))
    for index, count in sorted(shared.items()):
        yield index, count / min(len(grams), sizes[index])


def report(
    dataset: Sequence[DatasetRow], benchmark: Sequence[DatasetRow], settings: Contamination
) -> dict[str, object]:
    """Report which problems a data set shares with a benchmark.

    Args:
        dataset, benchmark: rows with the columns of `columns.DATASET`.
        settings: what counts as near.

    Returns:
        How many problems of the data set, and of the benchmark, have an exact or near duplicate in the other, and
        up to `LISTED` pairs, closest first.
    """
    matches = find_matches([row["problem"] for row in dataset], [row["problem"] for row in benchmark], settings)
    pairs = sorted(
        matches, key=lambda match: (match.kind, -match.overlap, match.benchmark_index)
    )  # "exact" sorts before "near"
    exact = [match for match in matches if match.kind == "exact"]
    return {
        **settings.model_dump(),
        "dataset_problems": len(dataset),
        "benchmark_problems": len(benchmark),
        "dataset_exact": len({match.dataset_index for match in exact}),
        "dataset_exact_or_near": len({match.dataset_index for match in matches}),
        "benchmark_exact": len({match.benchmark_index for match in exact}),
        "benchmark_exact_or_near": len({match.benchmark_index for match in matches}),
        "pairs": len(pairs),
        "listed": [_spelled_out(match, dataset, benchmark) for match in pairs[:LISTED]],
    }


def _spelled_out(match: Match, dataset: Sequence[DatasetRow], benchmark: Sequence[DatasetRow]) -> dict[str, object]:
    ours, theirs = dataset[match.dataset_index], benchmark[match.benchmark_index]
    return {
        "kind": match.kind,
        "overlap": round(match.overlap, 4),
        "dataset_prompt_id": ours["prompt_id"],
        "benchmark_prompt_id": theirs["prompt_id"],
        "dataset_problem": ours["problem"],
        "benchmark_problem": theirs["problem"],
    }


def contaminated(
    dataset: Sequence[str], benchmark: Sequence[str], settings: Contamination, near: bool
) -> dict[int, str]:
    """Find the rows of a data set to drop because a benchmark has them: row -> ``exact`` or ``near``.

    Args:
        dataset, benchmark: texts of problems.
        settings: what counts as near.
        near: whether to drop near duplicates as well.
    """
    kinds: dict[int, str] = {}
    for match in find_matches(dataset, benchmark, settings):
        if match.kind == "exact" or near:
            kinds.setdefault(match.dataset_index, match.kind)
    return kinds
