"""Recipes: each loads and dry-runs by its documented command; and what a bad source of a model or of data says."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import training_case
import warm_snakemake
import yaml
from config_case import inputs, settings
from snakemake.utils import update_config

from astarpo.common.columns import DATASET
from astarpo.common.errors import InputError
from astarpo.common.files import write_table
from astarpo.common.machine import MachineSettings
from astarpo.config import load_config
from astarpo.config.policies import evaluations
from astarpo.config.runs import Config
from astarpo.config.tables_plan import tables_plan
from astarpo.data.datasets import prepare
from astarpo.data.settings import DatasetSettings, HubData
from astarpo.model import memory
from astarpo.model.loading import load_hub_policy, load_policy
from astarpo.model.world import World
from astarpo.sampling.settings import GenerationSettings, SamplingSettings
from astarpo.sampling.stage import sample_rows
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings
from astarpo.training import job

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "config" / "recipes"
SIZES = ("1.5b", "3b", "7b")
COMBINATIONS = [
    ["arithmetic_smollm2"],
    ["arithmetic_smollm2", "arithmetic_smollm2_controls"],
    ["arithmetic_smollm2", "comparison_llm"],
    ["arithmetic_smollm2", "comparison_llm", "learning_rates_llm"],
    ["arithmetic_smollm2", "pass_at_64_smollm2"],
    ["arithmetic_smollm2", "one_step_off"],
    ["word_problems_smollm2"],
    ["smollm2_gsm8k"],
    ["smollm2_gsm8k", "smollm2_gsm8k_slice"],
    ["smollm2_gsm8k", "smollm2_gsm8k_slice", "with_local_smollm2_gsm8k"],
    *([f"{task}_qwen2.5_{size}"] for task in ("gsm8k", "math") for size in SIZES),
    *([f"{task}_qwen2.5_1.5b", "with_release"] for task in ("gsm8k", "math")),
    *([f"{task}_qwen2.5_1.5b", f"with_local_{task}"] for task in ("gsm8k", "math")),
    ["gsm8k_qwen2.5_1.5b", "with_released_samples_gsm8k_1.5b"],
    ["math_qwen2.5_1.5b", "math_qwen2.5_3b"],
    [*(f"math_qwen2.5_{size}" for size in SIZES), "with_eight_gpus"],
    ["gsm8k_qwen2.5_7b", "math_qwen2.5_7b"],
    ["math_qwen2.5_1.5b", "with_benchmarks_math"],
    ["math_qwen2.5_1.5b", "with_local_math", "with_benchmarks_math", "with_local_benchmarks_math"],
    ["math_qwen2.5_1.5b", "with_math_12k"],
    ["math_qwen2.5_1.5b", "with_local_math", "with_math_12k", "with_local_math_12k"],
    ["math_qwen2.5_1.5b", "with_eight_gpus"],
    ["math_qwen2.5_7b", "with_two_nodes"],
    ["comparison"],
    ["comparison", "learning_rates"],
    ["comparison", "comparison_tokens"],
    ["comparison", "comparison_updates"],
    ["comparison", "comparison_updates", "comparison_four_updates"],
    ["comparison", "comparison_updates", "one_step_off"],
    ["comparison", "comparison_updates", "learning_rates"],
    ["comparison", "comparison_controls"],
    ["baseline_study"],
    ["diverse_answers"],
    ["fresh_samples"],
    ["pass_at_64"],
    ["ablations"],
    ["ablations", "ablations_full"],
    ["long_context_r1_distill_1.5b"],
    ["long_context_r1_distill_1.5b", "with_local_long_context_r1_distill_1.5b"],
]

AROUND_THE_DEFAULT = (
    "comparison",
    "baseline_study",
    "fresh_samples",
    "pass_at_64",
    "ablations",
    "ablations_full",
)  # these change config/config.yaml


def merged(names: list[str]) -> dict[str, Any]:
    """What Snakemake makes of several configuration files."""
    config: dict[str, Any] = {}
    if not set(names).isdisjoint(AROUND_THE_DEFAULT):
        update_config(config, yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8")))
    for name in names:
        update_config(config, yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8")))
    return config


def configured(names: list[str]) -> Config:
    return load_config(merged(names))


def dry_run(options: list[str], folder: Path = ROOT) -> str:
    done = warm_snakemake.snakemake(folder, "-n", "--nolock", *options, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
def test_it_loads(names: list[str]) -> None:
    assert evaluations(configured(names))


def test_every_recipe_is_in_some_combination() -> None:
    tried = {RECIPES / f"{name}.yaml" for names in COMBINATIONS for name in names}
    assert tried == set(RECIPES.rglob("*.yaml"))


def documented_commands() -> list[list[str]]:
    """The commands that the recipes' comments show, braces expanded as a shell does."""
    commands = []
    for path in sorted(RECIPES.rglob("*.yaml")):
        for line in re.findall(r"^#\s+snakemake (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            expanded = subprocess.run(
                ["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True
            )
            commands.append(expanded.stdout.split())
    return commands


@pytest.mark.parametrize("options", documented_commands(), ids=shlex.join)
def test_every_documented_command_dry_runs(options: list[str], tmp_path: Path) -> None:
    """In a copy: local files stand for those that the commands want."""
    for name in ("Snakefile", "rules", "workflow_scripts", "config", "envs", "profiles", "report"):
        (tmp_path / name).symlink_to(ROOT / name)
    for path in (
        "data/gsm8k/train.jsonl",
        "data/gsm8k/test.jsonl",
        "models/SmolLM2-135M-Instruct/config.json",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert "train_policy" in dry_run(options, tmp_path)


@pytest.mark.parametrize("task", ["gsm8k", "math"])
@pytest.mark.parametrize("size", SIZES)
def test_the_papers_values(task: str, size: str) -> None:
    config = configured([f"{task}_qwen2.5_{size}"])
    (run,) = config.runs.values()
    (value,) = config.values.values()
    (reference,) = config.references.values()
    sampling = config.datasets[run.dataset].sampling
    assert reference.source.id == f"Qwen/Qwen2.5-{size.upper()}" and not reference.chat_template
    assert (value.n, value.beta1, value.estimator, run.beta2) == (8, 0.5, "log_mean_exp", 1e-3)
    assert (run.lr, run.lr_schedule, run.lr_warmup_steps) == (1e-6, "constant", 0)
    assert (run.adam_betas, run.weight_decay, run.max_grad_norm) == ((0.9, 0.999), 0.01, 1.0)
    assert (run.prompts_per_batch, run.responses_per_prompt, run.max_prompt_tokens) == (256, 1, 256)
    assert run.steps == 25 * (7473 // 256) == 25 * (7500 // 256) == 725
    assert (run.updates_per_rollout, run.entropy_coefficient, run.selection) == (1, 0.0, None)
    assert (sampling.temperature, sampling.top_p, sampling.max_new_tokens) == (1.0, 1.0, 1024)


def test_the_release_makes_two_updates_and_has_an_entropy_bonus() -> None:
    (run,) = configured(["math_qwen2.5_3b", "with_release"]).runs.values()
    assert (run.updates_per_rollout, run.entropy_coefficient, run.steps) == (2, 1e-3, 725)


def test_sizes_go_together_and_share_what_they_can() -> None:
    together = configured([*(f"math_qwen2.5_{size}" for size in SIZES), "with_eight_gpus"])
    alone = configured(["math_qwen2.5_3b", "with_eight_gpus"])
    assert list(together.runs) == [f"math-qwen2-5-{size}" for size in ("1-5b", "3b", "7b")]
    for rule, wildcards in (("train_policy", {"run": "math-qwen2-5-3b"}), ("prepare_dataset", {"dataset": "math"})):
        assert settings(together, rule, **wildcards) == settings(alone, rule, **wildcards)


@pytest.mark.parametrize("task", ["gsm8k", "math"])
@pytest.mark.parametrize("size", ["3b", "7b"])
def test_the_sizes_differ_in_model_engine_and_machine_alone(task: str, size: str) -> None:
    """Each recipe is complete, so what they have in common is written three times."""
    smallest, other = (merged([f"{task}_qwen2.5_{one}"]) for one in ("1.5b", size))
    for config in (smallest, other):
        del config["machine"]
        config["runs"][f"_{task}"].pop("engine", None)
    names = (f"qwen2-5-{size}", "qwen2-5-1-5b"), (f"Qwen2.5-{size.upper()}", "Qwen2.5-1.5B")
    text = json.dumps(other)
    for theirs, ours in names:
        text = text.replace(theirs, ours)
    assert json.loads(text) == smallest


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_for_a_gpu_samples_with_vllm(path: Path) -> None:
    raw = merged([path.stem])
    if raw.get("machine", {}).get("device") != "cuda":
        return
    assert {entry["sampling_engine"] for entry in raw["references"].values()} == {"vllm"}
    assert raw["machine"]["sampler_sleep_level"] == 2  # it holds no memory while the policy is updated


def test_a_run_may_train_on_shorter_prompts_than_its_reference_takes() -> None:
    config = configured(["math_qwen2.5_1.5b"])
    assert '"max_prompt_tokens":256' in settings(config, "train_policy", run="math-qwen2-5-1-5b")
    answers = {"policy": "math-qwen2-5-1-5b.seed-0", "benchmark": "amc23", "protocol": "sampled"}
    assert '"max_prompt_tokens":1024' in settings(config, "generate_answers", **answers)


def test_no_problem_has_two_roles_in_smollm2() -> None:
    config = configured(["smollm2_gsm8k"])
    ranges = sorted(entry.hash_range for entry in config.datasets.values())
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(ranges))
    assert len({entry.source for entry in config.datasets.values()}) == 1


# What a person reads when a model or a data set cannot be had.


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, as the hub's clients see it."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_a_model_that_the_hub_does_not_give() -> None:
    with pytest.raises(InputError) as caught:
        load_hub_policy("no-such-person/no-such-model", None)
    text = str(caught.value)
    assert text.startswith("the tokenizer of 'no-such-person/no-such-model' cannot be loaded: ")
    assert all(word in text for word in ("HF_HUB_OFFLINE", "HF_TOKEN", "kind: local"))


@pytest.mark.usefixtures("offline")
def test_data_that_the_hub_does_not_give() -> None:
    source = HubData(kind="hub", id="no-such/data", split="train")
    settings = DatasetSettings(source=source, verifier="integer")
    with pytest.raises(InputError, match=r"'no-such/data' \(split 'train'\) cannot be loaded.*kind: local"):
        prepare(settings, "mine")


def test_a_model_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a model folder \(config.json is missing\)"):
        load_policy(tmp_path / "none")


def test_a_model_folder_without_a_tokenizer(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match=r"the tokenizer of .* cannot be loaded.*tokenizer.json"):
        load_policy(folder)


def test_a_model_folder_with_half_of_its_weights(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(InputError, match=r"the model of .* cannot be loaded.*must be whole"):
        load_policy(folder)


def rows(prompt: str) -> list[dict[str, Any]]:
    row = {
        "prompt_id": "a",
        "problem": prompt,
        "prompt": prompt,
        "gold": "1",
        "verifier": "integer",
    }
    return [{**row, "worked_solution": "1", "source_index": 0}]


PROMPTING = {"chat_template": False, "system_prompt": None, "max_prompt_tokens": 4}
ASKING = GenerationSettings(torch_threads=1, prompting=PROMPTING)
MACHINE = MachineSettings(sampling_batch=4)
WARM_START = {
    "steps": 1,
    "batch_size": 1,
    "lr": 1e-3,
    "lr_schedule": "constant",
    "lr_warmup_steps": 0,
    "adam_betas": [0.9, 0.999],
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "seed": 0,
}


def sample(folder: Path, prompt: str) -> list[dict[str, Any]]:
    drawing = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=2)
    return sample_rows(folder, rows(prompt), [0], lambda *_: 0, drawing, ASKING, MACHINE, "sample")


def test_prompts_that_are_all_too_long(tiny_folder: Path, tmp_path: Path) -> None:
    assert len(sample(tiny_folder, "1+1")) == 1
    with pytest.raises(InputError, match=r"all 1 prompts are longer than max_prompt_tokens \(4\)"):
        sample(tiny_folder, "1+1+1+1")
    write_table(tmp_path / "data.parquet", rows("1+1+1+1"), DATASET)
    settings = {
        "source": {"kind": "local", "path": str(tiny_folder)},
        "warm_start": WARM_START,
        **PROMPTING,
        "torch_threads": 1,
    }
    with pytest.raises(InputError, match=r"1 .*longer than max_prompt_tokens \(4\)"):
        prepare_reference(ReferenceSettings(**settings), str(tmp_path / "data.parquet"), "cpu")


def test_a_model_that_does_not_fit(tiny_folder: Path, tiny_policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = sum(p.numel() for p in tiny_policy.model.parameters())
    assert memory.parameters_of_folder(tiny_folder) == parameters
    settings = {"source": {"kind": "local", "path": str(tiny_folder)}, "warm_start": None}
    monkeypatch.setattr(memory, "free_bytes", lambda device: 4 * parameters)
    prepare_reference(ReferenceSettings(**settings), None, "cpu")
    monkeypatch.setattr(memory, "free_bytes", lambda device: 4 * parameters - 1)
    with pytest.raises(InputError, match=r"the model .*: load takes about .* \(weights .*\), but cpu has .* GB free"):
        prepare_reference(ReferenceSettings(**settings), None, "cpu")


def test_stages_that_do_not_fit_are_refused_before_weights_are_read(
    tiny_folder: Path, tiny_policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(sample(tiny_folder, "1+1")) == 1
    prompts = training_case.prompts(tiny_policy)
    check = (tiny_folder, training_case.SETTINGS, training_case.MACHINE, World(), prompts)
    job._check_memory(*check)

    def read(*_: object, **__: object) -> None:
        raise AssertionError("weights are read")

    monkeypatch.setattr("astarpo.sampling.stage.load_policy", read)
    parameters = memory.parameters_of_folder(tiny_folder)
    assert parameters is not None
    monkeypatch.setattr(memory, "free_bytes", lambda device: 4 * parameters + 100)
    with pytest.raises(InputError, match=r"generate takes about .*keys and values"):
        sample(tiny_folder, "1+1")
    monkeypatch.setattr(memory, "free_bytes", lambda device: 20 * parameters)
    with pytest.raises(InputError, match=r"takes about .* but cpu has .* GB free"):
        job._check_memory(*check)


def test_free_memory_is_known_here() -> None:
    free = memory.free_bytes("cpu")
    assert free is None or free > 0


def test_a_damaged_weights_file_has_no_known_size(tmp_path: Path) -> None:
    assert memory.parameters_of_folder(tmp_path) is None
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    assert memory.parameters_of_folder(tmp_path) == 0
    (tmp_path / "model.safetensors").write_bytes(b"no")
    assert memory.parameters_of_folder(tmp_path) is None


@pytest.mark.usefixtures("offline")
def test_a_hub_that_does_not_answer_leaves_the_size_open() -> None:
    assert memory.parameters_on_hub("no-such-person/no-such-model", None) is None


def test_a_device_that_is_not_there(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="machine.device is 'cuda'.*does not see that device"):
        load_policy(tiny_folder, "cuda")


def test_the_sweeps_are_as_large_as_they_say():
    small = configured(["ablations"])
    assert len(small.runs) <= 16
    assert {(run.steps, len(run.seeds), run.benchmarks) for run in small.runs.values()} == {(50, 3, ("held-out",))}
    # All estimates come from one set of samples.
    blocks = {block for name in small.values for block in inputs(small, "estimate_values", value=name)["graded"]}
    assert len(blocks) == 4
    full = configured(["ablations", "ablations_full"])
    assert len(full.runs) == len(small.runs) + (5 * 5 + 5) * 4


SAME = (
    "reference",
    "dataset",
    "selection",
    "steps",
    "max_generated_tokens",
    "prompts_per_batch",
    "lr_schedule",
    "lr_warmup_steps",
    "adam_betas",
    "weight_decay",
    "max_grad_norm",
    "grad_norm_of",
    "updates_per_rollout",
    "seeds",
)


@pytest.mark.parametrize(
    ("names", "only_here"),
    [
        (["comparison"], set()),
        (["comparison", "comparison_tokens"], set()),
        (["comparison", "comparison_controls"], {"oapl"}),
    ],
)
def test_the_comparison_is_on_equal_terms(names, only_here):
    config = configured(names)
    terms = {tuple(getattr(run, key) for key in SAME) for run in config.runs.values()}
    assert len(terms) == 1
    methods = {"a_star_po", "grpo", "ppo", "rebel", "reinforce"}
    assert {run.method for run in config.runs.values()} == methods | only_here


def test_at_an_equal_number_of_tokens_and_among_the_controls_there_is_one_learning_rate():
    assert {run.lr for run in configured(["comparison", "comparison_tokens"]).runs.values()} == {4.5e-4}
    compared = configured(["comparison"]).runs
    controls = configured(["comparison", "comparison_controls"]).runs
    assert {run.lr for name, run in controls.items() if name not in compared} == {4.5e-4}


@pytest.mark.parametrize(
    ("names", "responses"),
    [
        (["comparison", "comparison_updates"], 128),
        (["comparison", "comparison_updates", "comparison_four_updates"], 128),
        (["arithmetic_smollm2", "comparison_llm"], 32),
    ],
)
def test_methods_are_compared_at_equal_tokens_and_updates(names, responses):
    runs = configured(names).runs.values()
    assert {run.prompts_per_batch * run.responses_per_prompt for run in runs} == {responses}
    equal = {(run.steps, run.updates_per_rollout, run.grad_norm_of, run.lr_schedule, len(run.seeds)) for run in runs}
    assert len(equal) == 1 and len(runs) >= 7


@pytest.mark.parametrize(("name", "seeds", "rates"), [("baseline_study", 10, 3), ("diverse_answers", 3, 1)])
def test_baselines_are_compared_on_equal_terms(name, seeds, rates):
    runs = list(configured([name]).runs.values())
    same = [key for key in SAME if key not in ("prompts_per_batch", "grad_norm_of")]
    assert len({tuple(getattr(run, key) for key in same) for run in runs}) == 1
    assert {run.prompts_per_batch * run.responses_per_prompt for run in runs} == {128}
    assert {(len(run.seeds), run.beta2, run.validation, run.validate_every) for run in runs} == {
        (seeds, 1e-3, runs[0].validation, runs[0].validate_every)
    }
    by_rate = Counter(run.lr for run in runs)
    assert len(by_rate) == rates and len(set(by_rate.values())) == 1


@pytest.mark.parametrize("terms", [["comparison"], ["comparison", "comparison_updates"]], ids="+".join)
def test_every_method_has_the_same_rates_and_one_of_them_was_chosen(terms):
    tried = configured([*terms, "learning_rates"])
    rates: dict[str, set[float]] = {}
    for run in json.loads(tables_plan(tried))["runs"]:
        rates.setdefault(run["family"], set()).add(run["lr"])
    chosen = configured(terms).runs
    assert set(rates) == set(chosen)
    assert all(len(own) == 4 for own in rates.values()) and len(set(map(frozenset, rates.values()))) == 1
    assert all(run.lr in rates[name] for name, run in chosen.items())
    assert not {100, 101} & {seed for run in chosen.values() for seed in run.seeds}


def test_fresh_samples_share_all_but_the_seed_of_stage_1():
    config = configured(["fresh_samples"])
    data = [config.datasets[name].model_dump() for name in ("sums", "sums-1", "sums-2")]
    seeds = [one["sampling"].pop("base_seed") for one in data]
    assert seeds == [0, 1, 2] and data[0] == data[1] == data[2]
    kept = [
        config.runs[f"{name}{end}"].model_dump(exclude={"dataset", "selection", "value", "seeds"})
        for name in ("a-star-po", "grpo-2")
        for end in ("", "-1", "-2")
    ]
    assert kept[0] == kept[1] == kept[2] and kept[3] == kept[4] == kept[5]
    for name in ("a-star-po", "grpo-2"):
        used = [config.runs[f"{name}{end}"] for end in ("", "-1", "-2")]
        assert [run.seeds for run in used] == [(0,), (1,), (2,)]
        assert all(config.selections[run.selection].dataset == run.dataset for run in used)


def test_a_mistake_in_a_sweep_does_not_fill_the_screen():
    config = merged(["ablations", "ablations_full"])
    config["runs"]["all"]["grid"]["beta2"] = [-1]
    with pytest.raises(InputError) as caught:
        load_config(config)
    assert str(caught.value).count("\n") == 21 and "... and 10 more" in str(caught.value)
