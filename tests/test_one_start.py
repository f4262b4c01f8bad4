"""One start of an engine for several jobs: the first draws what the others lack, and these find it finished.

The scripts do this with any engine; the workflow asks for it where vLLM draws, because that takes a minute to start.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import warm_snakemake
from config_case import settings
from test_stages import MACHINE, SCRIPTS, configured, results, rows_of, stage  # noqa: F401 (a fixture)

from astarpo.common.locks import if_free, waiting
from astarpo.config.runs import Config
from astarpo.config.together import other_answers, other_blocks
from astarpo.sampling import engines
from astarpo.sampling import stage as stage_module
from astarpo.sampling.tables import LOCKS

ROOT = SCRIPTS.parent


def answering(config: Config, folder: Path, protocol: str) -> dict[str, str]:
    """A job's part of the options of `generate_answers`."""
    return {
        "settings": settings(config, "generate_answers", policy="tiny", benchmark="held-out", protocol=protocol),
        "benchmark": "held-out.parquet",
        "out": str(folder / f"{protocol}.parquet"),
        "scratch": str(folder / f"{protocol}.parts"),
    }


def answer(own: dict[str, str], *others: dict[str, str]) -> list[dict[str, Any]]:
    options = [word for name, value in own.items() for word in (f"--{name}", value)]
    beside = ["--others", json.dumps(others)] if others else []
    stage("generate_answers", *options, "--machine", MACHINE, "--policy", "tiny/manifest.json", *beside)
    return rows_of(Path(own["out"]))


@pytest.fixture
def starts(results: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:  # noqa: F811
    """The engines that are started, in the folder with model and problems."""
    started: list[str] = []
    make = engines.make_sampler

    def noted(engine: str, *arguments: Any, **options: Any) -> Any:
        started.append(engine)
        return make(engine, *arguments, **options)

    monkeypatch.setattr("astarpo.sampling.stage.make_sampler", noted)
    monkeypatch.chdir(results)
    return started


def test_the_first_job_draws_for_the_others_and_no_number_changes(starts, tmp_path, capsys):
    config = configured()
    alone = [answer(answering(config, tmp_path / "alone", name)) for name in ("sampled", "short")]
    assert len(starts) == 2
    sampled, short = (answering(config, tmp_path, name) for name in ("sampled", "short"))
    starts.clear()
    first = answer(sampled, short)
    assert not Path(short["out"]).exists(), "a job writes only its own output"
    assert not Path(sampled["scratch"]).exists()
    capsys.readouterr()
    second = answer(short, sampled)
    assert "8 of 8 responses were drawn before and are kept" in capsys.readouterr().out
    assert starts == ["transformers"]
    assert [first, second] == alone


def test_a_finished_table_is_not_drawn_again_and_one_of_other_settings_is(starts, tmp_path, capsys):
    config = configured()
    sampled, short = (answering(config, tmp_path, name) for name in ("sampled", "short"))
    answer(short)
    answer(sampled, short)
    assert "drawn here as well" not in capsys.readouterr().out
    changed = configured(**{"benchmarks__held-out__protocols__short__seed": 3})
    longer = answering(changed, tmp_path, "short")
    answer({**sampled, "out": str(tmp_path / "again.parquet")}, longer)
    assert f"{longer['out']}: drawn here as well" in capsys.readouterr().out


def test_what_cannot_be_drawn_is_left_to_its_own_job(starts, tmp_path, capsys):
    config = configured()
    sampled, short = (answering(config, tmp_path, name) for name in ("sampled", "short"))
    (tmp_path / "bad.parquet").write_text("no parquet")
    bad = {**short, "benchmark": str(tmp_path / "bad.parquet")}
    missing = {**short, "benchmark": "not-yet.parquet", "out": str(tmp_path / "missing.parquet")}
    assert len(answer(sampled, bad, missing)) == 8
    said = capsys.readouterr().out
    assert f"{bad['out']}: not drawn here: " in said
    assert "missing.parquet" not in said


def test_an_error_of_another_job_does_not_fail_this_one(starts, tmp_path, capsys, monkeypatch):
    config = configured()
    sampled, short = (answering(config, tmp_path, name) for name in ("sampled", "short"))
    sample_rows, calls = stage_module.sample_rows, []

    def second_fails(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("device lost")
        return sample_rows(*arguments)

    monkeypatch.setattr(stage_module, "sample_rows", second_fails)
    assert len(answer(sampled, short)) == 8
    assert f"{short['out']}: not drawn here: device lost" in capsys.readouterr().out


def test_memory_that_the_engine_holds_itself_is_no_reason_to_draw_nothing(starts, tmp_path, monkeypatch, capsys):
    """On a GPU vLLM takes 0.9 of the memory when it starts, so hardly any is free for a second check."""
    config = configured()
    sampled, short = (answering(config, tmp_path, name) for name in ("sampled", "short"))
    monkeypatch.setattr("astarpo.model.memory.free_bytes", lambda device: 1e12 if not starts else 1.0)
    answer(sampled, short)
    said = capsys.readouterr().out
    assert "drawn here as well" in said and "not drawn here" not in said


def test_a_job_that_has_run_for_long_draws_nothing_for_others(starts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("astarpo.sampling.tables.AHEAD_S", 0.0)
    config = configured()
    answer(*(answering(config, tmp_path, name) for name in ("sampled", "short")))
    assert "drawn here as well" not in capsys.readouterr().out


def test_blocks_of_stage_one_are_drawn_together_as_well(starts, tmp_path):
    config = configured()

    def block(folder: Path, name: str, *others: str) -> list[dict[str, Any]]:
        of = {one: {"out": str(folder / f"{one}.parquet"), "scratch": str(folder / one)} for one in (name, *others)}
        beside = ["--others", json.dumps([{"block": one, **of[one]} for one in others])] if others else []
        stage(
            "sample_reference",
            *("--settings", settings(config, "sample_reference", reference="tiny", dataset="sums")),
            *("--machine", MACHINE, "--reference", "tiny/manifest.json", "--dataset", "sums.parquet"),
            *("--block", name, "--out", of[name]["out"], "--scratch", of[name]["scratch"]),
            *("--out-manifest", str(folder / f"{name}.json"), *beside),
        )
        return rows_of(Path(of[name]["out"]))

    alone = [block(tmp_path / "alone", name) for name in ("s0-p0", "s1-p0")]
    starts.clear()
    together = [block(tmp_path, "s0-p0", "s1-p0"), block(tmp_path, "s1-p0", "s0-p0")]
    assert starts == ["transformers"]
    assert together == alone


def test_a_job_waits_for_the_one_that_draws_its_responses(starts, tmp_path):
    config = configured()
    sampled, short = (answering(config, tmp_path, name) for name in ("sampled", "short"))
    options = [word for name, value in short.items() for word in (f"--{name}", value)]
    command = [sys.executable, str(SCRIPTS / "generate_answers.py"), *options, "--machine", MACHINE]
    command += ["--policy", "tiny/manifest.json", "--others", json.dumps([sampled])]
    with waiting(LOCKS / f"{short['scratch'].lstrip('/')}.lock", ""):
        job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert job.stdout is not None
        assert job.stdout.readline() == (
            "another job is drawing these responses with an engine that runs already; waiting\n"
        )
        assert job.poll() is None and not Path(short["out"]).exists()
    assert job.wait(60) == 0 and len(rows_of(Path(short["out"]))) == 8


def test_a_lock_that_is_held_is_not_free(tmp_path):
    with waiting(tmp_path / "lock", ""), if_free(tmp_path / "lock") as is_free:
        assert not is_free
    with if_free(tmp_path / "lock") as is_free:
        assert is_free


def test_the_workflow_asks_for_it_where_vllm_draws():
    """Two blocks of four samples; four protocols of one benchmark."""
    here = configured(**{"values__of-eight": {"reference": "tiny", "dataset": "sums", "n": 8, "beta1": 0.5}})
    assert other_answers(here, "tiny", "held-out", "greedy") == other_blocks(here, "tiny", "sums", "s0-p0") == []
    there = configured(
        references__tiny__sampling_engine="vllm",
        **{"values__of-eight": {"reference": "tiny", "dataset": "sums", "n": 8, "beta1": 0.5}},
    )
    assert [one["block"] for one in other_blocks(there, "tiny", "sums", "s0-p0")] == ["s1-p0"]
    others = other_answers(there, "a-star-po.seed-0", "held-out", "greedy")
    assert {Path(one["out"]).name.split(".")[1] for one in others} == {"sampled", "other-seed", "short"}
    assert {Path(one["out"]).parent.name for one in others} == {"a-star-po.seed-0"}


def test_options_of_the_shown_commands_are_what_the_scripts_read():
    """Of a recipe that samples with vLLM: each job names the files of the others."""
    recipe = str(ROOT / "config/recipes/math_qwen2.5_1.5b.yaml")
    done = warm_snakemake.snakemake(
        ROOT, "-n", "-p", "--quiet", "host", "--nolock", "--forceall", "--configfile", recipe
    )
    assert done.returncode == 0, done.stdout
    outs: dict[str, list[tuple[str, list[dict[str, str]]]]] = {"sample_reference": [], "generate_answers": []}
    for line in re.findall(r"^Shell command: (python .*)$", done.stdout, re.MULTILINE):
        words = shlex.split(line)
        script = next((name for name in outs if name in words), None)
        if script is not None:
            others = json.loads(words[words.index("--others") + 1]) if "--others" in words else []
            own = {name: words[words.index(f"--{name}") + 1] for name in ("out", "scratch")}
            outs[script].append((json.dumps(own), others))
    for jobs in outs.values():
        for own, others in jobs:
            known = {json.dumps({"out": one["out"], "scratch": one["scratch"]}) for one in others}
            assert known <= {each for each, _ in jobs} - {own}
    assert any(others for _, others in outs["generate_answers"])
