"""The table of cases and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from faults.cases import Case, Outcome


def row(case: Case, outcome: Outcome) -> str:
    """One row, as text."""
    return (
        f"{outcome.verdict:7} | {case.fault:18} | {case.stage} | {case.moment} | {case.expected} | {outcome.happened}"
    )


def summary(cases: Sequence[Case], outcomes: Sequence[Outcome], seconds: float) -> str:
    """Red rows again, then how many of each fault had which verdict."""
    red = [row(case, outcome) for case, outcome in zip(cases, outcomes, strict=True) if outcome.good is False]
    counts = Counter((case.fault, outcome.verdict) for case, outcome in zip(cases, outcomes, strict=True))
    faults = list(dict.fromkeys(case.fault for case in cases))
    lines = [f"{'fault':18}   ok  RED  skipped"]
    lines += [
        f"{fault:18} {counts[fault, 'ok']:4} {counts[fault, 'RED']:4} {counts[fault, 'skipped']:8}" for fault in faults
    ]
    lines.append(f"{len(cases)} cases in {seconds / 60:.1f} minutes, {len(red)} red")
    return "\n".join([*(["", "Red:", *red] if red else []), "", *lines])
