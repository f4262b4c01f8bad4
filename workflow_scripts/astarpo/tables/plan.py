"""The plan of the tables: their inputs, in a file that Snakemake writes from the configuration when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from astarpo.common.errors import InputError
from astarpo.common.files import read_json, sha256


class Policy(TypedDict):
    """A reference (run, method, dataset and seed are null) or a trained policy."""

    policy: str
    run: str | None
    method: str | None
    reference: str
    dataset: str | None
    seed: int | None


class Evaluation(TypedDict):
    """A policy's answers to a benchmark by one protocol; ``problems``, ``generations`` and ``graded`` are files."""

    policy: str
    benchmark: str
    protocol: str
    k: int
    temperature: float
    problems: str
    generations: str
    graded: str


class Terms(TypedDict):
    """What must be the same in all runs for a fair comparison."""

    dataset: str
    selection: str | None
    prompts_per_batch: int
    responses_per_prompt: int
    updates_per_rollout: int
    validation: NotRequired[str | None]  # plans of earlier versions lack it


class Training(TypedDict):
    """One seed of a run.

    ``manifest``, ``metrics``, ``timings``, ``rollouts`` (None where none are shown) and ``stage1`` (a manifest for each
    block of samples that V* was estimated from) are files; runs that differ in the learning rate ``lr`` alone have the
    same ``family``.
    """

    run: str
    method: str
    seed: int
    lr: float
    family: str
    terms: Terms
    manifest: str
    metrics: str
    timings: str
    rollouts: str | None
    stage1: list[str]


class Expected(TypedDict):
    """What a result must have been made from.

    ``settings`` are the rule's, as JSON; ``inputs``: name -> file; ``chosen``: optional modules that the rule's job
    uses, see `astarpo.common.code`.
    """

    file: str
    rule: str
    settings: str
    inputs: Mapping[str, str]
    chosen: list[str]


class TablesPlan(TypedDict):
    """Everything that the tables are made from."""

    policies: list[Policy]
    evaluations: list[Evaluation]
    runs: list[Training]
    expected: list[Expected]


def read_plan(path: str | Path, plan_sha256: str | None = None) -> TablesPlan:
    """Read the plan of the tables.

    Args:
        path: the JSON that Snakemake writes when it starts.
        plan_sha256: hash of the plan for this configuration; None skips the check.

    Raises:
        InputError: the file is left over from a run of another configuration.
    """
    plan = cast(TablesPlan, read_json(path))
    if plan_sha256 is not None and sha256(path) != plan_sha256:
        raise InputError(
            f"{path} is not the plan of this configuration; Snakemake writes it when it starts: run "
            "`snakemake` again, without --no-hooks"
        )
    return plan
