"""The stages as the workflow runs them: their command lines, given what the workflow gives them, on a tiny model."""

from __future__ import annotations

import copy
import json
import math
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from config_case import settings
from safetensors.torch import load_file, save_file

from astarpo.common.columns import GENERATIONS, GRADED
from astarpo.common.files import read_json, read_table, sha256, write_json, write_table
from astarpo.config import load_config
from astarpo.config.runs import Config

SCRIPTS = Path(__file__).resolve().parent.parent / "workflow_scripts"
MACHINE = json.dumps({"device": "cpu", "sampling_batch": 8})
STAGE_ONE = {"reference": "tiny", "dataset": "sums", "n": 4}
CONFIG: dict[str, Any] = {
    "datasets": {
        "sums": {
            "source": {"kind": "local", "path": "sums.jsonl"},
            "template": "{problem}\n",
            "verifier": "integer",
            "columns": {"worked_solution": "solution"},
            "sampling": {"max_new_tokens": 12, "block_size": 4, "max_samples": 8, "prompt_shards": 1},
        },
    },
    "references": {
        "tiny": {
            "source": {
                "kind": "scratch",
                "layers": 1,
                "hidden_size": 16,
                "intermediate_size": 32,
                "heads": 2,
                "kv_heads": 1,
                "max_positions": 64,
                "whole_tokens": ["\\boxed{"],
            },
            "max_prompt_tokens": 16,
        },
    },
    "selections": {
        "solved": {**STAGE_ONE, "rule": "solved"},
        "undecided": {**STAGE_ONE, "rule": "undecided"},
        "solved-by-two": {**STAGE_ONE, "n": 2, "rule": "solved"},
    },
    "values": {
        "paper": {**STAGE_ONE, "beta1": 0.5},
        "warmer": {**STAGE_ONE, "beta1": 2.0},
        "of-two": {**STAGE_ONE, "n": 2, "beta1": 0.5},
        "mean": {**STAGE_ONE, "beta1": 0.5, "estimator": "mean"},
        "zero": {**STAGE_ONE, "beta1": 0.5, "estimator": "zero"},
        "jeffreys": {**STAGE_ONE, "beta1": 0.5, "estimator": "jeffreys"},
    },
    "runs": {
        "a-star-po": {
            "method": "a_star_po",
            "reference": "tiny",
            "dataset": "sums",
            "value": "paper",
            "beta2": 1e-3,
            "steps": 1,
            "prompts_per_batch": 2,
            "lr": 1e-3,
        },
    },
    "benchmarks": {
        "held-out": {
            "source": {"kind": "local", "path": "held-out.jsonl"},
            "template": "{problem}\n",
            "verifier": "integer",
            "protocols": {
                "greedy": {"temperature": 0.0, "max_new_tokens": 12},
                "sampled": {"temperature": 1.0, "k": 4, "max_new_tokens": 12},
                "other-seed": {"temperature": 1.0, "k": 4, "max_new_tokens": 12, "seed": 1},
                "short": {"temperature": 1.0, "k": 4, "max_new_tokens": 3},
            },
        },
    },
}
TOO_LONG = "1+1+1+1+1+1+1+1+1+1"


def configured(**changes: Any) -> Config:
    """The configuration above, checked, with values set at dotted paths (written with ``__``)."""
    raw = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = raw
        for part in parents:
            place = place[part]
        place[last] = value
    return load_config(raw)


def stage(script: str, *arguments: str) -> None:
    """Run a script's command line in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{script}.py", *arguments])
        runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return read_table(path).to_pylist()


def write_problems(path: Path, problems: dict[str, int]) -> None:
    lines = [
        json.dumps({"problem": text, "gold": gold, "solution": f"{text}={gold}\n\\boxed{{{gold}}}"})
        for text, gold in problems.items()
    ]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of problems and a model with random weights, each made by its stage."""
    folder = tmp_path_factory.mktemp("results")
    config = configured()
    sums = {f"{a}+{b}": a + b for a in range(1, 4) for b in range(4, 6)} | {TOO_LONG: 10}
    write_problems(folder / "sums.jsonl", sums)
    write_problems(folder / "held-out.jsonl", {"7+7": 14, "8+1": 9})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the paths of the configuration are relative
        stage(
            "prepare_dataset",
            "--settings",
            settings(config, "prepare_dataset", dataset="sums"),
            "--source",
            "sums.jsonl",
            "--out",
            "sums.parquet",
            "--out-card",
            "sums.json",
        )
        stage(
            "prepare_benchmark",
            "--settings",
            settings(config, "prepare_benchmark", benchmark="held-out"),
            "--source",
            "held-out.jsonl",
            "--out",
            "held-out.parquet",
            "--out-card",
            "held-out.json",
        )
    prepare_reference(config, folder, folder / "tiny")
    return folder


def prepare_reference(config: Config, results: Path, target: Path, *more: str) -> Path:
    manifest = target / "manifest.json"
    stage(
        "prepare_reference",
        "--settings",
        settings(config, "prepare_reference", reference="tiny"),
        *more,
        "--machine",
        MACHINE,
        "--out-model",
        str(target / "model"),
        "--out-manifest",
        str(manifest),
    )
    return manifest


def sample(config: Config, results: Path, out: Path, block: str = "s0-p0") -> list[dict[str, Any]]:
    """A block of stage 1."""
    stage(
        "sample_reference",
        "--settings",
        settings(config, "sample_reference", reference="tiny", dataset="sums"),
        "--machine",
        MACHINE,
        "--reference",
        str(results / "tiny/manifest.json"),
        "--dataset",
        str(results / "sums.parquet"),
        "--block",
        block,
        "--out",
        str(out),
        "--out-manifest",
        str(out.with_suffix(".json")),
    )
    return rows_of(out)


def answer(
    config: Config,
    results: Path,
    out: Path,
    protocol: str,
    policy: str = "tiny",
    problems: str = "held-out",
) -> list[dict[str, Any]]:
    """A policy's answers to the benchmark."""
    stage(
        "generate_answers",
        "--settings",
        settings(config, "generate_answers", policy="tiny", benchmark="held-out", protocol=protocol),
        "--machine",
        MACHINE,
        "--policy",
        str(results / policy / "manifest.json"),
        "--benchmark",
        str(results / f"{problems}.parquet"),
        "--out",
        str(out),
    )
    return rows_of(out)


def by_sample(rows: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[int, list[int]]]:
    """(prompt, index) -> seed and tokens."""
    return {(row["prompt_id"], row["sample_index"]): (row["seed"], row["response_token_ids"]) for row in rows}


def responses_of(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for row in rows:
        found.setdefault(row["prompt_id"], []).append(tuple(row["response_token_ids"]))
    return found


def test_a_block_has_each_of_its_samples_of_each_prompt_once(results, tmp_path):
    rows = sample(configured(), results, tmp_path / "block.parquet")
    problems = {row["prompt_id"]: row["problem"] for row in rows_of(results / "sums.parquet")}
    asked = [prompt_id for prompt_id, problem in problems.items() if problem != TOO_LONG]
    assert len(asked) == 6
    assert [(row["prompt_id"], row["sample_index"]) for row in rows] == [
        (prompt_id, index) for prompt_id in asked for index in range(4)
    ]
    recorded = read_json(tmp_path / "block.json")
    assert recorded["responses"] == 24
    assert recorded["generated_tokens"] == sum(len(row["response_token_ids"]) for row in rows)
    assert recorded["settings"] == settings(configured(), "sample_reference", reference="tiny", dataset="sums")


def test_samples_of_a_problem_differ_and_equal_seeds_repeat_them(results, tmp_path):
    rows = sample(configured(), results, tmp_path / "a.parquet")
    assert len({row["seed"] for row in rows}) == len(rows)
    assert all(len(set(drawn)) == 4 for drawn in responses_of(rows).values())
    assert sample(configured(), results, tmp_path / "b.parquet") == rows
    other = configured(datasets__sums__sampling__base_seed=1)
    redrawn = by_sample(sample(other, results, tmp_path / "c.parquet"))
    assert not {seed for seed, _ in redrawn.values()} & {row["seed"] for row in rows}
    assert redrawn.keys() == by_sample(rows).keys() and redrawn != by_sample(rows)


def test_the_recorded_seed_is_the_one_that_the_response_was_drawn_with(results, tmp_path):
    from astarpo.model.loading import load_policy
    from astarpo.sampling import Request
    from astarpo.sampling.settings import SamplingSettings
    from astarpo.sampling.transformers_engine import TransformersSampler

    row = sample(configured(), results, tmp_path / "block.parquet")[5]
    prompts = {row["prompt_id"]: row["prompt"] for row in rows_of(results / "sums.parquet")}
    policy = load_policy(results / "tiny/model")
    tokens = policy.tokenizer(prompts[row["prompt_id"]])["input_ids"]
    sampler = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, 1)
    request = Request("another name", 99, row["seed"], tokens)
    (alone,) = sampler.sample([request], SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=12))
    assert alone.token_ids == row["response_token_ids"] and alone.text == row["response"]
    assert alone.logprob_sum == pytest.approx(row["logprob_sum"], rel=1e-5)


def test_the_second_block_goes_on_where_the_first_ends(results, tmp_path):
    first = by_sample(sample(configured(), results, tmp_path / "0.parquet", "s0-p0"))
    second = by_sample(sample(configured(), results, tmp_path / "1.parquet", "s1-p0"))
    assert sorted({index for _, index in first}) == [0, 1, 2, 3]
    assert sorted({index for _, index in second}) == [4, 5, 6, 7]
    assert not {seed for seed, _ in first.values()} & {seed for seed, _ in second.values()}
    wide = configured(datasets__sums__sampling__block_size=8)
    assert by_sample(sample(wide, results, tmp_path / "wide.parquet")) == first | second


def test_shards_cut_the_prompts_and_change_no_sample(results, tmp_path):
    whole = by_sample(sample(configured(), results, tmp_path / "whole.parquet"))
    cut = configured(datasets__sums__sampling__prompt_shards=2)
    shards = [by_sample(sample(cut, results, tmp_path / f"{shard}.parquet", f"s0-p{shard}")) for shard in (0, 1)]
    assert not shards[0].keys() & shards[1].keys()
    assert all(len(shard) < len(whole) for shard in shards)
    assert shards[0] | shards[1] == whole


def test_k_answers_to_a_problem_differ_and_their_seeds_depend_on_the_index(results, tmp_path):
    rows = answer(configured(), results, tmp_path / "a.parquet", "sampled")
    assert [row["sample_index"] for row in rows] == [0, 1, 2, 3] * 2
    assert len({row["seed"] for row in rows}) == len(rows)
    assert all(len(set(drawn)) == 4 for drawn in responses_of(rows).values())
    assert answer(configured(), results, tmp_path / "b.parquet", "sampled") == rows
    other = answer(configured(), results, tmp_path / "c.parquet", "other-seed")
    assert not {row["seed"] for row in rows} & {row["seed"] for row in other}
    assert responses_of(other) != responses_of(rows)


def test_policies_are_asked_with_the_same_noise_and_other_than_stage_one(results, tmp_path):
    config = configured(references__tiny__source__seed=1)
    prepare_reference(config, results, results / "other")
    first = by_sample(answer(configured(), results, tmp_path / "a.parquet", "sampled"))
    second = by_sample(answer(config, results, tmp_path / "b.parquet", "sampled", "other"))
    assert {key: seed for key, (seed, _) in first.items()} == {key: seed for key, (seed, _) in second.items()}
    assert first != second
    # Asked the prompts of stage 1, it answers with other noise.
    stage_one = by_sample(sample(configured(), results, tmp_path / "c.parquet"))
    asked = by_sample(answer(configured(), results, tmp_path / "d.parquet", "sampled", problems="sums"))
    assert asked.keys() == stage_one.keys()
    assert not {seed for seed, _ in asked.values()} & {seed for seed, _ in stage_one.values()}


def test_protocols_say_how_many_answers_how_long_and_how_random(results, tmp_path):
    greedy = answer(configured(), results, tmp_path / "greedy.parquet", "greedy")
    assert [row["sample_index"] for row in greedy] == [0, 0]
    likeliest = answer(
        configured(**{"benchmarks__held-out__protocols__greedy__seed": 5}),
        results,
        tmp_path / "seeded.parquet",
        "greedy",
    )
    assert responses_of(likeliest) == responses_of(greedy)
    short = answer(configured(), results, tmp_path / "short.parquet", "short")
    sampled = answer(configured(), results, tmp_path / "sampled.parquet", "sampled")
    assert {row["n_tokens"] for row in short} == {3}
    assert {row["finish_reason"] for row in short} == {"length"}
    assert [row["response_token_ids"] for row in short] == [row["response_token_ids"][:3] for row in sampled]


# Rewards of the samples 0 to 3, and of a second block that N = 4 leaves out.
GRADES = {
    "never": ((0, 0, 0, 0), (1, 1, 1, 1)),
    "once": ((0, 0, 0, 1), (1, 1, 1, 1)),
    "early": ((1, 0, 1, 0), (0, 0, 0, 0)),
    "always": ((1, 1, 1, 1), (0, 0, 0, 0)),
    "half-known": ((1, None, 0, None), (1, 1, 1, 1)),
    "unknown": ((None, None, None, None), (1, 1, 1, 1)),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two graded blocks with known rewards."""
    folder = tmp_path_factory.mktemp("graded")
    paths = []
    for block in (0, 1):
        rows = [
            {
                "prompt_id": prompt,
                "sample_index": 4 * block + index,
                "reward": reward,
                "status": {None: "timeout", 1: "correct", 0: "incorrect"}[reward],
                "answer": None,
            }
            for prompt, rewards in GRADES.items()
            for index, reward in enumerate(rewards[block])
        ]
        paths.append(folder / f"{block}.parquet")
        write_table(paths[-1], rows, GRADED)
        drawn = [
            {
                **dict.fromkeys(GENERATIONS.names),
                "prompt_id": row["prompt_id"],
                "sample_index": row["sample_index"],
                "logprob_sum": -1.0 - row["sample_index"],
            }
            for row in reversed(rows)
        ]
        write_table(folder / f"{block}.generations.parquet", drawn, GENERATIONS)
    return [str(path) for path in paths]


def selected(name: str, graded: list[str], out: Path) -> dict[str, dict[str, Any]]:
    stage(
        "select_prompts",
        "--settings",
        settings(configured(), "select_prompts", selection=name),
        "--graded",
        *graded,
        "--out",
        str(out),
    )
    return {row["prompt_id"]: row for row in rows_of(out)}


def estimated(name: str, graded: list[str], out: Path) -> dict[str, dict[str, Any]]:
    stage(
        "estimate_values",
        "--settings",
        settings(configured(), "estimate_values", value=name),
        "--graded",
        *graded,
        "--generations",
        *(path.replace(".parquet", ".generations.parquet") for path in graded),
        "--out",
        str(out),
    )
    return {row["prompt_id"]: row for row in rows_of(out)}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("solved", {"once", "early", "always", "half-known"}),
        ("undecided", {"once", "early", "half-known"}),
        ("solved-by-two", {"early", "always", "half-known"}),
    ],
)
def test_rules_keep_what_they_say_of_the_first_n_samples(graded, tmp_path, name, kept):
    found = selected(name, graded, tmp_path / "selection.parquet")
    assert found.keys() == GRADES.keys()
    assert {prompt for prompt, row in found.items() if row["keep"]} == kept


def test_a_selection_records_its_counts_and_one_that_keeps_none_is_refused(graded, tmp_path, capsys):
    found = selected("solved", graded, tmp_path / "selection.parquet")
    assert {prompt: (row["n"], row["n_correct"]) for prompt, row in found.items()} == {
        "never": (4, 0),
        "once": (4, 1),
        "early": (4, 2),
        "always": (4, 4),
        "half-known": (2, 1),
        "unknown": (0, 0),
    }
    assert "4 of 6 prompts kept by the rule 'solved'" in capsys.readouterr().out
    rows = [row for row in rows_of(Path(graded[0])) if row["prompt_id"] == "never"]
    write_table(tmp_path / "never.parquet", rows, GRADED)
    with pytest.raises(SystemExit):
        selected("solved", [str(tmp_path / "never.parquet")], tmp_path / "none.parquet")
    assert "the rule 'solved' keeps none of 1 prompts" in capsys.readouterr().err
    assert not (tmp_path / "none.parquet").exists()


def by_hand(correct: int, n: int, beta1: float) -> float:
    """V* = beta1 ln(1 + (c/N)(e^{1/beta1} - 1))."""
    return beta1 * math.log(1 + correct / n * (math.exp(1 / beta1) - 1))


@pytest.mark.parametrize(("name", "beta1"), [("paper", 0.5), ("warmer", 2.0)])
def test_beta1_and_the_counts_make_the_estimate(graded, tmp_path, name, beta1):
    found = estimated(name, graded, tmp_path / "values.parquet")
    # Null grades leave N: one of two graded responses is right, not one of four.
    counts = {
        "never": (0, 4),
        "once": (1, 4),
        "early": (2, 4),
        "always": (4, 4),
        "half-known": (1, 2),
    }
    for prompt, (correct, n) in counts.items():
        row = found[prompt]
        assert (row["n_correct"], row["n"], row["pass_rate"]) == (correct, n, correct / n)
        assert row["v_star"] == pytest.approx(by_hand(correct, n, beta1), abs=1e-12)
    # Two of the numbers in digits: beta1 ln(1 + (e^2 - 1) / 4) and beta1 ln(1 + (e^{1/2} - 1) / 4).
    assert found["once"]["v_star"] == pytest.approx({0.5: 0.477229, 2.0: 0.300596}[beta1], abs=1e-6)
    unknown = found["unknown"]
    assert unknown["n"] == 0
    assert unknown["pass_rate"] is unknown["v_star"] is unknown["v_star_se"] is None


def test_n_says_how_many_samples_count(graded, tmp_path):
    found = estimated("of-two", graded, tmp_path / "values.parquet")
    assert {prompt: (row["n_correct"], row["n"]) for prompt, row in found.items()} == {
        "never": (0, 2),
        "once": (0, 2),
        "early": (1, 2),
        "always": (2, 2),
        "half-known": (1, 1),
        "unknown": (0, 0),
    }
    assert found["early"]["v_star"] == pytest.approx(by_hand(1, 2, 0.5), abs=1e-12)
    assert found["half-known"]["v_star"] == 1.0


def test_the_estimator_is_the_chosen_one(graded, tmp_path):
    def column(name: str, key: str) -> dict[str, float]:
        found = estimated(name, graded, tmp_path / f"{name}.parquet")
        return {prompt: found[prompt][key] for prompt in ("never", "once", "always")}

    assert column("mean", "v_star") == {"never": 0.0, "once": 0.25, "always": 1.0}
    assert column("zero", "v_star") == {"never": 0.0, "once": 0.0, "always": 0.0}
    assert column("zero", "v_star_se") == {"never": 0.0, "once": 0.0, "always": 0.0}
    # Jeffreys: (c + 1/2) / (N + 1) in place of c / N.
    assert column("jeffreys", "v_star") == pytest.approx(
        {"never": by_hand(1, 10, 0.5), "once": by_hand(3, 10, 0.5), "always": by_hand(9, 10, 0.5)}
    )
    # Of the mean, sqrt(p (1 - p) / N) with Jeffreys' p; of the paper's, times its slope in p.
    error = math.sqrt(0.3 * 0.7 / 4)
    assert column("mean", "v_star_se")["once"] == pytest.approx(error)
    slope = 0.5 * (math.exp(2) - 1) / (1 + 0.3 * (math.exp(2) - 1))
    assert column("paper", "v_star_se")["once"] == pytest.approx(slope * error)


def test_what_was_drawn_is_graded_counted_and_valued(results, tmp_path, monkeypatch):
    """From samples to V* along the files that the stages hand on, with a verifier that a random model can please."""
    judge = tmp_path / "judge.py"
    judge.write_text("def even(gold, response):\n    return len(response.text) % 2 == 0\n")
    config = configured(
        datasets__sums__verifier=f"{judge}:even",
        datasets__sums__grading={"truncated": "as_judged"},
    )
    monkeypatch.chdir(results)
    problems, graded, values = (tmp_path / f"{name}.parquet" for name in ("sums", "graded", "values"))
    stage(
        "prepare_dataset",
        "--settings",
        settings(config, "prepare_dataset", dataset="sums"),
        "--source",
        "sums.jsonl",
        "--out",
        str(problems),
        "--out-card",
        str(tmp_path / "sums.json"),
    )
    drawn = sample(config, results, tmp_path / "block.parquet")
    stage(
        "grade_samples",
        "--settings",
        settings(config, "grade_samples", dataset="sums"),
        "--generations",
        str(tmp_path / "block.parquet"),
        "--problems",
        str(problems),
        "--out",
        str(graded),
    )
    stage(
        "estimate_values",
        "--settings",
        settings(config, "estimate_values", value="paper"),
        "--graded",
        str(graded),
        "--generations",
        str(tmp_path / "block.parquet"),
        "--out",
        str(values),
    )

    right = [len(row["response"]) % 2 == 0 for row in drawn]
    assert [row["reward"] for row in rows_of(graded)] == [float(even) for even in right]
    expected = dict.fromkeys((row["prompt_id"] for row in drawn), 0)
    for row, even in zip(drawn, right, strict=True):
        expected[row["prompt_id"]] += even
    assert len(set(expected.values())) > 1
    assert {row["prompt_id"]: row["v_star"] for row in rows_of(values)} == pytest.approx(
        {prompt: by_hand(correct, 4, 0.5) for prompt, correct in expected.items()}
    )


def test_a_warm_start_moves_the_weights_and_says_what_it_learnt_from(results, tmp_path):
    import torch

    from astarpo.model.loading import load_policy

    steps = {"dataset": "sums", "steps": 8, "batch_size": 3, "lr": 0.01, "lr_schedule": "constant"}
    config = configured(references__tiny__warm_start=steps)
    data = ("--dataset", str(results / "sums.parquet"))
    recorded = read_json(prepare_reference(config, results, tmp_path / "warm", *data))
    assert recorded["warm_start_prompts"] == 6 and recorded["warm_start_prompts_too_long"] == 1
    cold, warm = (load_policy(folder / "model").model for folder in (results / "tiny", tmp_path / "warm"))
    before, after = (torch.cat([weight.detach().flatten() for weight in model.parameters()]) for model in (cold, warm))
    assert recorded["parameters"] == len(before)
    # AdamW with a constant rate moves a weight that always gets a gradient by about lr a step.
    assert 0.001 < float((after - before).abs().mean()) < 8 * 0.01
    # Uniform over 259 tokens is ln 259 = 5.6 nats; it has begun to learn.
    assert 0.0 < recorded["warm_start_loss"] < 5.0


@pytest.mark.parametrize(("own", "longest"), [(None, 16), (8, 8)])
def test_a_run_may_take_shorter_prompts_than_its_reference(own, longest):
    config = configured(**{"runs__a-star-po__max_prompt_tokens": own})
    assert json.loads(settings(config, "train_policy", run="a-star-po"))["prompting"]["max_prompt_tokens"] == longest


def test_weights_with_a_flipped_bit_are_neither_sampled_from_nor_evaluated(results, tmp_path, capsys):
    folder = Path(shutil.copytree(results, tmp_path / "copy"))
    weights = folder / "tiny/model/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    for draw in (
        lambda: sample(configured(), folder, tmp_path / "a.parquet"),
        lambda: answer(configured(), folder, tmp_path / "b.parquet", "greedy"),
    ):
        with pytest.raises(SystemExit):
            draw()
        assert "tiny/model: its files are not those that " in capsys.readouterr().err
    assert not list(tmp_path.glob("*.parquet"))


def test_nothing_is_drawn_from_logits_that_are_not_finite(results, tmp_path, capsys):
    folder = Path(shutil.copytree(results, tmp_path / "copy"))
    weights = folder / "tiny/model/model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, weights, {"format": "pt"})
    manifest = read_json(folder / "tiny/manifest.json")
    write_json(folder / "tiny/manifest.json", {**manifest, "outputs": {"model": sha256(folder / "tiny/model")}})
    with pytest.raises(SystemExit):
        sample(configured(), folder, tmp_path / "a.parquet")
    assert "tiny/model: token 1 of a response has a log-probability that is not finite; " in capsys.readouterr().err
    assert not (tmp_path / "a.parquet").exists()
