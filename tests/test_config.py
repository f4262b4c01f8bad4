"""The configuration: every mistake named before any job starts, and JSON that is equal when settings are."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from config_case import DEFAULT, RUN, changed, inputs, message, modules, packages, settings, with_run

from astarpo.common.code import read_code
from astarpo.common.errors import InputError
from astarpo.common.machine import MachineSettings
from astarpo.common.settings import canonical_json
from astarpo.config import load_config
from astarpo.config.methods import METHOD_RUNS
from astarpo.config.paths import policy_path
from astarpo.config.policies import benchmarks_of, policies
from astarpo.config.run_checks import check_own_samplers
from astarpo.config.samples import blocks
from astarpo.config.tables_plan import tables_plan
from astarpo.objectives import METHODS
from astarpo.training.settings import TrainSettings


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bechmarks": {}}, "unknown key 'bechmarks'; did you mean 'benchmarks'?"),
        ({f"{RUN}__beta": 1.0}, "runs.a-star-po: unknown key 'beta'; did you mean 'beta2'?"),
        ({f"{RUN}__beta2": 0}, "runs.a-star-po.beta2 = 0: must be above 0"),
        ({f"{RUN}__beta2": "much"}, "runs.a-star-po.beta2 = 'much': must be a valid number"),
        ({f"{RUN}__beta2": True}, "runs.a-star-po.beta2 = True: must be a valid number"),
        ({f"{RUN}__steps": 1.5}, "runs.a-star-po.steps = 1.5: must be a valid integer"),
        ({f"{RUN}__method": "a2c"}, "runs.a-star-po.method = 'a2c': must be one of 'a_star_po', 'grpo'"),
        ({"datasets__sums__source": {"count": 3}}, "datasets.sums.source.kind: this key is required"),
        ({f"{RUN}__value": "v"}, "runs.a-star-po.value = 'v': no such entry under values; there are v-star"),
        ({f"{RUN}__seeds": [1, 1]}, "runs.a-star-po.seeds = [1, 1]: must be different numbers"),
        ({f"{RUN}__seeds": []}, "runs.a-star-po.seeds"),
        ({"values__v_dash_star__beta1": -0.5}, "values.v-star.beta1 = -0.5: must be at least 1e-06"),
        ({"values__v_dash_star__n": 9}, "values.v-star.n = 9: is above datasets.sums.sampling.max_samples (8)"),
        (
            {"values__v_dash_star__first_sample": 1},
            "values.v-star.first_sample + n = 9: is above datasets.sums.sampling.max_samples (8)",
        ),
        (
            {"datasets__sums__sampling__top_p": 0.9},
            "datasets.sums.sampling.top_p = 0.9: must be 1, so that the trained policy is the one that samples",
        ),
        (
            {"datasets__sums__sampling__max_samples": 10},
            "datasets.sums.sampling.max_samples = 10: must be a multiple of block_size (4)",
        ),
        ({"datasets__sums__sampling": None}, "values.v-star.dataset = 'sums': this data set has no `sampling`"),
        ({"datasets__sums__verifier": "gone.py:f"}, "datasets.sums.verifier = 'gone.py:f': there is no file gone.py"),
        ({"datasets__sums__template": "solve"}, "datasets.sums.template = 'solve': must contain {problem}"),
        ({"datasets__sums__verifier": "maths"}, "datasets.sums.verifier = 'maths': known are countdown, gsm8k"),
        (
            {"datasets__sums__columns": {"worked_solution_remove": "(["}},
            "datasets.sums.columns.worked_solution_remove = '([': not a regular expression",
        ),
        (
            {"datasets__sums__columns": {"gold_after": "####", "gold_boxed": True}},
            "datasets.sums.columns.gold_after = '####': cannot be combined with gold_boxed",
        ),
        (
            {"datasets__sums__grading": {"timeout_s": 20, "wall_timeout_s": 10}},
            "datasets.sums.grading.wall_timeout_s = 10: must not be below timeout_s (20)",
        ),
        ({"datasets__sums__source__kind": "csv"}, "datasets.sums.source"),
        ({"datasets__sums__hash_range": [0.5, 0.5]}, "the first number must be below the second"),
        (
            {"datasets__sums__hash_range": [0.5, 0.8]},
            "datasets.sums-warm-start.hash_range = [0.0, 0.6]: overlaps that of datasets.sums ([0.5, 0.8])",
        ),
        (
            {"benchmarks__held_dash_out__hash_range": [0.8, 1.0]},
            "benchmarks.held-out.hash_range = [0.8, 1.0]: overlaps that of datasets.sums",
        ),
        (  # the first of more problems
            {
                "benchmarks__held_dash_out__hash_range": [0.8, 1.0],
                "benchmarks__held_dash_out__source": {**DEFAULT["datasets"]["sums"]["source"], "count": 77},
            },
            "benchmarks.held-out.hash_range = [0.8, 1.0]: overlaps that of datasets.sums",
        ),
        (
            {"benchmarks__held_dash_out__protocols__greedy__k": 4},
            "benchmarks.held-out.protocols.greedy.k = 4: must be 1 at temperature 0",
        ),
        ({"references__tiny__warm_start__dataset": "x"}, "references.tiny.warm_start.dataset = 'x': no such entry"),
        ({"references__tiny__system_prompt": "Think."}, "references.tiny.system_prompt: needs chat_template: true"),
        ({"references__Tiny": DEFAULT["references"]["tiny"]}, "references.Tiny"),
        ({"runs__tiny": DEFAULT["runs"]["a-star-po"]}, "runs.tiny: a reference already has this name"),
        ({"figures__accuracy__runs": ["x"]}, "figures.accuracy.runs = 'x': no such entry under runs"),
        ({"runs": None}, "runs must be a mapping"),
        ({f"{RUN}__base": "x"}, "runs.a-star-po.base: there is no entry 'x'; there are a-star-po"),
        ({f"{RUN}__base": "a-star-po"}, "runs.a-star-po.base: 'a-star-po' leads back to itself"),
        ({f"{RUN}__grid": {"beta3": [1.0]}}, "unknown key 'beta3'"),
        ({f"{RUN}__grid": {"beta2": 1.0}}, "runs.a-star-po.grid.beta2 must be a list of values"),
        ({f"{RUN}__grid": {"lr": [1e-3, "1e-3"]}}, "two entries expand to the name 'a-star-po-1e-3'"),
        ({"machine__device": "tpu"}, "machine.device = 'tpu': must be 'cpu' or 'cuda'"),
        (
            {"machine__profile_steps": [5, 3]},
            "machine.profile_steps = [5, 3]: the first step must not be above the last",
        ),
        ({"machine__profile_steps": [0, 3]}, "machine.profile_steps.0 = 0: must be at least 1"),
        ({"machine__profile_steps": [3]}, "machine.profile_steps.1: this item of the list is required"),
    ],
)
def test_a_mistake_is_named(changes, expected):
    assert expected in message(changed(**changes))


def test_all_mistakes_come_in_one_message():
    text = message(changed(**{f"{RUN}__beta2": 0, "values__v_dash_star__beta1": 0, "machine__devise": "cpu"}))
    assert text.startswith("the configuration has 3 errors:")
    assert all(word in text for word in ("beta2", "beta1", "devise"))


def test_yaml_spells_numbers_as_texts_and_they_are_taken_as_meant():
    assert load_config(changed(**{f"{RUN}__beta2": "1e-3"})).runs["a-star-po"].beta2 == 1e-3
    configs = [load_config(raw) for raw in (changed(**{f"{RUN}__max_grad_norm": 1}), DEFAULT)]
    first, second = (settings(config, "train_policy", run="a-star-po") for config in configs)
    assert first == second


def test_a_second_file_can_put_another_kind_of_source_in_place():
    source = {**DEFAULT["datasets"]["sums"]["source"], "kind": "local", "path": "a.jsonl"}
    assert "source: unknown key 'count'" in message(changed(datasets__sums__source=source))
    nulls = {**dict.fromkeys(source), "kind": "local", "path": "a.jsonl"}
    config = load_config(changed(datasets__sums__source=nulls))
    assert config.datasets["sums"].source.model_dump() == {"kind": "local", "path": "a.jsonl"}


def test_grids_expand_and_inherit():
    sweep = {"base": "a-star-po", "grid": {"beta2": [1e-4, "1e-3"], "seeds": [[0]]}}
    with pytest.raises(InputError, match="a grid takes numbers"):
        load_config(changed(runs__sweep=sweep))
    sweep = {"base": "a-star-po", "seeds": [7], "grid": {"beta2": [1e-4, 0.5], "steps": [10, 20]}}
    runs = load_config(changed(runs__sweep=sweep)).runs
    assert list(runs) == [
        "a-star-po",
        "sweep-1e-4-10",
        "sweep-1e-4-20",
        "sweep-0p5-10",
        "sweep-0p5-20",
    ]
    assert runs["sweep-0p5-20"].beta2 == 0.5 and runs["sweep-0p5-20"].steps == 20
    assert runs["sweep-0p5-20"].lr == runs["a-star-po"].lr and runs["sweep-0p5-20"].seeds == (7,)


def test_a_base_may_have_a_base():
    config = changed(runs__b={"base": "a-star-po", "lr": 1e-3}, runs__c={"base": "b", "steps": 11})
    runs = load_config(config).runs
    assert (runs["c"].lr, runs["c"].steps, runs["c"].beta2) == (1e-3, 11, 1e-3)


def test_a_base_whose_name_begins_with_an_underscore_is_no_run():
    run = DEFAULT["runs"]["a-star-po"]
    runs = load_config(changed(runs={"_all": run, "a": {"base": "_all", "lr": 1e-3}})).runs
    assert list(runs) == ["a"] and runs["a"].steps == run["steps"]


def test_order_of_keys_is_no_difference():
    def backwards(value):
        return {k: backwards(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    one, two = backwards(DEFAULT), DEFAULT
    assert settings_of(one) == settings_of(two)
    assert tables_plan(load_config(one)) == tables_plan(load_config(two))


JOBS = {
    "prepare_dataset": {"dataset": "sums"},
    "prepare_reference": {"reference": "tiny"},
    "sample_reference": {"reference": "tiny", "dataset": "sums"},
    "grade_samples": {"dataset": "sums"},
    "select_prompts": {"selection": "solved"},
    "estimate_values": {"value": "v-star"},
    "train_policy": {"run": "a-star-po"},
    "generate_answers": {"policy": "tiny", "benchmark": "held-out", "protocol": "sampled"},
    "plot": {"figure": "accuracy"},
}


def settings_of(raw):
    config = load_config(raw)
    return {rule: settings(config, rule, **wildcards) for rule, wildcards in JOBS.items()}


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({f"{RUN}__beta2": 0.002}, {"train_policy"}),
        ({f"{RUN}__seeds": [0]}, set()),
        ({f"{RUN}__benchmarks": ["held-out"]}, set()),
        ({"values__v_dash_star__beta1": 1.0}, {"estimate_values"}),
        ({"datasets__sums__sampling__max_samples": 16}, set()),
        ({"datasets__sums__sampling__base_seed": 1}, {"sample_reference"}),
        ({"datasets__sums__sampling__temperature": 0.9}, {"sample_reference", "train_policy"}),
        ({"datasets__sums__grading": {"truncated": "as_judged"}}, {"grade_samples", "train_policy"}),
        ({"references__tiny__precision": "bfloat16"}, {"sample_reference", "train_policy", "generate_answers"}),
        ({"references__tiny__sampling_engine": "vllm"}, {"sample_reference", "train_policy", "generate_answers"}),
        ({f"{RUN}__log_prob_chunk_tokens": 64}, {"train_policy"}),
        ({f"{RUN}__compile_model": True}, {"train_policy"}),
        ({f"{RUN}__pipeline": {"lag": 1}}, {"train_policy"}),
        ({"machine": {"sampler_memory_share": 0.5, "sampler_sleep_level": 2, "sampler_tensor_parallel": 4}}, set()),
        ({"benchmarks__held_dash_out__protocols__sampled__k": 4}, {"generate_answers"}),
        ({"figures__accuracy__dpi": 99}, {"plot"}),
        ({"machine": {"micro_batch": 1, "walltime_minutes": 60}}, set()),
    ],
)
def test_an_edit_reaches_only_the_stages_that_read_it(changes, stages):
    before, after = settings_of(DEFAULT), settings_of(changed(**changes))
    assert {rule for rule in before if before[rule] != after[rule]} == stages


def training_files(run: str = "a-star-po", **changes: Any) -> set[str]:
    """Files of a training's code."""
    config = load_config(changed(**changes))
    return set(read_code("train_policy", modules(config, "train_policy", run=run)).modules)


def test_a_training_depends_on_its_own_method_and_engines():
    usual = training_files()
    method = {name for name in usual if name.startswith("astarpo/objectives/")}
    shared = {"__init__", "loss_terms", "method", "rollout", "value_scale"}
    assert method == {f"astarpo/objectives/{name}.py" for name in ("a_star_po", *shared)}
    # What is pushed into vLLM is taken from the model by lora.py, also where there are none.
    lora = {"astarpo/model/lora.py"}
    vllm = {f"astarpo/sampling/vllm_{name}.py" for name in ("engine", "parameters", "process", "weights")}
    places = {"astarpo/memory/vllm_places.py"}
    assert training_files(references__tiny__sampling_engine="vllm") - usual == lora | vllm | places
    assert training_files(**{f"{RUN}__lora": {"rank": 4}}) - usual == lora
    assert training_files(**{f"{RUN}__value_update": "running"}) - usual == {"astarpo/stage_one/values.py"}
    spread = {
        f"astarpo/training/deepspeed/{name}.py" for name in ("critic", "engine", "loading", "modules", "optimizer")
    }
    assert training_files(**{f"{RUN}__engine": "deepspeed"}) - usual == spread


def test_a_run_is_no_edit_of_another_runs_code():
    other = {**DEFAULT["runs"]["a-star-po"], "engine": "deepspeed", "lora": {"rank": 4}}
    assert training_files(runs__b=other) == training_files()


PPO = {
    key: value
    for key, value in {**DEFAULT["runs"]["a-star-po"], "method": "ppo"}.items()
    if key not in ("value", "value_scale", "beta2")
}


@pytest.mark.parametrize(("engine", "machine"), [("torch", {}), ("deepspeed", {"machine__zero_stage": 3})])
@pytest.mark.parametrize("sampling_engine", ["transformers", "vllm"])
def test_a_critic_goes_with_every_engine_and_with_adapters(engine, machine, sampling_engine):
    run = {**PPO, "engine": engine, "lora": {"rank": 4}}
    config = load_config(changed(runs__b=run, references__tiny__sampling_engine=sampling_engine, **machine))
    assert (config.runs["b"].method, config.runs["b"].engine) == ("ppo", engine)


def test_a_job_needs_the_packages_of_its_own_engines():
    other = {**DEFAULT["runs"]["a-star-po"], "engine": "deepspeed", "lora": {"rank": 4}}
    config = load_config(changed(runs__b=other))
    assert packages(config, "train_policy", run="b") == ("deepspeed", "peft")
    assert packages(config, "train_policy", run="a-star-po") == ()
    assert packages(config, "generate_answers", policy="b.seed-0") == ()
    with_vllm = load_config(changed(references__tiny__sampling_engine="vllm"))
    assert packages(with_vllm, "sample_reference", reference="tiny") == ("vllm",)
    assert packages(with_vllm, "generate_answers", policy="a-star-po.seed-0") == ("vllm",)
    assert packages(with_vllm, "train_policy", run="a-star-po") == ("vllm",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"machine__devices": 2}, "runs.a-star-po.engine = 'torch': trains on one device"),
        ({"machine__offload_optimizer": True, "machine__zero_stage": 0}, "machine.offload_optimizer: needs zero_stage"),
        ({"machine__offload_parameters": True}, "machine.offload_parameters: needs zero_stage 3, but it is 2"),
        (
            {"machine__profile_steps": [3, 5], "runs__a-star-po__steps": 4},
            "machine.profile_steps = [3, 5]: 5 is above runs.a-star-po.steps, 4; choose steps that",
        ),
        (
            {"runs__a-star-po__engine": "deepspeed", "machine__devices": 2, "machine__nodes": 100},
            "runs.a-star-po.prompts_per_batch = 128: is below machine.devices x machine.nodes (200)",
        ),
        (
            {"runs__a-star-po__compile_model": True, "runs__a-star-po__engine": "deepspeed"},
            "runs.a-star-po.compile_model: needs engine 'torch'",
        ),
        (
            {"runs__a-star-po__compile_model": True, "runs__a-star-po__lora": {}},
            "runs.a-star-po.compile_model: cannot be combined with lora",
        ),
        (
            {"runs__a-star-po__compile_model": True, "machine__activation_checkpointing": True},
            "runs.a-star-po.compile_model: cannot be combined with machine.activation_checkpointing",
        ),
        (
            {"runs__a-star-po__pipeline": {"lag": 1}, "runs__a-star-po__engine": "deepspeed"},
            "runs.a-star-po.pipeline: needs engine 'torch', but it is 'deepspeed'",
        ),
        (
            {"runs__a-star-po__pipeline": {"lag": 1}, "runs__a-star-po__lora": {}},
            "runs.a-star-po.pipeline: cannot be combined with lora",
        ),
    ],
)
def test_settings_of_engines_that_contradict_each_other(changes, said):
    with pytest.raises(InputError) as caught:
        load_config(changed(**changes))
    assert said in str(caught.value)


def test_a_training_has_no_vllm_on_several_gpus_but_stage_1_may():
    config = load_config(changed(references__tiny__sampling_engine="vllm", machine__sampler_tensor_parallel=2))
    check_own_samplers(config, [])
    with pytest.raises(InputError) as caught:
        check_own_samplers(config, ["a-star-po"])
    assert "machine.sampler_tensor_parallel = 2: runs.a-star-po samples with vLLM" in str(caught.value)
    check_own_samplers(load_config(changed(references__tiny__sampling_engine="vllm")), ["a-star-po"])
    check_own_samplers(load_config(changed(machine__sampler_tensor_parallel=2)), ["a-star-po"])


def test_swapping_two_values_changes_both_stages():
    swapped = changed(**{f"{RUN}__beta2": 0.5, "values__v_dash_star__beta1": 1e-3})
    before, after = settings_of(DEFAULT), settings_of(swapped)
    assert {stage for stage in before if before[stage] != after[stage]} == {"estimate_values", "train_policy"}


def test_scripts_can_read_what_the_rules_give_them():
    config = load_config(DEFAULT)
    text = settings(config, "train_policy", run="a-star-po")
    read = TrainSettings.from_json(text)
    assert read.hyperparameters == {
        "beta2": 1e-3,
        "value_update": "none",
        "value_scale": "adaptive",
        "value_scale_decay": 0.9,
        "score_norm": "surprisal",
        "score_norm_responses": 16,
    }
    assert read.sampling.max_new_tokens == 40
    machine = MachineSettings.from_json(canonical_json(config.machine.settings()))
    assert machine == config.machine.settings() and machine.max_minutes is None
    without_steps = {key: value for key, value in json.loads(text).items() if key != "steps"}
    with pytest.raises(InputError, match="^--settings: steps is missing$"):
        TrainSettings.from_json(json.dumps(without_steps))
    with pytest.raises(InputError, match="^--machine: unknown key 'devicce'; did you mean 'device'"):
        MachineSettings.from_json('{"devicce": "cpu"}', "--machine")
    with pytest.raises(InputError, match="^--settings: lr: .* less than or equal to 1; it is 2.0$"):
        TrainSettings.from_json(json.dumps({**json.loads(text), "lr": 2.0}))
    for other in ("{", "[1]", "3"):
        with pytest.raises(InputError, match="^--settings is not a JSON object"):
            TrainSettings.from_json(other)


def test_walltime_leaves_time_to_save():
    machine = load_config(changed(machine__walltime_minutes=60)).machine
    assert machine.settings().max_minutes == 52 and machine.training_minutes() == 60


@pytest.mark.parametrize(
    ("first", "n", "expected"),
    [
        (0, 4, [0]),
        (0, 5, [0, 1]),
        (0, 8, [0, 1]),
        (3, 1, [0]),
        (3, 2, [0, 1]),
        (4, 4, [1]),
        (5, 2, [1]),
        (4, 8, [1, 2]),
    ],
)
def test_blocks_hold_the_samples_of_an_entry(first, n, expected):
    """Blocks have four samples of each prompt."""
    raw = changed(
        values__v_dash_star__n=n,
        values__v_dash_star__first_sample=first,
        datasets__sums__sampling__prompt_shards=2,
        datasets__sums__sampling__max_samples=12,
    )
    config = load_config(raw)
    assert blocks(config, config.values["v-star"]) == [f"s{s}-p{p}" for s in expected for p in (0, 1)]


def test_policies_and_their_benchmarks():
    other = {**DEFAULT["runs"]["a-star-po"], "seeds": [5], "benchmarks": ["one-more-term"]}
    config = load_config(changed(runs__other=other))
    assert policies(config) == ["tiny", *(f"a-star-po.seed-{s}" for s in (0, 1, 2)), "other.seed-5"]
    assert benchmarks_of(config, "other.seed-5") == ["one-more-term"]
    assert benchmarks_of(config, "tiny") == ["held-out", "one-more-term"]
    assert policy_path("other.seed-5") == "results/runs/other/seed-5/manifest.json"
    assert policy_path("tiny") == "results/references/tiny/manifest.json"


def test_the_tables_are_given_every_file_once():
    config = load_config(DEFAULT)
    files = inputs(config, "summarize")["results"]
    assert len(files) == len(set(files))
    expected = json.loads(tables_plan(config))["expected"]
    assert len({e["file"] for e in expected}) == len(expected)
    assert {e["rule"] for e in expected} == {
        "prepare_dataset",
        "prepare_benchmark",
        "prepare_reference",
        "sample_reference",
        "grade_samples",
        "select_prompts",
        "estimate_values",
        "train_policy",
        "generate_answers",
        "grade_answers",
    }
    training = next(entry for entry in expected if entry["rule"] == "train_policy")
    assert training["chosen"] == ["astarpo.objectives.a_star_po"]


def test_estimates_of_v_star_have_grids_as_well():
    raw = copy.deepcopy(DEFAULT)
    raw["values"]["sweep"] = {"base": "v-star", "grid": {"beta1": [0.1, 2], "n": [4]}}
    raw["runs"]["many"] = {"base": "a-star-po", "grid": {"value": ["sweep-0p1-4", "sweep-2-4"]}}
    config = load_config(raw)
    assert config.values["sweep-0p1-4"].beta1 == 0.1 and config.values["sweep-2-4"].n == 4
    assert config.runs["many-sweep-2-4"].value == "sweep-2-4"
    assert inputs(config, "estimate_values", value="sweep-0p1-4") == {
        "graded": ["results/samples/tiny/sums/block-s0-p0.graded.parquet"],
        "generations": ["results/samples/tiny/sums/block-s0-p0.parquet"],
    }


def test_files_of_own_verifiers_are_inputs_of_what_grades(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def f(gold, response):\n    return True\n")
    raw = copy.deepcopy(DEFAULT)
    for registry, name in (
        ("datasets", "sums"),
        ("datasets", "sums-validation"),
        ("benchmarks", "held-out"),
    ):
        raw[registry][name]["verifier"] = f"{path}:f"
    config = load_config(raw)
    assert inputs(config, "grade_samples", reference="tiny", dataset="sums", block="s0-p0")["verifier"] == str(path)
    answers = {"policy": "tiny", "protocol": "greedy"}
    assert inputs(config, "grade_answers", benchmark="held-out", **answers)["verifier"] == str(path)
    assert "verifier" not in inputs(config, "grade_answers", benchmark="one-more-term", **answers)
    training = inputs(config, "train_policy", run="a-star-po")
    assert training["verifier"] == training["validation_verifier"] == str(path)
    assert "verifier" not in inputs(config, "prepare_dataset", dataset="sums")


@pytest.mark.parametrize("method", METHODS)
def test_settings_of_each_method_are_those_of_its_functions(method):
    assert set(METHOD_RUNS[method].method_settings.model_fields) == set(METHODS[method].hyperparameters)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"method": "grpo", "beta2": 1e-3}, "runs.mine: unknown key 'beta2'"),
        (
            {"method": "grpo", "kl_coeficient": 0},
            "unknown key 'kl_coeficient'; did you mean 'kl_coefficient'?",
        ),
        ({"method": "grpo", "value": "v-star"}, "unknown key 'value'"),
        (
            {"method": "grpo", "responses_per_prompt": 1},
            "responses_per_prompt = 1: grpo takes 2 or more",
        ),
        (
            {"method": "oapl", "responses_per_prompt": 1},
            "responses_per_prompt = 1: oapl takes 2 or more",
        ),
        (
            {"method": "rebel", "responses_per_prompt": 1},
            "responses_per_prompt = 1: rebel takes exactly 2",
        ),
        (
            {"method": "rebel", "responses_per_prompt": 4},
            "responses_per_prompt = 4: rebel takes exactly 2",
        ),
        (
            {"method": "reinforce", "baseline": "leave_one_out"},
            "responses_per_prompt = 1: reinforce takes 2 or more",
        ),
        (
            {"method": "reinforce", "baseline": "v_star"},
            "runs.mine.value: required by baseline `v_star`",
        ),
        (
            {"method": "reinforce", "baseline": "zero", "value": "v-star"},
            "runs.mine.value: required by baseline `v_star`",
        ),
        (
            {"method": "reinforce", "baseline": "constant"},
            "runs.mine.constant = 0: must be above 0 with baseline `constant`",
        ),
        (
            {"method": "reinforce", "baseline": "zero", "constant": 0.25},
            "runs.mine.constant = 0.25: must be above 0 with baseline `constant`, is refused by all others",
        ),
        (
            {"method": "a_star_po", "value": "v-star", "responses_per_prompt": 2},
            "a_star_po takes exactly 1",
        ),
        ({"method": "dpo"}, "runs.mine"),
        (
            {"method": "oapl", "responses_per_prompt": 2, "pipeline": {"lag": 1}},
            "runs.mine.pipeline: oapl already draws with an older policy",
        ),
        (
            {"method": "grpo", "responses_per_prompt": 2, "pipeline": {"lag": 1, "importance_cap": 2}},
            "runs.mine.pipeline.importance_cap = 2: only for a_star_po and reinforce, but the method is 'grpo'",
        ),
    ],
)
def test_keys_and_groups_of_other_methods_are_refused(keys, expected):
    assert expected in message(with_run(**keys))


def test_an_estimate_that_is_refreshed_brings_its_settings_along():
    config = load_config(with_run(method="a_star_po", value="v-star", value_update="running"))
    estimate = json.loads(settings(config, "train_policy", run="mine"))["estimate"]
    assert estimate == {"estimator": "log_mean_exp", "beta1": 0.5}


def test_a_run_without_v_star_has_none_among_its_inputs():
    named = inputs(load_config(with_run(method="grpo")), "train_policy", run="mine")
    assert "values" not in named and "selection" in named


def test_a_file_of_changes_alone_is_said_to_be_one() -> None:
    with pytest.raises(InputError, match=r"required\n  with_b\.yaml only changes another file; give that one"):
        load_config({"machine": {}}, ["no/with_b.yaml"])
    with pytest.raises(InputError) as caught:
        load_config({"machine": {}}, ["no/a.yaml", "no/with_b.yaml"])
    assert "only changes" not in str(caught.value)
