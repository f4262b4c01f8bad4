"""All cases, and the choice of some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from faults import disks, edits, flips, kills, signals, snakemakes, writers
from faults.cases import FIGURE, GRADES, SAME, TRAININGS, Case, Outcome, finished_well
from faults.lab import Lab


def controls() -> list[Case]:
    """Jobs run where the other cases run them, without any fault: what shows nothing else, shows that."""
    jobs = dict.fromkeys([*TRAININGS.values(), *kills.OTHERS, GRADES, FIGURE])
    return [Case("none", job, "", SAME, partial(undisturbed, job=job), (job,)) for job in jobs]


def undisturbed(lab: Lab, job: str) -> Outcome:
    """Run a job in a project of its own."""
    with lab.project(job) as folder:
        return finished_well(lab, job, folder, lab.run(job, folder), "no fault")


def matrix(seed: int) -> list[Case]:
    """All cases, in the order of the table."""
    groups = (kills, signals, flips, disks, writers, snakemakes, edits)
    return [*controls(), *(case for group in groups for case in group.cases(seed))]


def choose(cases: Sequence[Case], only: re.Pattern[str] | None, count: int | None) -> list[Case]:
    """Cases whose name matches, or about ``count`` of them: of each fault its share, spread evenly, at least one."""
    matching = [case for case in cases if only is None or only.search(case.name)]
    if count is None:
        return matching
    chosen: list[Case] = []
    for fault in dict.fromkeys(case.fault for case in matching):
        of_fault = [case for case in matching if case.fault == fault]
        share = min(max(1, round(count * len(of_fault) / len(matching))), len(of_fault))
        chosen += [of_fault[(2 * index + 1) * len(of_fault) // (2 * share)] for index in range(share)]
    return chosen
