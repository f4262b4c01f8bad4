"""Parsing the output of a Snakemake dry run: the jobs, and Snakemake's reasons for each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

BLOCK = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$")
ENTRY = re.compile(r"^    (\w+): (.*)$")
# The beginnings of Snakemake's reasons (`Reason` in snakemake/jobs.py), which are joined by "; ".
PARAMS = "Params have changed since last execution"
ENVIRONMENT = "Software environment definition has changed since last execution"
REASONS = (
    "Forced execution",
    "Missing output files",
    "Incomplete output files",
    "Updated input files",
    "Input files updated by another job",
    "Set of input files has changed since last execution",
    "Code has changed since last execution",
    ENVIRONMENT,
)
BETWEEN_REASONS = re.compile(f"; (?={'|'.join(map(re.escape, REASONS))})")
NOTHING = "<nothing exclusive>"


@dataclass(frozen=True)
class PlannedJob:
    """A job that a dry run lists.

    Attributes:
        rule: its name.
        wildcards: name -> value.
        outputs, logs: its files.
        reasons: beginning of the reason -> the rest of it.
    """

    rule: str
    wildcards: dict[str, str]
    outputs: list[str]
    logs: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


def read_jobs(listed: str) -> list[PlannedJob]:
    """Read the jobs from the output of ``snakemake --dry-run``, without targets, which have no output."""
    jobs: list[PlannedJob] = []
    rule, entries = "", dict[str, str]()
    for line in [*listed.splitlines(), "rule end:"]:
        block, entry = BLOCK.match(line), ENTRY.match(line)
        if block:
            if "output" in entries:
                jobs.append(_job(rule, entries))
            rule, entries = block[1], {}
        elif entry and rule:
            entries.setdefault(entry[1], entry[2])
        elif not line.startswith(" "):
            if "output" in entries:
                jobs.append(_job(rule, entries))
            rule, entries = "", {}
    return jobs


def _job(rule: str, entries: dict[str, str]) -> PlannedJob:
    pairs = (pair.partition("=") for pair in entries.get("wildcards", "").split(", ") if pair)
    return PlannedJob(
        rule,
        {name: value for name, _, value in pairs},
        entries["output"].split(", "),
        entries.get("log", "").split(", "),
        dict(_reasons(entries.get("reason", ""))),
    )


def _reasons(text: str) -> Iterator[tuple[str, str]]:
    # Params may contain any text; the only reason that can follow them is that of the environment.
    first, params, rest = text.partition(PARAMS)
    rest, environment, _ = rest.rpartition(f"; {ENVIRONMENT}") if rest.endswith(ENVIRONMENT) else (rest, "", "")
    for reason in BETWEEN_REASONS.split(first.removesuffix("; ")) if first else []:
        known = next((start for start in REASONS if reason.startswith(start)), reason)
        yield known, reason.removeprefix(known).removeprefix(":").strip()
    if params:
        yield PARAMS, rest.removeprefix(":").strip()
    if environment:
        yield ENVIRONMENT, ""


def changed_params(reason: str) -> tuple[list[str], list[str]]:
    """The params that only the last execution had, and those that only the current one has.

    Args:
        reason: the text after `PARAMS`.
    """
    # A parameter may itself contain "now: ", so cut where both sides can be parsed.
    for cut in re.finditer(r" now: ", reason):
        before, now = reason[: cut.start()].partition("before: ")[2], reason[cut.end() :]
        try:
            return _literals(before), _literals(now)
        except (SyntaxError, ValueError):
            continue
    return [], []


def _literals(text: str) -> list[str]:
    if text.strip() == NOTHING:
        return []
    return [str(value) for value in ast.literal_eval(f"[{text}]")]
