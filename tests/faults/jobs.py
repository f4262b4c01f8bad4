"""The jobs of a small workflow, with the command lines that Snakemake would give them.

`plan` imports the library of the tree under test, so it is called in a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).with_name("config.yaml")
PLAN = "results/tables/plan.json"
TABLES = ("summary", "differences", "curves", "crossings", "cost")


@dataclass(frozen=True)
class Job:
    """A job of the workflow.

    Attributes:
        name: the rule with its wildcards.
        script: the script's name, and that of the rule.
        log: where the launcher sends its output.
        arguments: after the script's name, on the launcher's command line.
        code: fingerprint of the code that it was planned with.
        inputs, outputs: files and folders, relative to the project.
        scratch: a folder that outlives a killed job; None: it has none.
    """

    name: str
    script: str
    log: str
    code: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch: str | None = None

    @property
    def command(self) -> list[str]:
        """The launcher's command line, without the interpreter."""
        return ["--log", self.log, "--code", self.code, self.script, *self.arguments]


def plan(engine: str | None = None, **of_run: Any) -> tuple[list[Job], str]:
    """List all jobs of the configuration, in an order in which they can run, and the plan of the tables.

    Args:
        engine: of all trainings; None: as configured.
        of_run: settings of the run ``a-star-po`` that differ from the configuration.
    """
    import yaml

    from astarpo.config import load_config

    raw = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    raw["runs"]["a-star-po"] |= of_run
    if engine is not None:
        raw["runs"]["_usual"]["engine"] = engine
    tables = load_config({**raw, "runs": {name: raw["runs"][name] for name in ("_usual", "a-star-po")}})
    return [*_data_and_model(load_config(raw)), *_results(tables)], _tables_plan(tables)


def _tables_plan(config: Any) -> str:
    from astarpo.config.tables_plan import tables_plan

    return tables_plan(config)


def _data_and_model(config: Any) -> list[Job]:
    machine = config.machine.settings().model_dump_json()
    jobs = []
    for kind, names in (("dataset", config.datasets), ("benchmark", config.benchmarks)):
        for name in names:
            made = {"out": f"results/{kind}s/{name}.parquet", "out-card": f"results/{kind}s/{name}.card.json"}
            jobs.append(_job(config, f"prepare_{kind}", made, **{kind: name}))
    pair = {"dataset": "sums", "benchmark": "held-out"}
    shared = {"out": "results/contamination/sums--held-out.json"}
    jobs.append(_job(config, "check_contamination", shared, **pair))
    model = {"out-model": "results/references/tiny/model", "out-manifest": "results/references/tiny/manifest.json"}
    jobs.append(
        _job(
            config,
            "prepare_reference",
            model,
            {"machine": machine, "scratch": "results/checkpoints/tiny/warm-start"},
            reference="tiny",
        )
    )
    for block in ("s0-p0", "s1-p0"):
        of = {"reference": "tiny", "dataset": "sums", "block": block}
        path = f"results/samples/tiny/sums/block-{block}"
        drawn = {"out": f"{path}.parquet", "out-manifest": f"{path}.manifest.json"}
        more = {"machine": machine, "block": block, "scratch": f"results/parts/samples/tiny/sums/block-{block}"}
        jobs.append(_job(config, "sample_reference", drawn, more, **of))
        jobs.append(_job(config, "grade_samples", {"out": f"{path}.graded.parquet"}, **of))
    jobs.append(_job(config, "select_prompts", {"out": "results/selections/solved.parquet"}, selection="solved"))
    jobs.append(_job(config, "estimate_values", {"out": "results/values/v-star.parquet"}, value="v-star"))
    for run in config.runs:
        folder = f"results/runs/{run}/seed-0"
        made = {
            "out-model": f"{folder}/model",
            "out-metrics": f"{folder}/metrics.parquet",
            "out-timings": f"{folder}/timings.parquet",
            "out-rollouts": f"{folder}/rollouts.parquet",
            "out-manifest": f"{folder}/manifest.json",
        }
        more = {"machine": machine, "seed": "0", "scratch": f"results/checkpoints/{run}/seed-0"}
        jobs.append(_job(config, "train_policy", made, more, run=run, seed="0"))
    return jobs


def _results(config: Any) -> list[Job]:
    machine = config.machine.settings().model_dump_json()
    jobs = []
    for policy in ("tiny", "a-star-po.seed-0"):
        of = {"policy": policy, "benchmark": "held-out", "protocol": "sampled"}
        path = f"results/evaluations/{policy}/held-out.sampled"
        made = {"out": f"{path}.generations.parquet"}
        more = {"machine": machine, "scratch": f"results/parts/evaluations/{policy}/held-out.sampled"}
        jobs.append(_job(config, "generate_answers", made, more, **of))
        jobs.append(_job(config, "grade_answers", {"out": f"{path}.graded.parquet"}, **of))
    paper = str(CONFIG.parents[2] / "config/paper/main_table.csv")
    tables = {f"out-{name}": f"results/tables/{name}.csv" for name in TABLES}
    tables |= {f"out-{name}-parquet": f"results/tables/{name}.parquet" for name in TABLES}
    tables |= {"out-markdown": "results/tables/main.md", "out-latex": "results/tables/main.tex"}
    tables |= {"out-main-csv": "results/tables/main.csv", "out-html": "results/tables/main.html"}
    tables |= {"out-terminal": "results/tables/summary.txt", "out-provenance": "results/tables/provenance.csv"}
    jobs.append(_job(config, "summarize", tables, {"plan": PLAN, "paper": paper}))
    jobs.append(_job(config, "show_examples", {"out": "results/tables/examples.html"}, {"plan": PLAN}))
    rollouts = {f"out-{kind}": f"results/tables/rollouts.{kind}" for kind in ("csv", "markdown", "html")}
    jobs.append(_job(config, "show_rollouts", rollouts, {"plan": PLAN}))
    figure = {f"out-{kind}": f"results/figures/accuracy.{kind}" for kind in ("png", "pdf")}
    jobs.append(_job(config, "plot", figure, figure="accuracy"))
    return jobs


def _job(config: Any, rule: str, made: dict[str, str], more: dict[str, str] | None = None, **wildcards: str) -> Job:
    """Make a job of a rule from the stage table, as the rule would."""
    from astarpo.common.code import read_code
    from astarpo.config.stages.table import find_stage

    stage, more = find_stage(rule), more or {}
    inputs = stage.inputs(config, wildcards)
    options = {} if "plan" in more else inputs  # what the plan lists is on no command line
    named = [(name.replace("_", "-"), [path] if isinstance(path, str) else path) for name, path in options.items()]
    arguments = ["--settings", stage.settings_json(config, wildcards)]
    arguments += [word for name, paths in named for word in (f"--{name}", *paths)]
    arguments += [word for name, value in {**more, **made}.items() for word in (f"--{name}", value)]
    files = [path for value in inputs.values() for path in ([value] if isinstance(value, str) else value)]
    models = [f"{Path(path).parent}/model" for path in files if Path(path).name == "manifest.json"]
    return Job(
        " ".join([rule, *wildcards.values()]),
        rule,
        f"results/logs/{'/'.join([rule, *wildcards.values()])}.log",
        read_code(rule, stage.modules(config, wildcards)).fingerprint,
        tuple(arguments),
        (*files, *models, *([PLAN] if "plan" in more else [])),
        tuple(made.values()),
        more.get("scratch"),
    )
