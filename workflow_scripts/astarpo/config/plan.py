"""What each stage receives and reads: one canonical JSON and one set of named inputs a job.

A stage's JSON holds exactly the keys that the stage reads. It is both what Snakemake compares to decide
whether the stage must run again and what the stage's script is given.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from astarpo.common.code import Chosen
from astarpo.common.machine import Machine, MachineSettings
from astarpo.common.settings import canonical_json
from astarpo.config.ablations import ablation_points
from astarpo.config.lengths import lengths_of
from astarpo.config.methods import HYPERPARAMETERS, Run, RunEntry
from astarpo.config.runs import Config
from astarpo.config.schema import StageOneSampling, TaskEntry
from astarpo.data.settings import (
    ChatSettings,
    Contamination,
    DatasetSettings,
    Decontamination,
    PromptSettings,
    TaskSettings,
)
from astarpo.figures import TABLES as FIGURE_TABLES
from astarpo.figures.settings import Ablation, Values
from astarpo.model.files import files_of
from astarpo.model.lengths import Length
from astarpo.objectives import METHODS
from astarpo.rewards.verifiers import is_own, own_file
from astarpo.sampling.settings import (
    BlockSampling,
    BlockSettings,
    GenerateAnswersSettings,
    ImportedSamplesSettings,
    ImportSettings,
    PolicySettings,
    SampleReferenceSettings,
    how_to_sample,
)
from astarpo.stage_one.settings import (
    EstimateSettings,
    ReferenceSettings,
    SelectionSettings,
    ValueSettings,
    WarmStartSettings,
)
from astarpo.training.settings import TrainingKeys, TrainSettings

Inputs = dict[str, Any]
# Modules that a job uses only if its settings choose them; `astarpo.common.code.OPTIONAL` lists them all.
# What is pushed into vLLM is taken from the model by lora.py, also where there are no adapters.
VLLM_MODULES = ("astarpo.sampling.vllm_engine", "astarpo.sampling.vllm_weights", "astarpo.model.lora")
DEEPSPEED_MODULES = ("astarpo.training.deepspeed.engine",)
LORA_MODULES = ("astarpo.model.lora",)
ESTIMATE_MODULES = ("astarpo.stage_one.values",)


class Plan:
    """The settings and inputs of every job that a configuration asks for.

    Args:
        config: a checked configuration.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    # Settings: the canonical JSON of each stage.

    def dataset(self, name: str) -> str:
        """Settings of `prepare_dataset`."""
        entry = self.config.datasets[name]
        near = self.config.contamination
        settings = DatasetSettings(
            **entry.only(TaskSettings),
            decontaminate=Decontamination(**near.only(Contamination), near=entry.decontaminate_near)
            if entry.decontaminate
            else None,
        )
        return canonical_json(settings)

    def contamination(self) -> str:
        """Settings of `check_contamination`."""
        return canonical_json(self.config.contamination)

    def benchmark(self, name: str) -> str:
        """Settings of `prepare_benchmark`."""
        return canonical_json(TaskSettings(**self.config.benchmarks[name].only(TaskSettings)))

    def reference(self, name: str) -> str:
        """Settings of `prepare_reference`."""
        entry = self.config.references[name]
        settings = ReferenceSettings(**entry.only(ChatSettings), source=entry.source, attention=entry.attention)
        if entry.warm_start is not None:
            settings = settings.changed(
                warm_start=WarmStartSettings(**entry.warm_start.only(WarmStartSettings)),
                max_prompt_tokens=entry.max_prompt_tokens,
                torch_threads=entry.torch_threads,
            )
        return canonical_json(settings)

    def reference_lengths(self, name: str) -> str:
        """What every stage gives a reference's model to read; to be passed so that Snakemake does not compare it."""
        return canonical_json([dataclasses.asdict(length) for length in self.lengths(name)])

    def lengths(self, name: str) -> list[Length]:
        """The same, as it is."""
        return lengths_of(self.config, name)

    def samples(self, reference: str, dataset: str) -> str:
        """Settings of `sample_reference`; `max_samples` is none of them, so raising it redraws nothing."""
        sampling = BlockSampling(**self._sampling(dataset).only(BlockSampling))
        return canonical_json(SampleReferenceSettings(**self._generation(reference), sampling=sampling))

    def imported(self, dataset: str) -> str:
        """Settings of `import_samples`."""
        entry = self.config.datasets[dataset].samples
        assert entry is not None, f"the rule's wildcards allow data sets with samples only: {dataset}"
        settings = ImportSettings(
            samples=ImportedSamplesSettings(**entry.only(ImportedSamplesSettings)),
            sampling=BlockSettings(**self._sampling(dataset).only(BlockSettings)),
        )
        return canonical_json(settings)

    def grading(self, dataset: str) -> str:
        """Settings of `grade_samples`."""
        return canonical_json(self.config.datasets[dataset].grading)

    def selection(self, name: str) -> str:
        """Settings of `select_prompts`."""
        return canonical_json(SelectionSettings(**self.config.selections[name].only(SelectionSettings)))

    def value(self, name: str) -> str:
        """Settings of `estimate_values`."""
        return canonical_json(ValueSettings(**self.config.values[name].only(ValueSettings)))

    def training(self, run: str) -> str:
        """Settings of `train_policy`, the same for every seed."""
        entry = self.config.runs[run]
        reference = self.config.references[entry.reference]
        settings = TrainSettings(
            **entry.only(TrainingKeys),
            **reference.only(PolicySettings),
            method=entry.method,
            hyperparameters={key: getattr(entry, key) for key in HYPERPARAMETERS[entry.method]},
            estimate=self._running_estimate(entry),
            sampling=how_to_sample(self._sampling(entry.dataset)),
            prompting=self._training_prompts(entry),
            grading=self.config.datasets[entry.dataset].grading,
        )
        return canonical_json(settings)

    def _running_estimate(self, entry: RunEntry) -> EstimateSettings | None:
        """How V* is estimated, where it is estimated again while training."""
        value = value_of(entry)
        if value is None or getattr(entry, "value_update", "none") != "running":
            return None
        return EstimateSettings(**self.config.values[value].only(EstimateSettings))

    def asking(self, policy: str, benchmark: str, protocol: str) -> str:
        """Settings of `generate_answers`."""
        entry = self.config.benchmarks[benchmark].protocols[protocol]
        generation = self._generation(self.reference_of(policy))
        return canonical_json(GenerateAnswersSettings(**generation, protocol=entry))

    def answer_grading(self, benchmark: str) -> str:
        """Settings of `grade_answers`."""
        return canonical_json(self.config.benchmarks[benchmark].grading)

    def figure(self, name: str) -> str:
        """Settings of a figure's rule; for an ablation also the value of its setting in each run."""
        figure = self.config.figures[name]
        settings = figure.model_dump(mode="json")
        if isinstance(figure, Ablation):
            settings["points"] = ablation_points(self.config, figure)
        return canonical_json(settings)

    def figure_inputs(self, name: str) -> Inputs:
        """The tables that a figure shows."""
        figure = self.config.figures[name]
        if isinstance(figure, Values):
            return {"values": f"results/values/{figure.value}.parquet"}
        return {table: f"results/tables/{table}.parquet" for table in FIGURE_TABLES[figure.kind]}

    def machine(self) -> str:
        """What changes no number; rules must pass it so that Snakemake does not compare it."""
        walltime = self.config.machine.walltime_minutes
        # Loading, exporting and the last checkpoint need some of the time that the cluster grants.
        max_minutes = None if walltime is None else max(walltime * 0.9 - 2, 0.5 * walltime)
        return canonical_json(MachineSettings(**self.config.machine.only(Machine), max_minutes=max_minutes))

    # Code: what a job chooses of the modules that not every job uses.

    def training_modules(self, run: str) -> Chosen:
        """The run's method, its engines, adapters, V* if it is estimated again, verifiers of the user's own."""
        entry = self.config.runs[run]
        tasks = [entry.dataset, *([entry.validation] if entry.validation is not None else [])]
        return _chosen(
            (METHODS.modules[entry.method],),
            self.sampling_modules(entry.reference),
            DEEPSPEED_MODULES if entry.engine == "deepspeed" else (),
            LORA_MODULES if entry.lora is not None else (),
            ESTIMATE_MODULES if self._running_estimate(entry) is not None else (),
            *(self.grading_modules("datasets", task) for task in tasks),
        )

    def sampling_modules(self, policy: str) -> Chosen:
        """The engine that draws a policy's responses."""
        return _chosen(VLLM_MODULES if self.uses_vllm(policy) else ())

    def grading_modules(self, registry: str, name: str) -> Chosen:
        """The file of a verifier of the user's own, for data sets or benchmarks."""
        return tuple(_verifier_file(getattr(self.config, registry)[name]).values())

    def estimate_modules(self) -> Chosen:
        """The estimators of V*."""
        return ESTIMATE_MODULES

    def uses_vllm(self, policy: str) -> bool:
        """Whether a policy is sampled from with vLLM."""
        return self.config.references[self.reference_of(policy)].sampling_engine == "vllm"

    def training_packages(self, run: str) -> list[str]:
        """Packages that a training needs and that the usual environment does not have."""
        entry = self.config.runs[run]
        needed = {
            "vllm": self.uses_vllm(entry.reference),
            "deepspeed": entry.engine == "deepspeed",
            "peft": entry.lora is not None,
        }
        return [package for package in needed if needed[package]]

    def sampling_packages(self, policy: str) -> list[str]:
        """The same for drawing a policy's responses."""
        return ["vllm"] if self.uses_vllm(policy) else []

    def gpus(self) -> int:
        """GPUs that a job with a model takes."""
        return 0 if self.config.machine.device == "cpu" else 1

    def training_gpus(self) -> int:
        """GPUs that a training takes on each node."""
        return self.gpus() * self.config.machine.devices

    def walltime_minutes(self) -> int:
        """Time that a training job may take on a cluster; a week where the configuration sets no limit."""
        return self.config.machine.walltime_minutes or 7 * 24 * 60

    # Inputs: name -> path(s), as the rules declare them and the results record them.

    def dataset_inputs(self, registry: str, name: str) -> Inputs:
        """Local data files, if the source is local, and the benchmarks whose problems are dropped."""
        entry = getattr(self.config, registry)[name]
        inputs: Inputs = {}
        if entry.source.kind == "local":
            inputs["source"] = _one_or_list(entry.source.path)
        dropped = getattr(entry, "decontaminate", ())
        if dropped:
            inputs["benchmark"] = [benchmark_path(benchmark) for benchmark in dropped]
        return inputs

    def contamination_inputs(self, dataset: str, benchmark: str) -> Inputs:
        """The two sets."""
        return {"dataset": dataset_path(dataset), "benchmark": benchmark_path(benchmark)}

    def reference_inputs(self, name: str) -> Inputs:
        """The data set of the warm start, if there is one, and every file of a local model that is read."""
        entry = self.config.references[name]
        inputs: Inputs = {}
        if entry.warm_start is not None:
            inputs["dataset"] = dataset_path(entry.warm_start.dataset)
        if entry.source.kind == "local":
            inputs["model_files"] = [str(path) for path in files_of(entry.source.path)]
        return inputs

    def sample_inputs(self, reference: str, dataset: str) -> Inputs:
        """The reference and the prompts."""
        return {"reference": reference_path(reference), "dataset": dataset_path(dataset)}

    def import_inputs(self, dataset: str) -> Inputs:
        """The prompts, and the file of samples if it is a local one."""
        entry = self.config.datasets[dataset].samples
        inputs: Inputs = {"dataset": dataset_path(dataset)}
        if entry is not None and entry.source.kind == "local":
            inputs["source"] = _one_or_list(entry.source.path)
        return inputs

    def grade_inputs(self, reference: str, dataset: str, block: str) -> Inputs:
        """A block's responses, and the gold answers."""
        return {
            "generations": f"results/samples/{reference}/{dataset}/block-{block}.parquet",
            "problems": dataset_path(dataset),
            **_verifier_file(self.config.datasets[dataset]),
        }

    def stage_one_inputs(self, registry: str, name: str) -> Inputs:
        """The graded blocks that hold the first N samples of every prompt."""
        entry = getattr(self.config, registry)[name]
        folder = f"results/samples/{entry.reference}/{entry.dataset}"
        blocks = self.blocks(entry.dataset, entry.n)
        return {"graded": [f"{folder}/block-{block}.graded.parquet" for block in blocks]}

    def training_inputs(self, run: str) -> Inputs:
        """Reference, prompts, and what the method and the run use besides: V*, a selection, validation."""
        entry = self.config.runs[run]
        inputs: Inputs = {
            "reference": reference_path(entry.reference),
            "dataset": dataset_path(entry.dataset),
            **_verifier_file(self.config.datasets[entry.dataset]),
        }
        if entry.validation is not None:
            inputs["validation"] = dataset_path(entry.validation)
            own = _verifier_file(self.config.datasets[entry.validation])
            inputs |= {f"validation_{name}": path for name, path in own.items()}
        if entry.selection is not None:
            inputs["selection"] = f"results/selections/{entry.selection}.parquet"
        value = value_of(entry)
        if value is not None:
            inputs["values"] = f"results/values/{value}.parquet"
        return inputs

    def answer_inputs(self, policy: str, benchmark: str) -> Inputs:
        """The policy and the problems."""
        return {"policy": self.policy_path(policy), "benchmark": benchmark_path(benchmark)}

    def answer_grade_inputs(self, policy: str, benchmark: str, protocol: str) -> Inputs:
        """The answers, and the gold ones."""
        return {
            "generations": evaluation_path(policy, benchmark, protocol, "generations"),
            "problems": benchmark_path(benchmark),
            **_verifier_file(self.config.benchmarks[benchmark]),
        }

    # What there is.

    def blocks(self, dataset: str, n: int) -> list[str]:
        """Names of the blocks that hold samples 0 to n - 1 of every prompt."""
        sampling = self._sampling(dataset)
        sample_blocks = -(-n // sampling.block_size)
        return [f"s{s}-p{p}" for s in range(sample_blocks) for p in range(sampling.prompt_shards)]

    def contaminations(self) -> list[tuple[str, str]]:
        """Every (training set, benchmark) in use by the same run; warm starts train as well."""
        pairs: dict[tuple[str, str], None] = {}
        for run in self.config.runs.values():
            warm_start = self.config.references[run.reference].warm_start
            trained_on = [run.dataset, *([warm_start.dataset] if warm_start else [])]
            for dataset in trained_on:
                for benchmark in run.benchmarks or self.config.benchmarks:
                    pairs[dataset, benchmark] = None
        return list(pairs)

    def is_imported(self, reference: str, dataset: str) -> bool:
        """Whether a reference's samples of a data set come from elsewhere."""
        entry = self.config.datasets[dataset].samples
        return entry is not None and entry.reference == reference

    def imports(self) -> list[tuple[str, str]]:
        """Every (reference, data set) whose samples come from elsewhere."""
        return [
            (entry.samples.reference, name) for name, entry in self.config.datasets.items() if entry.samples is not None
        ]

    def policies(self) -> list[str]:
        """Every policy that is evaluated: references of runs first, then each run's seeds."""
        references = dict.fromkeys(run.reference for run in self.config.runs.values())
        return [*references, *(f"{run}.seed-{seed}" for run, seed in self.trainings())]

    def trainings(self) -> list[tuple[str, int]]:
        """Every (run, seed)."""
        return [(name, seed) for name, run in self.config.runs.items() for seed in run.seeds]

    def evaluations(self) -> list[tuple[str, str, str]]:
        """Every (policy, benchmark, protocol)."""
        return [
            (policy, benchmark, protocol)
            for policy in self.policies()
            for benchmark in self.benchmarks_of(policy)
            for protocol in self.config.benchmarks[benchmark].protocols
        ]

    def benchmarks_of(self, policy: str) -> list[str]:
        """Benchmarks of a run, or those of any run that starts from a reference."""
        runs = self.config.runs
        chosen = (
            [runs[run_of(policy)]]
            if run_of(policy) in runs
            else [run for run in runs.values() if run.reference == policy]
        )
        wanted = {b for run in chosen for b in (run.benchmarks or self.config.benchmarks)}
        return [benchmark for benchmark in self.config.benchmarks if benchmark in wanted]

    def reference_of(self, policy: str) -> str:
        """The reference that a policy is, or was trained from."""
        run = self.config.runs.get(run_of(policy))
        return policy if run is None else run.reference

    def policy_path(self, policy: str) -> str:
        """The manifest of a policy, ``{reference}`` or ``{run}.seed-{n}``."""
        if run_of(policy) in self.config.runs:
            return f"results/runs/{policy.replace('.seed-', '/seed-')}/manifest.json"
        return reference_path(policy)

    def model_path(self, policy: str) -> str:
        """The model folder of a policy."""
        return self.policy_path(policy).removesuffix("manifest.json") + "model"

    def _sampling(self, dataset: str) -> StageOneSampling:
        sampling = self.config.datasets[dataset].sampling
        assert sampling is not None, f"checked when the configuration was loaded: {dataset}"
        return sampling

    def _training_prompts(self, run: Run) -> PromptSettings:
        prompting = PromptSettings(**self.config.references[run.reference].only(PromptSettings))
        # The configuration refuses a run that asks for longer prompts than its reference.
        return prompting.changed(max_prompt_tokens=run.max_prompt_tokens or prompting.max_prompt_tokens)

    def _generation(self, reference: str) -> dict[str, Any]:
        """What every stage that draws responses receives about a reference or of a policy trained from it."""
        entry = self.config.references[reference]
        return {
            **entry.only(PolicySettings),
            "torch_threads": entry.torch_threads,
            "prompting": PromptSettings(**entry.only(PromptSettings)),
        }


def _verifier_file(entry: TaskEntry) -> Inputs:
    """The file of a verifier of the user's own."""
    return {"verifier": own_file(entry.verifier)} if is_own(entry.verifier) else {}


def _chosen(*groups: Chosen) -> Chosen:
    """Modules of several groups, each once, in one order."""
    return tuple(sorted({module for group in groups for module in group}))


def _one_or_list(path: str | tuple[str, ...]) -> str | list[str]:
    return path if isinstance(path, str) else list(path)


def run_of(policy: str) -> str:
    """The run of a policy's name, or the name itself."""
    return policy.rsplit(".seed-", 1)[0]


def value_of(run: Run) -> str | None:
    """The estimate of V* that a run uses, None where its method uses none."""
    return getattr(run, "value", None)


def dataset_path(name: str) -> str:
    """Where a data set is."""
    return f"results/datasets/{name}.parquet"


def benchmark_path(name: str) -> str:
    """Where a benchmark is."""
    return f"results/benchmarks/{name}.parquet"


def reference_path(name: str) -> str:
    """Where a reference's manifest is."""
    return f"results/references/{name}/manifest.json"


def evaluation_path(policy: str, benchmark: str, protocol: str, kind: str) -> str:
    """Where answers (``generations``) or their grades (``graded``) are."""
    return f"results/evaluations/{policy}/{benchmark}.{protocol}.{kind}.parquet"
