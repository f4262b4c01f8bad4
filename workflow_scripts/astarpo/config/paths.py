"""The paths of results, relative to the working directory, and the components of a policy's name.

A policy is a reference, named like its entry, or a trained one, named ``{run}.seed-{n}``; with the weights after a kept
step, ``{run}.seed-{n}.step-{k}``.
"""

from __future__ import annotations

from typing import Literal


def run_of(policy: str) -> str:
    """Return the run of a trained policy, or a reference's name unchanged."""
    return policy.rsplit(".seed-", 1)[0]


def seed_of(policy: str) -> int:
    """Return the seed of a trained policy."""
    return int(policy.rsplit(".seed-", 1)[1].split(".")[0])


def step_of(policy: str) -> int | None:
    """Return the kept step of a trained policy; None if it is the one that the training exported."""
    _, _, step = policy.partition(".step-")
    return int(step) if step else None


def dataset_path(name: str) -> str:
    """A data set's problems."""
    return f"results/datasets/{name}.parquet"


def benchmark_path(name: str) -> str:
    """A benchmark's problems."""
    return f"results/benchmarks/{name}.parquet"


def contamination_path(dataset: str, benchmark: str) -> str:
    """The report on problems that a data set shares with a benchmark."""
    return f"results/contamination/{dataset}/{benchmark}.json"


def reference_path(name: str) -> str:
    """A reference's manifest."""
    return f"results/references/{name}/manifest.json"


def block_path(
    reference: str, dataset: str, block: str, kind: Literal["parquet", "graded.parquet", "manifest.json"]
) -> str:
    """A block of samples: the responses, their grades, or the manifest."""
    return f"results/samples/{reference}/{dataset}/block-{block}.{kind}"


def selection_path(name: str) -> str:
    """The prompts that a selection keeps."""
    return f"results/selections/{name}.parquet"


def value_path(name: str) -> str:
    """V* of each prompt."""
    return f"results/values/{name}.parquet"


def forecast_path(name: str, kind: Literal["parquet", "csv", "html"] = "parquet") -> str:
    """The forecast noise of each baseline, from the samples of an estimate of V*."""
    return f"results/values/{name}.forecast.{kind}"


def training_folder(run: str, seed: int) -> str:
    """The results of a training."""
    return f"results/runs/{run}/seed-{seed}"


def step_folder(run: str, seed: int, step: int) -> str:
    """The weights of a training after a kept step."""
    return f"{training_folder(run, seed)}/steps/{step}"


def policy_path(policy: str) -> str:
    """A policy's manifest."""
    if run_of(policy) == policy:
        return reference_path(policy)
    run, seed, step = run_of(policy), seed_of(policy), step_of(policy)
    folder = training_folder(run, seed) if step is None else step_folder(run, seed, step)
    return f"{folder}/manifest.json"


def model_path(policy: str) -> str:
    """A policy's model folder."""
    return policy_path(policy).removesuffix("manifest.json") + "model"


def evaluation_path(policy: str, benchmark: str, protocol: str, kind: Literal["generations", "graded"]) -> str:
    """A policy's answers to a benchmark, or their grades."""
    return f"results/evaluations/{policy}/{benchmark}.{protocol}.{kind}.parquet"


def table_path(name: str) -> str:
    """A table; ``name`` includes the extension."""
    return f"results/tables/{name}"
