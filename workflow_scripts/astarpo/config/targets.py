"""What a configuration makes: the files of each named target, and what the tables are made of."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

from astarpo.common.code import Chosen
from astarpo.common.settings import canonical_json
from astarpo.config.plan import (
    Plan,
    benchmark_path,
    dataset_path,
    evaluation_path,
    reference_path,
    run_of,
    value_of,
)

TERMS = ("dataset", "selection", "prompts_per_batch", "responses_per_prompt", "updates_per_rollout")
NOTHING = r"\b\B"  # matches no text


class Targets:
    """Files by named target.

    Args:
        plan: of a checked configuration.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.config = plan, plan.config

    def all(self) -> list[str]:
        """Everything."""
        shown = [*self.validation(), *self.tables(), *self.figures()]
        return [*self.data(), *self._models(), *self.train(), *shown, "results/report.zip"]

    def _models(self) -> list[str]:
        """Model folders of the references in use: what was made of them may be there when they are not."""
        used = dict.fromkeys(run.reference for run in self.config.runs.values())
        return [self.plan.model_path(name) for name in used]

    def data(self) -> list[str]:
        """Every data set and benchmark, and what they share."""
        return [
            *map(dataset_path, self.config.datasets),
            *map(benchmark_path, self.config.benchmarks),
            "results/tables/contamination.csv",
        ]

    def contamination(self) -> list[str]:
        """What each training set shares with each benchmark."""
        return [
            f"results/contamination/{dataset}--{benchmark}.json" for dataset, benchmark in self.plan.contaminations()
        ]

    def reference(self) -> list[str]:
        """Every reference policy: its manifest and its model folder."""
        names = self.config.references
        return [path(name) for name in names for path in (reference_path, self.plan.model_path)]

    def values(self) -> list[str]:
        """Every estimate of V* and every selection."""
        return [
            *(f"results/values/{name}.parquet" for name in self.config.values),
            *(f"results/selections/{name}.parquet" for name in self.config.selections),
        ]

    def train(self) -> list[str]:
        """The manifest and the model folder of every training."""
        parts = ("manifest.json", "model")
        trainings = self.plan.trainings()
        return [f"{run_folder(run, seed)}/{part}" for run, seed in trainings for part in parts]

    def validation(self) -> list[str]:
        """The table of validation rewards, which needs no evaluation; none where no run has validation prompts."""
        return ["results/tables/validation.csv"] if self.validated() else []

    def validated(self) -> list[str]:
        """The metrics of every training that has validation prompts."""
        return [
            f"{run_folder(run, seed)}/metrics.parquet"
            for run, seed in self.plan.trainings()
            if self.config.runs[run].validation is not None
        ]

    def tables(self) -> list[str]:
        """The tables, which need every evaluation, and the page of responses."""
        names = ("summary.csv", "curves.csv", "cost.csv", "examples.html")
        return [f"results/tables/{name}" for name in names]

    def figures(self) -> list[str]:
        """Every figure, as PNG and PDF."""
        return [f"results/figures/{name}.{kind}" for name in self.config.figures for kind in ("png", "pdf")]

    def figure_pattern(self, kind: str) -> str:
        """A wildcard constraint that only figures of one kind satisfy (none at all, if there are none)."""
        names = [name for name, figure in self.config.figures.items() if figure.kind == kind]
        return "|".join(map(re.escape, names)) or NOTHING

    def samples_pattern(self, imported: bool) -> str:
        """A constraint of the wildcard `reference` in `{reference}/{dataset}/...`: samples imported, or drawn here.

        It looks ahead past the slash, as the two wildcards must fit together.
        """
        pairs = [re.escape(f"{reference}/{name}") for reference, name in self.plan.imports()]
        ahead = f"(?:{'|'.join(pairs) or NOTHING})/"
        return rf"(?{'=' if imported else '!'}{ahead})[a-z0-9][a-z0-9-]*"

    def results(self) -> list[str]:
        """Everything that the tables are made of, checked or read."""
        files = [expected["file"] for expected in self._expected()]
        for run, seed in self.plan.trainings():
            files += [f"{run_folder(run, seed)}/{name}.parquet" for name in ("metrics", "timings")]
        return list(dict.fromkeys(files))

    def tables_plan(self) -> str:
        """The JSON that `summarize` is given: policies, evaluations, runs, and what each file must be made from."""
        return canonical_json(
            {
                "policies": [self._policy(policy) for policy in self.plan.policies()],
                "evaluations": [self._evaluation(*names) for names in self.plan.evaluations()],
                "runs": [self._run(run, seed) for run, seed in self.plan.trainings()],
                "expected": self._expected(),
            }
        )

    def plan_settings(self) -> str:
        """Settings of rules that read the plan and have no others: the hash of this configuration's plan.

        Without the hash an old plan, kept by `snakemake --touch`, would be believed.
        """
        plan = hashlib.sha256(self.tables_plan().encode()).hexdigest()
        return canonical_json({"plan_sha256": plan})

    def answered(self) -> list[str]:
        """Every answer, its grade, and the problems."""
        files = []
        for policy, benchmark, protocol in self.plan.evaluations():
            files += [evaluation_path(policy, benchmark, protocol, kind) for kind in ("generations", "graded")]
            files.append(benchmark_path(benchmark))
        return list(dict.fromkeys(files))

    def _policy(self, policy: str) -> dict[str, Any]:
        run = self.config.runs.get(run_of(policy))
        if run is None:
            nothing = dict.fromkeys(("run", "seed", "method", "dataset", "value"))
            return {"policy": policy, "reference": policy, **nothing}
        return {
            "policy": policy,
            "run": run_of(policy),
            "seed": int(policy.rsplit("-", 1)[1]),
            "method": run.method,
            "reference": run.reference,
            "dataset": run.dataset,
            "value": value_of(run),
        }

    def _evaluation(self, policy: str, benchmark: str, protocol: str) -> dict[str, Any]:
        entry = self.config.benchmarks[benchmark].protocols[protocol]
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

    def _run(self, name: str, seed: int) -> dict[str, Any]:
        run, folder = self.config.runs[name], run_folder(name, seed)
        return {
            "run": name,
            "seed": seed,
            "method": run.method,
            "manifest": f"{folder}/manifest.json",
            "metrics": f"{folder}/metrics.parquet",
            "timings": f"{folder}/timings.parquet",
            "stage1": self._stage_one(value_of(run)),
            "terms": {name: getattr(run, name) for name in TERMS},
            "lr": run.lr,
            "family": self._family(name),
        }

    def _family(self, name: str) -> str:
        """What the names of all runs that differ from this one in the learning rate alone begin with."""
        own = self.config.runs[name].model_dump(exclude={"lr"})
        alike = [other for other, run in self.config.runs.items() if run.model_dump(exclude={"lr"}) == own]
        return os.path.commonprefix(alike).rstrip("-") or name  # noqa: RUF071 (names, not paths)

    def _stage_one(self, value: str | None) -> list[str]:
        """Manifests of the sample blocks that an estimate of V* is made from."""
        if value is None:
            return []
        graded = self.plan.stage_one_inputs("values", value)["graded"]
        return [path.replace(".graded.parquet", ".manifest.json") for path in graded]

    # What each file must have been made from: stages in the order of the data.

    def _expected(self) -> list[dict[str, Any]]:
        plan, found = self.plan, []

        def expect(file: str, rule: str, settings: str, inputs: dict[str, Any], chosen: Chosen = ()) -> None:
            """Note what a file must have been made from."""
            found.append(
                {
                    "file": file,
                    "rule": rule,
                    "settings": settings,
                    "inputs": flat(inputs),
                    "chosen": list(chosen),
                }
            )

        for name in self._used_datasets():
            inputs = plan.dataset_inputs("datasets", name)
            expect(dataset_path(name), "prepare_dataset", plan.dataset(name), inputs)
        for name in dict.fromkeys(benchmark for _, benchmark, _ in plan.evaluations()):
            inputs = plan.dataset_inputs("benchmarks", name)
            expect(benchmark_path(name), "prepare_benchmark", plan.benchmark(name), inputs)
        for name in dict.fromkeys(run.reference for run in self.config.runs.values()):
            inputs = plan.reference_inputs(name)
            expect(reference_path(name), "prepare_reference", plan.reference(name), inputs)
        self._expect_stage_one(expect)
        for run, seed in plan.trainings():
            manifest, chosen = run_folder(run, seed) + "/manifest.json", plan.training_modules(run)
            expect(manifest, "train_policy", plan.training(run), plan.training_inputs(run), chosen)
        for policy, benchmark, protocol in plan.evaluations():
            answers = evaluation_path(policy, benchmark, protocol, "generations")
            asked, chosen = plan.asking(policy, benchmark, protocol), plan.sampling_modules(policy)
            expect(answers, "generate_answers", asked, plan.answer_inputs(policy, benchmark), chosen)
            graded = evaluation_path(policy, benchmark, protocol, "graded")
            inputs = plan.answer_grade_inputs(policy, benchmark, protocol)
            chosen = plan.grading_modules("benchmarks", benchmark)
            expect(graded, "grade_answers", plan.answer_grading(benchmark), inputs, chosen)
        return found

    def _expect_stage_one(self, expect: Any) -> None:
        plan, seen = self.plan, set()
        for registry, rule, settings, chosen in (
            ("selections", "select_prompts", plan.selection, ()),
            ("values", "estimate_values", plan.value, plan.estimate_modules()),
        ):
            for name in self._used(registry):
                entry = getattr(self.config, registry)[name]
                for block in plan.blocks(entry.dataset, entry.n):
                    if (entry.reference, entry.dataset, block) not in seen:
                        seen.add((entry.reference, entry.dataset, block))
                        self._expect_block(expect, entry.reference, entry.dataset, block)
                file = f"results/{registry}/{name}.parquet"
                expect(file, rule, settings(name), plan.stage_one_inputs(registry, name), chosen)

    def _expect_block(self, expect: Any, reference: str, dataset: str, block: str) -> None:
        plan, folder = self.plan, f"results/samples/{reference}/{dataset}"
        manifest = f"{folder}/block-{block}.manifest.json"
        if plan.is_imported(reference, dataset):
            expect(manifest, "import_samples", plan.imported(dataset), plan.import_inputs(dataset))
        else:
            inputs, chosen = plan.sample_inputs(reference, dataset), plan.sampling_modules(reference)
            expect(manifest, "sample_reference", plan.samples(reference, dataset), inputs, chosen)
        graded = f"{folder}/block-{block}.graded.parquet"
        inputs = plan.grade_inputs(reference, dataset, block)
        chosen = plan.grading_modules("datasets", dataset)
        expect(graded, "grade_samples", plan.grading(dataset), inputs, chosen)

    def _used(self, registry: str) -> list[str]:
        """Selections or estimates of V* that some run uses."""
        key = registry.removesuffix("s")
        chosen = {getattr(run, key, None) for run in self.config.runs.values()}
        return [name for name in getattr(self.config, registry) if name in chosen]

    def _used_datasets(self) -> list[str]:
        """Data sets that some run trains or validates on, or that its reference is warmed up on."""
        used = set()
        for run in self.config.runs.values():
            warm_start = self.config.references[run.reference].warm_start
            used |= {run.dataset, run.validation, warm_start.dataset if warm_start else None}
        return [name for name in self.config.datasets if name in used]


def run_folder(run: str, seed: int) -> str:
    """Where a training's results are."""
    return f"results/runs/{run}/seed-{seed}"


def flat(inputs: dict[str, Any]) -> dict[str, str]:
    """Give each file of a list a name of its own, as `cli.numbered` does."""
    named: dict[str, str] = {}
    for name, value in inputs.items():
        if isinstance(value, list):
            named |= {f"{name}-{index}": path for index, path in enumerate(value)}
        else:
            named[name] = value
    return named
