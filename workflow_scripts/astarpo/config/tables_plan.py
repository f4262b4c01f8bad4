"""The plan of the tables: policies, evaluations, trainings, and the expected provenance of each file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astarpo.common.settings import canonical_json
from astarpo.config.expected import expected_results, manifests_of_estimate
from astarpo.config.paths import benchmark_path, evaluation_path, policy_path, run_of, seed_of, training_folder
from astarpo.config.policies import (
    evaluations,
    evaluations_of_steps,
    kept_rollouts,
    kept_steps,
    policies,
    policy_of_step,
    trainings,
)
from astarpo.config.runs import Config

if TYPE_CHECKING:
    from astarpo.tables.kept_steps import KeptStep, PlanWithSteps
    from astarpo.tables.plan import Evaluation, Policy, TablesPlan, Training


def tables_plan(config: Config) -> str:
    """Return the plan as JSON for `summarize`."""
    families = _families(config)
    steps: list[KeptStep] = [_kept_step(*one) for one in kept_steps(config)]
    plan: TablesPlan = {
        "policies": [_policy(config, policy) for policy in policies(config)],
        "evaluations": [_evaluation(config, *names) for names in evaluations(config)],
        "runs": [_training(config, run, seed, families[run]) for run, seed in trainings(config)],
        "expected": expected_results(config),
    }
    if not steps:  # a plan without any is the text that it was before there were any
        return canonical_json(plan)
    evaluated = [_evaluation(config, *names) for names in evaluations_of_steps(config)]
    with_steps: PlanWithSteps = {**plan, "kept_steps": steps, "evaluations_of_steps": evaluated}
    return canonical_json(with_steps)


def _kept_step(run: str, seed: int, step: int) -> KeptStep:
    policy = policy_of_step(run, seed, step)
    return {"policy": policy, "run": run, "seed": seed, "step": step, "manifest": policy_path(policy)}


def _policy(config: Config, policy: str) -> Policy:
    run = config.runs.get(run_of(policy))
    return {
        "policy": policy,
        "run": None if run is None else run_of(policy),
        "seed": None if run is None else seed_of(policy),
        "method": None if run is None else run.method,
        "reference": policy if run is None else run.reference,
        "dataset": None if run is None else run.dataset,
    }


def _evaluation(config: Config, policy: str, benchmark: str, protocol: str) -> Evaluation:
    entry = config.benchmarks[benchmark].protocols[protocol]
    return {
        "policy": policy,
        "benchmark": benchmark,
        "protocol": protocol,
        "k": entry.k,
        "temperature": entry.temperature,
        "problems": benchmark_path(benchmark),
        "generations": evaluation_path(policy, benchmark, protocol, "generations"),
        "graded": evaluation_path(policy, benchmark, protocol, "graded"),
    }


def _training(config: Config, name: str, seed: int, family: str) -> Training:
    run, folder = config.runs[name], training_folder(name, seed)
    estimate = run.estimate_name()
    return {
        "run": name,
        "seed": seed,
        "method": run.method,
        "manifest": f"{folder}/manifest.json",
        "metrics": f"{folder}/metrics.parquet",
        "timings": f"{folder}/timings.parquet",
        "rollouts": f"{folder}/rollouts.parquet" if (name, seed) in kept_rollouts(config) else None,
        "stage1": [] if estimate is None else manifests_of_estimate(config, estimate),
        "terms": {
            "dataset": run.dataset,
            "selection": run.selection,
            "prompts_per_batch": run.prompts_per_batch,
            "responses_per_prompt": run.responses_per_prompt,
            "updates_per_rollout": run.updates_per_rollout,
            "validation": run.validation,
        },
        "lr": run.lr,
        "family": family,
    }


def _families(config: Config) -> dict[str, str]:
    """Map each run to the common prefix of the names of all runs that differ only in the learning rate."""
    groups: dict[str, list[str]] = {}
    for name, run in config.runs.items():
        groups.setdefault(run.model_dump_json(exclude={"lr"}), []).append(name)
    return {
        name: os.path.commonprefix(names).rstrip("-") or name  # noqa: RUF071 (names, not paths)
        for names in groups.values()
        for name in names
    }
