"""The evaluation stages: a policy's answers to a benchmark, and their grades."""

from __future__ import annotations

from astarpo.common.code import Chosen
from astarpo.config.paths import benchmark_path, evaluation_path, policy_path
from astarpo.config.policies import reference_of
from astarpo.config.runs import Config
from astarpo.config.stages.modules import sampling_modules, sampling_packages, verifier_files, verifier_modules
from astarpo.config.stages.stage import Inputs, Stage, Wildcards
from astarpo.config.stages.stage_one import generation_settings
from astarpo.rewards.settings import GradingSettings
from astarpo.sampling.settings import GenerateAnswersSettings, GenerationSettings


def _answer_settings(config: Config, wildcards: Wildcards) -> GenerateAnswersSettings:
    generation = generation_settings(config, reference_of(config, wildcards["policy"]))
    protocol = config.benchmarks[wildcards["benchmark"]].protocols[wildcards["protocol"]]
    return GenerateAnswersSettings(**generation.only(GenerationSettings), protocol=protocol)


def _answer_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """The policy and the problems."""
    return {"policy": policy_path(wildcards["policy"]), "benchmark": benchmark_path(wildcards["benchmark"])}


def _answer_modules(config: Config, wildcards: Wildcards) -> Chosen:
    return sampling_modules(config, wildcards["policy"])


def _answer_packages(config: Config, wildcards: Wildcards) -> tuple[str, ...]:
    return sampling_packages(config, wildcards["policy"])


def _answer_record(wildcards: Wildcards) -> str:
    return evaluation_path(wildcards["policy"], wildcards["benchmark"], wildcards["protocol"], "generations")


def _grade_settings(config: Config, wildcards: Wildcards) -> GradingSettings:
    return config.benchmarks[wildcards["benchmark"]].grading


def _grade_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """The answers, and the gold answers."""
    benchmark = wildcards["benchmark"]
    return {
        "generations": evaluation_path(wildcards["policy"], benchmark, wildcards["protocol"], "generations"),
        "problems": benchmark_path(benchmark),
        **verifier_files(config.benchmarks[benchmark]),
    }


def _grade_modules(config: Config, wildcards: Wildcards) -> Chosen:
    return verifier_modules(config.benchmarks[wildcards["benchmark"]])


def _grade_record(wildcards: Wildcards) -> str:
    return evaluation_path(wildcards["policy"], wildcards["benchmark"], wildcards["protocol"], "graded")


STAGES = {
    "generate_answers": Stage(_answer_settings, _answer_inputs, _answer_modules, _answer_packages, _answer_record),
    "grade_answers": Stage(_grade_settings, _grade_inputs, _grade_modules, record=_grade_record),
}
