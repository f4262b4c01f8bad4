"""What each stage is told and what it reads: one canonical JSON and one set of named inputs a job.

A stage's JSON holds exactly the keys that the stage reads. It is both what Snakemake compares to decide
whether the stage must run again and what the stage's script is given.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from typing import Any

from astarpo.config.ablations import ablation_points
from astarpo.config.lengths import lengths_of
from astarpo.config.runs import HYPERPARAMETERS, Ablation, Config, Run
from astarpo.config.schema import StageOneSampling, TaskEntry
from astarpo.model.files import files_of
from astarpo.model.lengths import Length
from astarpo.rewards.verifiers import is_own, own_file

Inputs = dict[str, Any]
TASK_KEYS = (
    "source",
    "columns",
    "hash_range",
    "max_prompts",
    "drop_duplicates",
    "template",
    "verifier",
)
VLLM_MODULES = ("astarpo.sampling.vllm_engine", "astarpo.sampling.vllm_weights")
DEEPSPEED_MODULES = ("astarpo.training.deepspeed.engine",)
LORA_MODULES = ("astarpo.model.lora",)
TRAIN_KEYS = (
    "method",
    "steps",
    "max_generated_tokens",
    "prompts_per_batch",
    "responses_per_prompt",
    "updates_per_rollout",
    "lr",
    "lr_schedule",
    "lr_warmup_steps",
    "adam_betas",
    "adam_eps",
    "weight_decay",
    "max_grad_norm",
    "entropy_coefficient",
    "lora",
    "validate_every",
    "engine",
    "torch_threads",
    "compile_model",
    "log_prob_chunk_tokens",
    "max_sampler_gap",
)


def canonical_json(value: Any) -> str:
    """Spell a value so that equal settings are equal texts: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Plan:
    """The settings and inputs of every job that a configuration asks for.

    Args:
        config: a checked configuration.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    # Settings: the canonical JSON of each stage.

    def dataset(self, name: str) -> str:
        """Settings of `prepare_dataset`; what counts as near is among them only if near duplicates are dropped."""
        entry = self.config.datasets[name]
        settings = _task(entry)
        if entry.decontaminate:
            near = _dump(self.config.contamination)
            settings["decontaminate"] = {"near": entry.decontaminate_near, **near}
        return canonical_json(settings)

    def contamination(self) -> str:
        """Settings of `check_contamination`."""
        return canonical_json(_dump(self.config.contamination))

    def benchmark(self, name: str) -> str:
        """Settings of `prepare_benchmark`."""
        return canonical_json(_task(self.config.benchmarks[name]))

    def reference(self, name: str) -> str:
        """Settings of `prepare_reference`.

        How prompts are written counts only for a warm start, and a chat template for what ends a response. The usual
        attention is not among them, so that results from before there was a choice are those of this configuration.
        """
        entry = self.config.references[name]
        settings: dict[str, Any] = {"source": _dump(entry.source), "warm_start": None}
        if entry.attention != "sdpa":
            settings["attention"] = entry.attention
        if entry.chat_template:
            settings["prompting"] = {"chat_template": True, "system_prompt": entry.system_prompt}
        if entry.warm_start is not None:
            steps = _dump(entry.warm_start)
            del steps["dataset"]
            settings["warm_start"] = steps
            settings["prompting"] = self._prompting(name)
            settings["torch_threads"] = entry.torch_threads
        return canonical_json(settings)

    def reference_lengths(self, name: str) -> str:
        """What every stage gives a reference's model to read; to be passed so that Snakemake does not compare it."""
        return canonical_json([dataclasses.asdict(length) for length in self.lengths(name)])

    def lengths(self, name: str) -> list[Length]:
        """The same, as it is."""
        return lengths_of(self.config, name)

    def samples(self, reference: str, dataset: str) -> str:
        """Settings of `sample_reference`; `max_samples` is none of them, so raising it redraws nothing."""
        sampling = _dump(self._sampling(dataset))
        del sampling["max_samples"]
        return canonical_json({"sampling": sampling, **self._asking(reference)})

    def imported(self, dataset: str) -> str:
        """Settings of `import_samples`."""
        entry = self.config.datasets[dataset].samples
        assert entry is not None, f"the rule's wildcards allow data sets with samples only: {dataset}"
        dumped = _dump(entry)
        del dumped["reference"]
        sampling = self._sampling(dataset)
        blocks = {key: getattr(sampling, key) for key in ("block_size", "prompt_shards")}
        return canonical_json({"samples": dumped, "sampling": blocks})

    def grading(self, dataset: str) -> str:
        """Settings of `grade_samples`."""
        return canonical_json(_dump(self.config.datasets[dataset].grading))

    def selection(self, name: str) -> str:
        """Settings of `select_prompts`."""
        entry = self.config.selections[name]
        return canonical_json({"n": entry.n, "rule": entry.rule})

    def value(self, name: str) -> str:
        """Settings of `estimate_values`."""
        entry = self.config.values[name]
        return canonical_json({"n": entry.n, "beta1": entry.beta1, "estimator": entry.estimator})

    def training(self, run: str) -> str:
        """Settings of `train_policy`, the same for every seed."""
        entry = self.config.runs[run]
        dumped = _dump(entry)
        dataset = self.config.datasets[entry.dataset]
        sampling = self._sampling(entry.dataset)
        return canonical_json(
            {
                **{key: dumped[key] for key in TRAIN_KEYS},
                "hyperparameters": self._hyperparameters(entry),
                "precision": self.config.references[entry.reference].precision,
                "sampling_engine": self.config.references[entry.reference].sampling_engine,
                "sampling": {key: getattr(sampling, key) for key in ("temperature", "top_p", "max_new_tokens")},
                "prompting": self._training_prompts(entry),
                "grading": _dump(dataset.grading),
            }
        )

    def _hyperparameters(self, entry: Run) -> dict[str, Any]:
        """A method's own settings; those of the estimate as well where V* is estimated anew while training."""
        dumped = _dump(entry)
        own = {key: dumped[key] for key in HYPERPARAMETERS[dumped["method"]]}
        value = value_of(entry)
        if value is not None and own.get("value_update") == "running":
            estimate = self.config.values[value]
            own |= {"estimator": estimate.estimator, "beta1": estimate.beta1}
        return own

    def asking(self, policy: str, benchmark: str, protocol: str) -> str:
        """Settings of `generate_answers`."""
        entry = self.config.benchmarks[benchmark].protocols[protocol]
        return canonical_json({"protocol": _dump(entry), **self._asking(self.reference_of(policy))})

    def answer_grading(self, benchmark: str) -> str:
        """Settings of `grade_answers`."""
        return canonical_json(_dump(self.config.benchmarks[benchmark].grading))

    def figure(self, name: str) -> str:
        """Settings of a figure's rule; for an ablation also the value of its setting in each run."""
        figure = self.config.figures[name]
        settings = _dump(figure)
        if isinstance(figure, Ablation):
            settings["points"] = ablation_points(self.config, figure)
        return canonical_json(settings)

    def machine(self) -> str:
        """What changes no number; rules must pass it so that Snakemake does not compare it."""
        machine = _dump(self.config.machine)
        walltime = machine.pop("walltime_minutes")
        # Loading, exporting and the last checkpoint need some of the time that the cluster grants.
        machine["max_minutes"] = None if walltime is None else max(walltime * 0.9 - 2, 0.5 * walltime)
        return canonical_json(machine)

    def unused_modules(self) -> tuple[str, ...]:
        """Modules of engines that no entry chooses: no rule depends on them."""
        return (
            *(() if self.uses_vllm() else VLLM_MODULES),
            *(() if self.uses_deepspeed() else DEEPSPEED_MODULES),
            *(() if self.uses_lora() or self.uses_vllm() else LORA_MODULES),
        )

    def uses_vllm(self) -> bool:
        """Whether some reference is sampled from with vLLM."""
        references = self.config.references.values()
        return any(entry.sampling_engine == "vllm" for entry in references)

    def uses_deepspeed(self) -> bool:
        """Whether some run is trained with DeepSpeed."""
        return any(run.engine == "deepspeed" for run in self.config.runs.values())

    def uses_lora(self) -> bool:
        """Whether some run trains adapters."""
        return any(run.lora is not None for run in self.config.runs.values())

    def engines(self, rules: Collection[str]) -> list[str]:
        """Packages that jobs of some rules need and that the usual environment has not."""
        drawing = {"sample_reference", "generate_answers", "train_policy"}
        found = ["vllm"] if self.uses_vllm() and drawing & set(rules) else []
        if "train_policy" in rules:
            found += ["deepspeed"] if self.uses_deepspeed() else []
            found += ["peft"] if self.uses_lora() else []
        return found

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

    def modules_without_use(self, run: str) -> tuple[str, ...]:
        """Library modules that a training imports and does not use."""
        running = getattr(self.config.runs[run], "value_update", "none") == "running"
        return () if running else ("astarpo.stage_one.values",)

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

    def _prompting(self, reference: str) -> dict[str, Any]:
        entry = self.config.references[reference]
        return {key: getattr(entry, key) for key in ("chat_template", "system_prompt", "max_prompt_tokens")}

    def _training_prompts(self, run: Run) -> dict[str, Any]:
        prompting = self._prompting(run.reference)
        longest = run.max_prompt_tokens or prompting["max_prompt_tokens"]
        return {**prompting, "max_prompt_tokens": min(longest, prompting["max_prompt_tokens"])}

    def _asking(self, reference: str) -> dict[str, Any]:
        entry = self.config.references[reference]
        return {
            "prompting": self._prompting(reference),
            "engine": entry.sampling_engine,
            "precision": entry.precision,
            "torch_threads": entry.torch_threads,
        }


def _verifier_file(entry: TaskEntry) -> Inputs:
    """The file of a verifier of the user's own."""
    return {"verifier": own_file(entry.verifier)} if is_own(entry.verifier) else {}


def _one_or_list(path: str | tuple[str, ...]) -> str | list[str]:
    return path if isinstance(path, str) else list(path)


def _dump(section: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = section.model_dump(mode="json")
    return dumped


def _task(entry: TaskEntry) -> dict[str, Any]:
    dumped = _dump(entry)
    return {key: dumped[key] for key in TASK_KEYS}


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
