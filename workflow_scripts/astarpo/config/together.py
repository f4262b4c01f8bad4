"""What jobs with the same engine draw: one of them can draw it for all, because vLLM takes a minute to start."""

from __future__ import annotations

from astarpo.config.paths import benchmark_path, block_path, evaluation_path
from astarpo.config.policies import evaluations, evaluations_of_steps, reference_of
from astarpo.config.runs import Config
from astarpo.config.samples import drawn_blocks
from astarpo.config.stages.stage import Wildcards
from astarpo.config.stages.table import find_stage

Others = list[dict[str, str]]
SCRATCH = "results/parts"


def answers_scratch(policy: str, benchmark: str, protocol: str) -> str:
    """The folder of finished answers of a job."""
    return f"{SCRATCH}/evaluations/{policy}/{benchmark}.{protocol}"


def block_scratch(reference: str, dataset: str, block: str) -> str:
    """The folder of finished responses of a block's job."""
    return f"{SCRATCH}/samples/{reference}/{dataset}/block-{block}"


def other_answers(config: Config, policy: str, benchmark: str, protocol: str) -> Others:
    """List the policy's other answers, as options of `generate_answers`; none unless vLLM draws them."""
    if not _is_slow_to_start(config, reference_of(config, policy)):
        return []
    stage = find_stage("generate_answers")
    wanted = [*evaluations(config), *evaluations_of_steps(config)]
    others = [one for one in wanted if one[0] == policy and one != (policy, benchmark, protocol)]
    return [
        {
            "settings": stage.settings_json(config, Wildcards(policy=of, benchmark=on, protocol=by)),
            "benchmark": benchmark_path(on),
            "out": evaluation_path(of, on, by, "generations"),
            "scratch": answers_scratch(of, on, by),
        }
        for of, on, by in others
    ]


def other_blocks(config: Config, reference: str, dataset: str, block: str) -> Others:
    """List the other blocks of a data set's samples, as options of `sample_reference`; none unless vLLM draws them."""
    if not _is_slow_to_start(config, reference):
        return []
    return [
        {
            "block": name,
            "out": block_path(reference, dataset, name, "parquet"),
            "scratch": block_scratch(reference, dataset, name),
        }
        for name in drawn_blocks(config).get((reference, dataset), [])
        if name != block
    ]


def _is_slow_to_start(config: Config, reference: str) -> bool:
    return config.references[reference].sampling_engine == "vllm"
