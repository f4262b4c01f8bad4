"""Values that a stage would turn into nonsense, or die of hours later: refused when the configuration is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import training_case as case
from config_case import DEFAULT, RUN, changed, message, with_run
from pydantic import ValidationError

from astarpo.common.errors import InputError
from astarpo.common.settings import Section
from astarpo.config import load_config
from astarpo.config.figure_checks import _families
from astarpo.config.runs import Config
from astarpo.config.schema import BenchmarkEntry
from astarpo.evaluation.scores import Answers, score
from astarpo.stage_one.settings import ValueSettings, WarmStartSettings
from astarpo.training.settings import TrainSettings

INF, NAN = float("inf"), float("nan")


# Whole kinds of mistakes, in every section that there is, today's and those to come.


def sections(kind: type[Section] = Section) -> Iterator[type[Section]]:
    for section in kind.__subclasses__():
        yield section
        yield from sections(section)


def fields(wanted: Any) -> list[Any]:
    """(section, key, schema) of the keys whose JSON schema is as wanted, in the section that has them first."""
    return [
        pytest.param(section, key, option, id=f"{section.__name__}.{key}")
        for section in sections()
        for key, field in section.model_json_schema()["properties"].items()
        if key in section.__annotations__
        for option in field.get("anyOf", [field])
        if wanted(option)
    ]


def errors(section: type[Section], key: str, value: Any) -> list[str]:
    """Kinds of the errors that a value of a key gives; missing other keys do not count."""
    with pytest.raises(ValidationError) as caught:
        section.model_validate({key: value})
    return [error["type"] for error in caught.value.errors() if error["loc"][0] == key]


def is_number(schema: dict[str, Any]) -> bool:
    return "number" in (schema.get("type"), *(i.get("type") for i in schema.get("prefixItems", ())))


@pytest.mark.parametrize("number", [INF, NAN, "1e999"])
@pytest.mark.parametrize(("section", "key", "schema"), fields(is_number))
def test_no_key_takes_a_number_that_is_not_finite(section, key, schema, number):
    value = [number] * len(schema["prefixItems"]) if "prefixItems" in schema else number
    assert "finite_number" in errors(section, key, value)


def test_the_walk_finds_numbers_alone_in_pairs_and_where_null_is_allowed():
    found = {(param.values[0].__name__, param.values[1]) for param in fields(is_number)}
    assert {("EstimateSettings", "beta1"), ("TrainingKeys", "adam_betas"), ("TrainingKeys", "max_sampler_gap")} <= found
    assert len(found) > 30


@pytest.mark.parametrize(
    ("section", "key", "schema"),
    fields(lambda schema: schema.get("type") == "integer"),
)
def test_whole_numbers_are_sizes_or_seeds_and_never_negative(section, key, schema):
    assert "greater_than_equal" in errors(section, key, -1)


# A template must have {problem} and a verifier must exist, which is checked elsewhere; an empty system message is one.
MAY_BE_EMPTY = ("template", "verifier", "system_prompt")


@pytest.mark.parametrize(
    ("section", "key", "schema"),
    [
        param
        for param in fields(lambda schema: schema.get("type") == "string" and not schema.keys() & {"enum", "const"})
        if param.values[1] not in MAY_BE_EMPTY or param.values[0].__name__ == "Columns"
    ],
)
def test_no_text_is_empty(section, key, schema):
    assert set(errors(section, key, "")) & {
        "string_too_short",
        "blank",
        "string_pattern_mismatch",
        "kind_of_file",
    }


LISTS = fields(lambda schema: schema.get("type") == "array" and "prefixItems" not in schema)


@pytest.mark.parametrize(
    ("section", "key", "schema"),
    [p for p in LISTS if p.values[1] not in ("decontaminate", "whole_tokens", "trackers", "leave_out", "end_texts")],
)
def test_a_list_is_empty_only_where_that_is_its_default(section, key, schema):
    assert set(errors(section, key, [])) & {"too_short", "no_file", "blank", "ascending"}


@pytest.mark.parametrize(
    ("section", "key", "schema"), [p for p in LISTS if p.values[1] != "seeds"]
)  # of seeds `test_config` sees to it
def test_no_list_names_anything_twice(section, key, schema):
    choices = schema["items"].get("enum", [])
    item = next(iter(choices), {"trackers": "wandb", "path": "a.jsonl", "factors": 7, "steps": 7}.get(key, "a"))
    assert set(errors(section, key, [item, item])) & {"repeated", "ascending"}


# Single values, and values that do not fit together: what is changed in the default, and what is said.

HUB = {"kind": "hub", "id": "some/data", "split": "train"}
ONLY_GREEDY = {"greedy": {"temperature": 0.0, "max_new_tokens": 8}}
ONLY_SAMPLED = {"sampled": {"temperature": 1.0, "k": 2, "max_new_tokens": 8}}
WARM = "references__tiny__warm_start"
SUMS = "datasets__sums"
SCRATCH = "references__tiny__source"
HELD_OUT = "benchmarks__held_dash_out"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Numbers out of bounds.
        ({"values__v_dash_star__beta1": INF}, "values.v-star.beta1 = inf: must be a finite number"),
        ({f"{RUN}__lr": "1e6"}, "runs.a-star-po.lr = 1000000.0: must be at most 1"),
        ({f"{RUN}__adam_betas": [0.9, 1.0]}, "runs.a-star-po.adam_betas.1 = 1.0: must be below 1"),
        ({f"{RUN}__adam_betas": [0.9]}, "runs.a-star-po.adam_betas.1: this item of the list is required"),
        ({f"{RUN}__adam_betas": 0.9}, "runs.a-star-po.adam_betas = 0.9: must be a list"),
        ({f"{RUN}__adam_eps": 1e-60}, "runs.a-star-po.adam_eps = 1e-60: must be at least 1e-30"),
        ({f"{WARM}__adam_betas": [1.0, 0.9]}, "references.tiny.warm_start.adam_betas.0 = 1.0: must be below 1"),
        ({"values__v_dash_star__beta1": 1e16}, "values.v-star.beta1 = 1e+16: must be at most 1e+06"),
        ({"values__v_dash_star__beta1": 1e-310}, "values.v-star.beta1 = 1e-310: must be at least 1e-06"),
        ({f"{SUMS}__sampling__temperature": 1e-3}, "datasets.sums.sampling.temperature = 0.001: must be at least 0.01"),
        ({f"{SUMS}__samples": {"max_unmatched": 1.0}}, "sums.samples.max_unmatched = 1.0: must be below 1"),
        ({f"{SUMS}__max_prompts": 0}, "datasets.sums.max_prompts = 0: must be at least 1"),
        ({f"{HELD_OUT}__protocols__sampled__top_p": 0}, "protocols.sampled.top_p = 0: must be above 0"),
        (
            {f"{HELD_OUT}__protocols__greedy__temperature": 1e-4},
            "benchmarks.held-out.protocols.greedy.temperature = 0.0001: must be 0 (greedy) or at least 0.01",
        ),
        (
            {"bootstrap": {"resamples": 2000}},
            "bootstrap: removed, because intervals are computed without resampling; delete this key",
        ),
        ({f"{RUN}__seeds": [0, -1]}, "runs.a-star-po.seeds.1 = -1: must be at least 0"),
        ({f"{RUN}__seeds": [2**63]}, "must be at most 9223372036854775807"),
        ({"figures__accuracy__width_in": 0.01}, "figures.accuracy.width_in = 0.01: must be at least 1"),
        (
            {"figures__accuracy__dpi": 10000},
            "figures.accuracy.dpi = 10000: times width_in (7) must not be above 65535 pixels",
        ),
        # Lists, texts and names.
        ({f"{SUMS}__source": {"kind": "local", "path": []}}, "datasets.sums.source.path = []: must name at least one"),
        ({f"{SUMS}__source": {"kind": "local", "path": "a.csv"}}, "path = 'a.csv': must end in .jsonl or .parquet"),
        ({f"{SUMS}__source": {"kind": "local", "path": ["a.jsonl", "b"]}}, "'b' must end in .jsonl or .parquet"),
        ({f"{SUMS}__source": {"kind": "local", "path": 3}}, "datasets.sums.source.path = 3: must be a list"),
        ({f"{SUMS}__source": {**HUB, "id": " "}}, "datasets.sums.source.id = ' ': must not be empty"),
        ({f"{SUMS}__columns": {"gold_after": ""}}, "datasets.sums.columns.gold_after = '': must not be empty"),
        ({f"{SUMS}__columns": {"gold": "problem"}}, "sums.columns.gold = 'problem': is also the problem's column"),
        ({f"{RUN}__benchmarks": []}, "runs.a-star-po.benchmarks = []: must not be empty"),
        (
            {f"{RUN}__benchmarks": ["held-out", "held-out"]},
            "benchmarks = ['held-out', 'held-out']: 'held-out' is listed twice; list it once",
        ),
        (
            {f"{RUN}__lora": {"base_precision": "bfloat16"}},
            "lora.base_precision = 'bfloat16': needs references.tiny.precision 'bfloat16', but it is 'float32'",
        ),
        (
            {
                f"{RUN}__lora": {"base_precision": "nf4"},
                f"{RUN}__engine": "deepspeed",
                "references__tiny__precision": "bfloat16",
            },
            "lora.base_precision = 'nf4': needs engine 'torch', but it is 'deepspeed'",
        ),
        ({f"{RUN}__lora": {"targets": []}}, "lora.targets = []: must not be empty or hold an empty name"),
        ({f"{HELD_OUT}__protocols": {}}, "benchmarks.held-out.protocols = {}: must not be empty"),
        ({"figures__accuracy__runs": []}, "figures.accuracy.runs = []: must not be empty"),
        ({"machine__trackers": ["wandb", "wandb"]}, "machine.trackers = ['wandb', 'wandb']: 'wandb' is listed twice"),
        ({"references__Tiny": {}}, "references.Tiny: must be a name: lower-case letters, digits and '-', with a"),
        ({f"runs__{'x' * 101}": DEFAULT["runs"]["a-star-po"]}, "x: must have at most 100 characters"),
        ({"runs": {2024: {}}}, "runs.2024: must be a string; put it in quotes"),
        ({"datasets": {2024: {}}}, "datasets.2024: must be a string; put it in quotes"),
        ({f"{RUN}__base": ["x"]}, "runs.a-star-po.base: there is no entry '['x']'; there are a-star-po"),
        ({f"{RUN}__grid": {"lr": [{}]}}, "runs.a-star-po.grid.lr: a grid takes numbers, strings, true, false and null"),
        # Sizes of one entry.
        ({f"{SUMS}__source__min_digits": 3}, "datasets.sums.source.min_digits = 3: must not be above max_digits (1)"),
        ({f"{SUMS}__source__min_terms": 5}, "datasets.sums.source.min_terms = 5: must not be above max_terms (4)"),
        (
            {f"{SUMS}__source": {"kind": "countdown", "count": 9, "min_numbers": 5}},
            "datasets.sums.source.min_numbers = 5: must not be above max_numbers (4)",
        ),
        (
            {f"{SUMS}__source": {"kind": "multiple_above", "count": 9, "factors": [100, 101]}},
            "datasets.sums.source.factors = 101: must not be above span (100)",
        ),
        (
            {f"{SUMS}__source": {"kind": "multiple_above", "count": 9, "largest": 99}},
            "datasets.sums.source.span = 100: must not be above largest (99)",
        ),
        ({f"{SCRATCH}__kv_heads": 3}, "references.tiny.source.kv_heads = 3: must divide heads (4)"),
        ({f"{SCRATCH}__kv_heads": 8}, "references.tiny.source.kv_heads = 8: must divide heads (4)"),
        ({f"{SCRATCH}__hidden_size": 130}, "references.tiny.source.hidden_size = 130: must be a multiple of heads (4)"),
        ({f"{SCRATCH}__hidden_size": 12}, "hidden_size = 12: hidden_size / heads is 3, but rotary embeddings need an"),
        (
            {f"{WARM}__lr_warmup_steps": 426},
            "tiny.warm_start.lr_warmup_steps = 426: must not be above references.tiny.warm_start.steps (425)",
        ),
        ({f"{RUN}__lr_warmup_steps": 201}, "lr_warmup_steps = 201: must not be above steps x updates_per_rollout (200"),
        ({f"{RUN}__weight_decay": 1e4}, "weight_decay = 10000: times lr (0.00015) must be below 1"),
        ({f"{WARM}__weight_decay": 500}, "references.tiny.warm_start.weight_decay = 500: times lr (0.003) must be"),
        (
            {"selections__solved": {"reference": "tiny", "dataset": "sums", "n": 1, "rule": "undecided"}},
            "selections.solved.n = 1: rule `undecided` keeps nothing with one sample per prompt",
        ),
        # Entries that are used together.
        ({f"{RUN}__prompts_per_batch": 1025}, "prompts_per_batch = 1025: must not be above datasets.sums.max_prompts"),
        (
            {f"{SUMS}__source__count": 100},
            "runs.a-star-po.prompts_per_batch = 128: must not be above datasets.sums.source.count (100)",
        ),
        (
            {f"{WARM}__batch_size": 20001},
            "warm_start.batch_size = 20001: must not be above datasets.sums-warm-start.source.count (20000)",
        ),
        ({f"{RUN}__max_prompt_tokens": 33}, "must not be above references.tiny.max_prompt_tokens (32)"),
        ({"references__tiny__chat_template": True}, "tiny.chat_template = True: a model from scratch has no chat"),
        (
            {"datasets__sums-warm-start__source": HUB},
            "references.tiny.warm_start.dataset = 'sums-warm-start': has no worked solutions; name their column in "
            "datasets.sums-warm-start.columns.worked_solution",
        ),
        (
            {"machine__offload_optimizer": True},
            "machine.offload_optimizer = True: has no effect without a run",
        ),
        ({"machine__zero_stage": 3}, "machine.zero_stage = 3: has no effect without a run with engine: deepspeed"),
        # Figures.
        ({"benchmarks": {}}, "figures.accuracy: shows scores, but there are no benchmarks; add one"),
        ({"runs": {}}, "figures.time: shows runs, but there are none; add one under runs, or remove the figure"),
        (
            {"figures__f": {"kind": "tradeoff"}, f"{HELD_OUT}__protocols": ONLY_GREEDY},
            "figures.f.metric = 'avg': benchmark 'held-out' has only greedy; choose one of these, or add a protocol to "
            "benchmarks.held-out.protocols",
        ),
        (
            {
                "figures__f": {"kind": "ablation", "x": "lr", "metric": "greedy", "benchmark": "held-out"},
                f"{HELD_OUT}__protocols": ONLY_SAMPLED,
            },
            "figures.f.metric = 'greedy': benchmark 'held-out' has only avg, pass, maj",
        ),
        (
            {
                "figures__f": {"kind": "tradeoff", "benchmark": "held-out", "runs": ["a-star-po"]},
                f"{RUN}__benchmarks": ["one-more-term"],
            },
            "figures.f.benchmark = 'held-out': not among the benchmarks of a-star-po; add it there, or choose another",
        ),
        (
            {
                "figures__f": {"kind": "ablation", "x": "lr", "benchmark": "held-out"},
                f"{RUN}__benchmarks": ["one-more-term"],
            },
            "figures.f.benchmark = 'held-out': not among the benchmarks of a-star-po",
        ),
        (
            {
                "runs__b": {"base": "a-star-po", "benchmarks": ["one-more-term"]},
                "figures__f": {"kind": "tradeoff", "runs": ["b"]},
            },
            "figures.f.benchmark = null, which means the first, 'held-out': not among the benchmarks of b",
        ),
        (
            {
                "runs__b": {
                    **{
                        key: value
                        for key, value in DEFAULT["runs"]["a-star-po"].items()
                        if key not in ("value", "value_scale", "beta2")
                    },
                    "method": "grpo",
                },
                "figures__f": {"kind": "ablation", "x": "beta2", "runs": ["a-star-po", "b"]},
            },
            "figures.f.runs: 'b' has no key 'beta2'; remove it from the list",
        ),
        (
            {f"{RUN}__keep": {"best": "validation_reward"}, f"{RUN}__validation": None},
            "runs.a-star-po.keep.best: needs validation prompts; set runs.a-star-po.validation, or leave it out",
        ),
        (
            {f"{RUN}__stop_when": {"validation_below_best": 0.1}, f"{RUN}__validation": None},
            "runs.a-star-po.stop_when.validation_below_best: needs validation prompts",
        ),
        ({f"{RUN}__stop_when": {}}, "runs.a-star-po.stop_when: has no effect; set `validation_below_best` or"),
        (
            {f"{RUN}__stop_when": {"kl_per_sequence": 9, "for_validations": 3}},
            "runs.a-star-po.stop_when.for_validations = 3: has no effect without `validation_below_best`; set it",
        ),
        ({f"{RUN}__stop_when": {"validation_below_best": 10}}, "stop_when.validation_below_best = 10: must be"),
        ({f"{RUN}__keep": {}}, "runs.a-star-po.keep: has no effect; set `best` or `steps`, or leave it out"),
        (
            {f"{RUN}__keep": {"steps": [5, 41, 50]}, f"{RUN}__steps": 40},
            "runs.a-star-po.keep.steps = [5, 41, 50]: 41 is above runs.a-star-po.steps, 40; leave it out, or",
        ),
        ({f"{RUN}__keep": {"steps": [0, 5]}}, "keep.steps = [0, 5]: must be steps from 1 on, each later than the one"),
        ({f"{RUN}__keep": {"steps": [5, 5]}}, "keep.steps = [5, 5]: must be steps from 1 on, each later than the one"),
        ({f"{RUN}__keep": {"steps": [6, 5]}}, "keep.steps = [6, 5]: must be steps from 1 on, each later than the one"),
        (
            {"figures__f": {"kind": "kept_steps"}},
            "figures.f: shows kept steps, but no run keeps any; set `keep: {steps: [...]}` in a run",
        ),
        (
            {
                f"{RUN}__keep": {"steps": [5]},
                "runs__b": DEFAULT["runs"]["a-star-po"],
                "figures__f": {"kind": "kept_steps", "runs": ["b"]},
            },
            "figures.f.runs: b keeps no steps; set `keep: {steps: [...]}` there, or remove it",
        ),
        ({f"{RUN}__keep": {"best": "reward"}}, "runs.a-star-po.keep.best = 'reward': must be 'validation_reward'"),
        ({"figures__f": {"kind": "ablation", "x": "seeds"}}, "figures.f.x = 'seeds': has lists or mappings"),
        ({"figures__f": {"kind": "ablation", "x": "model_dump"}}, "figures.f.x = 'model_dump': no run has this key"),
        ({"figures__f": {"kind": "ablation", "x": "value.copy"}}, "figures.f.x = 'value.copy': no run has this key"),
    ],
)
def test_nonsense_is_refused(changes, expected):
    assert expected in message(changed(**changes))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"method": "grpo", "std_epsilon": 0}, "runs.mine.std_epsilon = 0: must be at least 1e-30 with scale_by_std"),
        ({"method": "grpo", "std_epsilon": 1e-50}, "runs.mine.std_epsilon = 1e-50: must be at least 1e-30"),
        ({"method": "grpo", "clip": 0}, "runs.mine.clip = 0: must be above 0"),
        ({"method": "grpo", "clip_high": INF}, "runs.mine.clip_high = inf: must be a finite number"),
        ({"method": "ppo", "value_clip": 0}, "runs.mine.value_clip = 0: must be above 0"),
        ({"method": "ppo", "critic_lr": 2}, "runs.mine.critic_lr = 2: must be at most 1"),
        (
            {"method": "ppo", "critic_lr": 0.5, "weight_decay": 2},
            "runs.mine.weight_decay = 2: times critic_lr (0.5) must be below 1",
        ),
        (
            {"method": "reinforce", "baseline": "running_mean", "baseline_decay": 1},
            "runs.mine.baseline_decay = 1: must be below 1",
        ),
        ({"method": "oapl", "beta1": 1e16}, "runs.mine.beta1 = 1e+16: must be at most 1e+06"),
    ],
)
def test_nonsense_of_a_method_is_refused(keys, expected):
    assert expected in message(with_run(**keys))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"lr": INF}, "lr: .*finite"),
        ({"lr": NAN}, "lr: .*finite"),
        ({"adam_betas": [1, 1]}, "adam_betas.0: .*less than 1; .*adam_betas.1: .*less than 1"),
        ({"adam_betas": [0.9, INF]}, "adam_betas.1: .*finite"),
        ({"hyperparameters": {"beta2": INF}}, "hyperparameters.beta2"),
        ({"hyperparameters": {"beta1": NAN}}, "hyperparameters.beta1"),
        (
            {"hyperparameters": {"scale_by_std": True, "std_epsilon": 0}},
            "hyperparameters: std_epsilon must be at least 1e-30 with",
        ),
        ({"estimate": {"beta1": INF, "estimator": "mean"}}, "estimate.beta1: .*finite"),
    ],
)
def test_a_training_refuses_them_in_the_json_of_another_origin(keys, expected):
    """As a person gives it to the script by hand; JSON of Python has Infinity and NaN."""
    whole = json.loads(case.SETTINGS.model_dump_json())
    assert TrainSettings.from_json(json.dumps(whole)) == case.SETTINGS
    with pytest.raises(InputError, match=f"^--settings: {expected}"):
        TrainSettings.from_json(json.dumps({**whole, **keys}))


@pytest.mark.parametrize(
    ("section", "keys", "expected"),
    [
        (ValueSettings, {"beta1": INF}, "beta1: .*finite"),
        (ValueSettings, {"beta1": 1e300}, "beta1: .*less than or equal to 1000000"),
        (WarmStartSettings, {"steps": 1, "batch_size": 1, "lr": INF}, "lr: .*finite"),
        (
            WarmStartSettings,
            {"steps": 1, "batch_size": 1, "lr": 0.1, "adam_betas": [1, 1]},
            "adam_betas.0: .*less than 1",
        ),
    ],
)
def test_stage_one_refuses_them_as_well(section, keys, expected):
    with pytest.raises(InputError, match=f"^--settings: {expected}"):
        section.from_json(json.dumps(keys))


@pytest.mark.parametrize(
    "changes",
    [
        {f"{RUN}__lr_warmup_steps": 200},
        {f"{RUN}__lr_warmup_steps": 400, f"{RUN}__updates_per_rollout": 2},
        {f"{RUN}__adam_betas": [0, 0.999999]},
        {f"{RUN}__seeds": [2**63 - 1]},
        {f"{RUN}__prompts_per_batch": 1024, f"{RUN}__max_prompt_tokens": 32},
        {f"{SCRATCH}__kv_heads": 2, f"{SCRATCH}__hidden_size": 8},
        {f"{SUMS}__columns": {"gold_after": "\n"}},
        {
            "references__tiny__system_prompt": "",
            f"{SCRATCH}": {"kind": "hub", "id": "a/b"},
            "references__tiny__chat_template": True,
        },
        {"figures__f": {"kind": "ablation", "x": "selection"}},
        {"figures__f": {"kind": "ablation", "x": "value.n", "metric": "maj", "benchmark": "one-more-term"}},
        {
            "runs__b": {"base": "a-star-po", "benchmarks": ["one-more-term"]},
            "figures__f": {"kind": "tradeoff", "benchmark": "held-out"},
        },
        {"figures__accuracy__dpi": 9000},
        {f"{RUN}__engine": "deepspeed", "machine__offload_optimizer": True},
        {f"{RUN}__engine": "deepspeed", "machine__zero_stage": 3},
        {"machine__zero_stage": 2},  # the default
    ],
)
def test_values_at_the_edge_are_taken(changes):
    assert isinstance(load_config(changed(**changes)), Config)


def test_an_epsilon_of_zero_is_taken_where_it_does_not_divide():
    load_config(with_run(method="grpo", std_epsilon=0, scale_by_std=False))


@pytest.mark.parametrize(("temperature", "k"), [(0.0, 1), (1.0, 1), (1.0, 4)])
def test_figures_are_checked_against_the_metrics_that_scoring_gives(temperature, k):
    answers = Answers(("p",), np.ones((1, k)), [[0] * k], np.zeros((1, k), bool), np.ones((1, k)))
    given = {name.split("@")[0] for name, _ in score(answers, temperature).metrics}
    entry = {**DEFAULT["benchmarks"]["held-out"]}
    entry["protocols"] = {"a": {"temperature": temperature, "k": k, "max_new_tokens": 8}}
    assert set(_families(BenchmarkEntry.model_validate(entry))) == given
