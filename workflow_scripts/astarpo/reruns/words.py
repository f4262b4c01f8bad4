"""Why jobs run again, in words: from Snakemake's reasons, the settings it stored, and the stored code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from astarpo.common.code import check_planned
from astarpo.common.differences import differing, flat_settings
from astarpo.common.errors import InputError
from astarpo.reruns.code_store import recall
from astarpo.reruns.dry_run import ENVIRONMENT, PARAMS, PlannedJob, changed_params

FINGERPRINT = re.compile(r"[0-9a-f]{16} \w+( \S+)*")
MOST_NAMES = 4
LONGEST_VALUE = 40
# Settings that are hashes of other settings, and how to describe a change of them.
HASHES = {"plan_sha256": "other results to sum up"}


def describe(jobs: Sequence[PlannedJob]) -> list[str]:
    """Describe jobs in their order, one line for each group of jobs with the same reason."""
    makers = {output: job.rule for job in jobs for output in job.outputs}
    groups: dict[tuple[str, ...], list[PlannedJob]] = {}
    for job in jobs:
        groups.setdefault((job.rule, *_subject(job), why(job, makers)), []).append(job)
    return [f"{_headline(group)}: {key[-1]}" for key, group in groups.items()]


def why(job: PlannedJob, makers: Mapping[str, str]) -> str:
    """Explain why a job would run.

    Args:
        job: as the dry run lists it.
        makers: output -> rule, for all listed jobs.
    """
    if "Missing output files" in job.reasons:
        return "output is missing" if any(log and Path(log).exists() for log in job.logs) else "new"
    causes = [text for start, rest in job.reasons.items() for text in _cause(start, rest, makers)]
    return "; ".join(causes) or "no reason given"


def _cause(start: str, rest: str, makers: Mapping[str, str]) -> Iterable[str]:
    if start == PARAMS:
        before, now = changed_params(rest)
        return _params(before, now)
    if start == "Input files updated by another job":
        rules = dict.fromkeys(makers[path] for path in rest.split(", ") if path in makers)
        return [f"after {_names(sorted(rules))}"]
    if start == "Updated input files":
        return [f"{_names(rest.split(', '))} changed"]
    words = {
        "Forced execution": "forced",
        "Incomplete output files": "was interrupted",
        "Set of input files has changed since last execution": "other inputs",
        "Code has changed since last execution": "the rule's command changed",
        ENVIRONMENT: "the environment changed",
    }
    return [words.get(start, start)]


def _params(before: list[str], now: list[str]) -> list[str]:
    """What changed in the params: settings with their values, code by its modules, anything else as other options."""
    causes = _settings([text for text in before if _is_json(text)], [text for text in now if _is_json(text)])
    fingerprints = [[text for text in side if FINGERPRINT.fullmatch(text)] for side in (before, now)]
    if any(fingerprints):
        causes.append(_code(*fingerprints))
    rest = [text for text in (*before, *now) if not _is_json(text) and not FINGERPRINT.fullmatch(text)]
    return [*causes, "other options"] if rest else causes


def _settings(before: list[str], now: list[str]) -> list[str]:
    if not now or len(before) != 1:
        return ["other settings"] if before or now else []
    then, new = flat_settings(before[0]), flat_settings(now[0])
    changes = []
    for key in differing(then, new):
        name = key.rpartition(".")[2]
        changes.append(HASHES.get(name) or f"{name} {_value(then, key)} -> {_value(new, key)}")
    more = len(changes) - MOST_NAMES
    return [", ".join([*changes[:MOST_NAMES], *([f"{more} more"] if more > 0 else [])])]


def _value(settings: Mapping[str, str], key: str) -> str:
    if key not in settings:
        return "(none)"
    text = settings[key]
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _code(before: list[str], now: list[str]) -> str:
    known = [recall(fingerprint) for fingerprint in before]
    if not now or not known or None in known:
        return "code changed"
    try:
        present = check_planned(now[0].split()[1], now[0]).modules
    except InputError:  # edited since the dry run
        return "code changed"
    modules = sorted({name for then in known if then is not None for name in differing(then, present)})
    return (
        f"code of {_names([name.removeprefix('astarpo/') for name in modules])} changed" if modules else "code changed"
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join([*names[:MOST_NAMES], *([f"{more} more"] if more > 0 else [])])


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _subject(job: PlannedJob) -> tuple[str, ...]:
    """The wildcards that a group's jobs share, besides the reason."""
    shared = {"train_policy": ("run",), "sample_reference": ("reference", "dataset")}
    return tuple(job.wildcards.get(name, "") for name in shared.get(job.rule, ()))


def _headline(jobs: Sequence[PlannedJob]) -> str:
    first, count = jobs[0], len(jobs)
    if first.rule == "train_policy":
        seeds = f"{count} seeds" if count > 1 else f"seed {first.wildcards.get('seed')}"
        return f"train {first.wildcards.get('run')}, {seeds}"
    if first.rule == "sample_reference":
        of = f"of {first.wildcards.get('reference')} on {first.wildcards.get('dataset')}"
        return f"sample {count} block{'s' if count > 1 else ''} {of}"
    return f"{first.rule}, {count} jobs" if count > 1 else " ".join([first.rule, *first.wildcards.values()])
