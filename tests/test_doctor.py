"""`make doctor`: what a machine has, what a configuration takes on it, and a snapshot of that for each GPU recipe."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from astarpo.common.cards import CARDS, Card, card_of
from astarpo.common.devices import VISIBLE
from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.config.files import merged
from astarpo.config.runs import Config
from astarpo.model.scratch import build_scratch_policy
from astarpo.planning import hub
from astarpo.planning import this_machine as here
from astarpo.planning.cards import Machine, named_machine
from astarpo.planning.disk import disk_bytes
from astarpo.planning.jobs import Job, Sampler
from astarpo.planning.jobs import merged as alike
from astarpo.planning.needs import missing
from astarpo.planning.plan import duration, plan
from astarpo.planning.sampling_jobs import evaluation_jobs, stage_one_jobs
from astarpo.planning.sizes import rows_of, shape_of_reference
from astarpo.planning.training_jobs import training_jobs

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "config/recipes"
SNAPSHOTS = ROOT / "tests/snapshots"
DOCTOR = ROOT / "workflow_scripts/doctor.py"
GIB = 2**30

GPU_RECIPES = {
    path.stem: path
    for path in sorted(RECIPES.glob("*.yaml"))
    if yaml.safe_load(path.read_text("utf-8")).get("machine", {}).get("device") == "cuda"
}
ON_EIGHT = [["math_qwen2.5_1.5b", "with_eight_gpus"], ["math_qwen2.5_3b", "with_eight_gpus"]]


def configured(*names: str) -> Config:
    files = [str(RECIPES / f"{name}.yaml") for name in names]
    return load_config(merged(files), files)


def with_machine(config: Config, **changes: object) -> Config:
    return config.changed(machine=config.machine.changed(**changes))


def doctor(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DOCTOR), *options]
    asked = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.run(command, cwd=ROOT, env=asked, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("names", [*([name] for name in GPU_RECIPES), *ON_EIGHT], ids="+".join)
def test_the_plan_of_every_recipe_for_a_gpu_is_as_it_was(names: list[str]) -> None:
    """Each fits the machine that its header names. To refresh: REFRESH_SNAPSHOTS=1 pytest tests/test_doctor.py."""
    config = configured(*names)
    cards = max(config.machine.devices, 1)
    made = plan(config, named_machine(f"{cards}xH100"))
    assert not made.problems
    path, text = SNAPSHOTS / f"doctor-{'+'.join(names)}.txt", "\n".join([*made.lines, ""])
    if os.environ.get("REFRESH_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    changed = "\n".join(difflib.unified_diff(old.splitlines(), text.splitlines(), "as it was", "as it is", lineterm=""))
    assert not changed, (
        f"{changed}\nIf these numbers are meant, refresh them: REFRESH_SNAPSHOTS=1 pytest tests/test_doctor.py, and "
        "read docs/gpu.md and docs/recipes.md, which have some of them"
    )


def test_there_are_no_snapshots_of_recipes_that_are_gone() -> None:
    wanted = {*GPU_RECIPES, *("+".join(names) for names in ON_EIGHT)}
    assert {path.stem.removeprefix("doctor-") for path in SNAPSHOTS.glob("doctor-*.txt")} == wanted


@pytest.mark.parametrize("name", ["gsm8k_qwen2.5_3b", "math_qwen2.5_3b", "long_context_r1_distill_1.5b"])
def test_what_kept_activations_would_do_is_said_with_the_setting(name: str) -> None:
    config = with_machine(configured(name), activation_checkpointing=False)
    (problem,) = plan(config, named_machine("H100")).problems
    assert "update takes about" in problem and "but H100 has 85.0 GB free" in problem
    assert "It fits with machine: {activation_checkpointing: true}" in problem


def test_a_card_that_is_too_small() -> None:
    problems = plan(configured("math_qwen2.5_1.5b"), named_machine("RTX4090")).problems
    assert len(problems) == 1 and "update takes about 57.1 GB" in problems[0] and "RTX4090 has 25.3 GB" in problems[0]


def test_too_few_cards() -> None:
    problems = plan(configured("math_qwen2.5_7b"), named_machine("4xH200")).problems
    assert problems == ("training of math-qwen2-5-7b: needs 8 cards, 4 x H200 has 4: machine: {devices: 4}",)


def test_a_share_of_vllm_that_is_too_small() -> None:
    config = with_machine(configured("long_context_r1_distill_1.5b"), sampler_memory_share=0.045)
    (problem,) = plan(config, named_machine("H100")).problems
    # 3.85 GB less 3.55 of weights; 28 layers of 2 x 256 x 2 bytes: 28,672 a token.
    tokens = (0.045 * 81_559 * 2**20 - 2 * 1_777_088_000) / 28_672
    assert f"keys and values of {tokens:,.0f} tokens, but prompt and response may have 16,384" in problem
    assert "machine: {sampler_memory_share: 0.05}, or max_new_tokens of at most 9,238" in problem


def test_vllm_draws_as_many_at_a_time_as_its_cache_holds() -> None:
    config = with_machine(configured("math_qwen2.5_1.5b"), sampler_memory_share=0.1, sampling_batch=64)
    shape, card = shape_of_reference(config.references["qwen2-5-1-5b"]), named_machine("H100").card
    assert shape is not None
    beside = Sampler(shape, config.machine.settings(), card, "vllm", "bfloat16", 1000, trained=True)
    # 8.552 GB less 4 of workspace and 3.087 of weights hold 51,080 tokens of 28,672 bytes; 1000 take 63 blocks of 16.
    assert beside.at_a_time == 50
    assert replace(beside, trained=False).at_a_time == 512  # 0.9 of the card holds 2,417, but 512 have CUDA graphs
    assert replace(beside, engine="transformers").at_a_time == 64
    assert training(with_machine(config, sampling_batch=16), "H100") == training(config, "H100")


def test_what_draws_ahead_has_a_card_of_its_own() -> None:
    run = {"math-qwen2-5-1-5b": configured("math_qwen2.5_1.5b").runs["math-qwen2-5-1-5b"]}
    ahead = {name: one.changed(pipeline={"lag": 1}) for name, one in run.items()}

    def generate_s(runs: Any, share: float) -> float | None:
        config = with_machine(configured("math_qwen2.5_1.5b").changed(runs=runs), sampler_memory_share=share)
        return training(config, "8xH100").seconds["generate"]

    assert generate_s(run, 0.1) != generate_s(run, 0.4)
    assert generate_s(ahead, 0.1) == generate_s(ahead, 0.4) is not None


def test_ram_and_disk_that_do_not_suffice() -> None:
    card = named_machine("8xH100").card
    small = Machine("a node", 8, card, ram_bytes=200e9, disk_bytes=300e9)
    problems = plan(configured("math_qwen2.5_7b"), small).problems
    assert any(
        "resume takes about 213.2 GB of RAM" in problem and "200.0 GB are free" in problem for problem in problems
    )
    assert any(problem.startswith("disk: 396.2 GB are needed, 300.0 GB are free") for problem in problems)


def test_disk_by_hand() -> None:
    parameters = 1_543_714_304
    sizes = disk_bytes(configured("gsm8k_qwen2.5_1.5b"))
    assert sizes["checkpoints kept"] == 2 * sizes["a checkpoint being written"] == 2 * 12 * parameters
    assert sizes["references"] == sizes["trained models"] == 2 * sizes["hub's cache"] == 4 * parameters
    assert sizes["samples of stage 1"] == pytest.approx(7473 * 8 * 512 * 6)
    assert sizes["data sets"] == 2000 * (7473 + 1319)


def test_jobs_of_stage_one_share_the_responses() -> None:
    config = configured("gsm8k_qwen2.5_1.5b")
    (job,) = stage_one_jobs(config, named_machine("H100").card)
    assert (job.count, job.cards, job.model) == (8, 1, "Qwen/Qwen2.5-1.5B")
    assert job.estimate is not None and job.estimate.peak.total == pytest.approx(0.9 * 81_559 * 2**20)


def training(config: Config, machine: str) -> Job:
    return training_jobs(config, named_machine(machine).card)[0]


def test_eight_cards_share_the_work_of_a_step() -> None:
    one = training(configured("math_qwen2.5_1.5b"), "H100").seconds
    eight = training(configured("math_qwen2.5_1.5b", "with_eight_gpus"), "8xH100").seconds
    assert one["reference"] is not None and eight["reference"] is not None
    assert eight["reference"] < one["reference"] / 4
    assert one["generate"] is not None and eight["generate"] is not None
    # Each card still waits for its longest response.
    assert one["generate"] > eight["generate"] > one["generate"] / 8


def test_trainings_that_take_the_same_are_shown_once() -> None:
    raw = merged([str(RECIPES / "math_qwen2.5_1.5b.yaml")])
    raw["runs"]["other"] = {**raw["runs"]["math-qwen2-5-1-5b"], "lr": 2.0e-6, "seeds": [0, 1]}
    raw["runs"]["longer"] = {**raw["runs"]["math-qwen2-5-1-5b"], "steps": 726}
    jobs = alike(training_jobs(load_config(raw), named_machine("H100").card))
    assert {(job.count, job.steps) for job in jobs} == {(3, 725), (1, 726)}
    assert any("and 1 more" in job.name for job in jobs)


def test_gpu_hours_are_those_of_all_cards_of_all_nodes() -> None:
    config = configured("math_qwen2.5_7b", "with_two_nodes")
    job = training(config, "8xH100")
    assert job.total_s is not None and (job.nodes, job.cards) == (2, 8)
    others = sum(
        one.count * (one.total_s or 0)
        for jobs in (stage_one_jobs, evaluation_jobs)
        for one in jobs(config, named_machine("8xH100").card)
    )
    hours = (2 * 8 * job.total_s + others) / 3600
    assert f"in all: {hours:,.1f} GPU-hours" in plan(config, named_machine("8xH100")).lines


def test_a_method_that_needs_more_passes_takes_longer() -> None:
    raw = merged([str(RECIPES / "math_qwen2.5_1.5b.yaml")])
    plain = training(load_config(raw), "H100").seconds
    run = raw["runs"]["math-qwen2-5-1-5b"]
    del run["value"], raw["runs"]["_math"]["beta2"]
    raw["runs"]["_math"] |= {"method": "ppo"}
    ppo = training(load_config(raw), "H100").seconds
    # The iterate's log-probabilities and the critic's values besides the reference's.
    assert ppo["reference"] == pytest.approx(3 * (plain["reference"] or 0))
    assert (ppo["update"] or 0) == pytest.approx(2 * (plain["update"] or 0))


@pytest.mark.parametrize(
    ("name", "cards", "card"), [("8xH100", 8, "H100"), ("h200", 1, "H200"), ("2xa100-40", 2, "A100-40")]
)
def test_machines_by_name(name: str, cards: int, card: str) -> None:
    machine = named_machine(name)
    assert machine.card is not None and (machine.cards, machine.card.name) == (cards, card)


@pytest.mark.parametrize("name", ["8xH900", "0xH100", "H100x8", ""])
def test_a_machine_that_is_not_known(name: str) -> None:
    with pytest.raises(InputError) as caught:
        named_machine(name)
    assert "\n" not in str(caught.value) and all(card.name in str(caught.value) for card in CARDS)


@pytest.mark.parametrize(
    ("shown", "mib", "name"),
    [
        ("NVIDIA H100 80GB HBM3", 81_559, "H100"),
        ("NVIDIA H100 PCIe", 81_559, "H100-PCIe"),
        ("NVIDIA A100-SXM4-40GB", 40_960, "A100-40"),
        ("NVIDIA A100 80GB PCIe", 81_920, "A100-80"),
        ("NVIDIA L40S", 46_068, "L40S"),
        ("NVIDIA L4", 23_034, "L4"),
        ("NVIDIA GeForce RTX 4090", 24_564, "RTX4090"),
    ],
)
def test_cards_by_what_nvidia_smi_calls_them(shown: str, mib: int, name: str) -> None:
    assert card_of(shown, mib).name == name


def test_a_card_that_is_not_in_the_table_has_its_memory_and_no_speeds() -> None:
    card = card_of("NVIDIA L40", 46_068)
    assert (card.name, card.memory_mib, card.flops) == ("NVIDIA L40", 46_068, None)
    text = plan(configured("math_qwen2.5_1.5b"), Machine("it", 1, card)).lines
    assert any("speeds not known" in line for line in text) and any("time: not known" in line for line in text)


TWO_CARDS = r"NVIDIA H100 80GB HBM3, 81559, 4, GPU-ab1\nNVIDIA H100 80GB HBM3, 81559, 20000, GPU-cd2\n"


def nvidia_smi(folder: Path, cards: str, driver: str) -> str:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncase $1 in *driver*) echo '{driver}';; *) printf '{cards}';; esac\n")
    program.chmod(0o755)
    return str(program)


def test_this_machine_with_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = nvidia_smi(tmp_path, TWO_CARDS, "580.95.05")
    found = {one.what: one for one in here.findings(tmp_path, program, lambda: None)}
    assert str(found["driver"]).split()[:3] == ["driver", "ok", "580.95.05,"]
    assert (found["card 0"].state, found["card 0"].text) == ("ok", "H100, 85.5 GB")
    assert found["card 1"].text == "H100, 85.5 GB; 21.0 GB are used by other programs"
    machine = here.this_machine(tmp_path, program)
    assert (machine.name, machine.cards, machine.here) == ("this machine (2 x H100)", 2, True)
    old = {one.what: one for one in here.findings(tmp_path, nvidia_smi(tmp_path, TWO_CARDS, "470.57.02"), lambda: None)}
    assert old["driver"].state == "missing" and "470.57.02 is too old" in old["driver"].text


def test_the_compiler_of_what_trainings_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU `compile_model: auto` needs a C compiler and triton; on a CPU only `true` needs one, of C++."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = nvidia_smi(tmp_path, TWO_CARDS, "580.95.05")

    def said(of: str) -> str:
        return next(str(one) for one in here.findings(tmp_path, of, lambda: None) if one.what == "compiler")

    monkeypatch.setenv("CC", "no-such-cc")
    monkeypatch.setenv("CXX", program)
    assert said("none") == f"compiler      ok       {program}, for trainings on a CPU with compile_model: true"
    monkeypatch.setenv("CC", program)
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    expected = f"compiler      ok       {program}, for trainings on a GPU with compile_model: auto, the default"
    assert said(program) == expected
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC")
    monkeypatch.delenv("CXX")
    assert said("none").split(maxsplit=2)[1:] == [
        "missing",
        "no g++, so trainings on a CPU cannot compile their passes: apt-get install g++ on Debian",
    ]


@pytest.mark.parametrize(
    ("named", "names", "used_mib"),
    [
        (None, "this machine (2 x H100)", [4, 20_000]),
        ("1", "this machine (1 x H100, CUDA_VISIBLE_DEVICES=1)", [20_000]),
        ("1,0", "this machine (2 x H100)", [20_000, 4]),
        ("GPU-cd", "this machine (1 x H100, CUDA_VISIBLE_DEVICES=GPU-cd)", [20_000]),
        ("0,-1,1", "this machine (1 x H100, CUDA_VISIBLE_DEVICES=0,-1,1)", [4]),
        ("7", "this machine (CUDA_VISIBLE_DEVICES=7)", []),
        ("", "this machine (CUDA_VISIBLE_DEVICES=)", []),
    ],
)
def test_the_cards_that_a_variable_names(
    named: str | None, names: str, used_mib: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    program = nvidia_smi(tmp_path, TWO_CARDS, "580.95.05")
    machine = here.this_machine(tmp_path, program)
    assert (machine.name, machine.cards) == (names, len(used_mib))
    assert machine.used_bytes == tuple(mib * 2**20 for mib in used_mib)
    found = {one.what: one.text for one in here.findings(tmp_path, program, lambda: None)}
    hidden = [number for number in (0, 1) if "not used, as CUDA_VISIBLE_DEVICES=" in found[f"card {number}"]]
    assert len(hidden) == 2 - len(used_mib)


def test_what_other_programs_use_is_not_free() -> None:
    card = named_machine("H100").card
    config = configured("gsm8k_qwen2.5_1.5b")
    free = 81_559 * 2**20 - 0.5e9
    for used, count in (((30e9, 0.0), 3), ((0.0, 30e9), 0)):  # a job takes the first card
        machine = Machine("it", 2, card, used_bytes=used)
        assert (machine.free_bytes(1), machine.free_bytes(2)) == (free - used[0], free - 30e9)
        problems = plan(config, machine).problems
        # vLLM takes 0.9 of the card where it is alone; the training's 64 GB do not fit either.
        told = [one for one in problems if "but H100, where other programs use 30.0 GB, has 55.0 GB free" in one]
        assert len(told) == len(problems) == count


def test_what_a_configuration_lacks_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old driver, and a hub that cannot be reached."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    config, program = configured("gsm8k_qwen2.5_1.5b"), nvidia_smi(tmp_path, TWO_CARDS, "470.57.02")
    driver, *others = here.lacking(config, program, lambda: "it is down")
    assert driver.startswith("the NVIDIA driver 470.57.02 is too old")
    assert others[-3] == (  # and those of the training set and the benchmark
        "references.qwen2-5-1-5b.source.id = 'Qwen/Qwen2.5-1.5B': is not in the hub's cache, and "
        f"{hub.endpoint()} cannot be reached (it is down): download it where there is a network, or give a folder: "
        "source: {kind: local, path: ...}"
    )
    on_cpu = with_machine(config, device="cpu")
    assert not any("driver" in one for one in here.lacking(on_cpu, program, lambda: None))
    monkeypatch.setattr(hub, "_refusal", lambda source: None)  # it lets us in
    assert not any("hub" in one for one in here.lacking(config, "no-such-program", lambda: None))


def test_a_hub_is_not_asked_for_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    config = configured("gsm8k_qwen2.5_1.5b")
    assert ["(HF_HUB_OFFLINE is set)" in line for line in hub.hub_problems(config)] == [True] * 3
    for data in ("datasets/gsm8k-all", "benchmarks/gsm8k"):
        (tmp_path / "results" / data).parent.mkdir(parents=True)
        (tmp_path / f"results/{data}.parquet").touch()
    assert len(hub.hub_problems(config)) == 1
    prepared = tmp_path / "results/references/qwen2-5-1-5b/model"
    prepared.mkdir(parents=True)
    (prepared / "config.json").touch()
    assert not hub.hub_problems(config)
    (prepared / "config.json").unlink()
    cached = tmp_path / "cache/models--Qwen--Qwen2.5-1.5B"
    (cached / "snapshots/0a").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("0a")
    (cached / "snapshots/0a/config.json").touch()
    assert hub.hub_problems(config)  # without its weights
    (cached / "snapshots/0a/model.safetensors").touch()
    assert not hub.hub_problems(config)


def test_a_hub_that_hangs_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "PATIENCE_S", -0.9)

    def hangs() -> None:
        time.sleep(60)

    found = {one.what: one for one in here.findings(tmp_path, "no-such-program", hangs)}
    assert found["hub"].state == "missing" and "offline, no answer" in found["hub"].text
    assert found["driver"].state == found["cards"].state == "missing"
    answered = {one.what: one for one in here.findings(tmp_path, "no-such-program", lambda: None)}
    assert answered["hub"].state == "ok"


def test_a_laptop_is_told_what_it_lacks_and_that_is_no_failure() -> None:
    done = doctor(PATH="/nowhere", HF_TOKEN="")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} >= {"driver", "cards", "Python", "torch", "vllm", "hub", "disk", "RAM"}
    assert all(" ok " in line or " missing " in line for line in lines)


def test_the_command_line() -> None:
    fits = doctor("--machine", "H100", "config/recipes/math_qwen2.5_1.5b.yaml")
    assert fits.returncode == 0 and fits.stdout.splitlines()[-1] == "It fits.", fits.stderr
    fails = doctor("--machine", "L4", "config/recipes/math_qwen2.5_1.5b.yaml")
    assert fails.returncode == 1 and "\n- training of math-qwen2-5-1-5b: update takes" in fails.stdout
    unknown = doctor("--machine", "3xH1000", "config/config.yaml")
    assert unknown.returncode == 1 and unknown.stderr.startswith("error: MACHINE = '3xH1000': not known")
    assert len(unknown.stderr.splitlines()) == 1
    alone = doctor("--machine", "8xH100")
    assert alone.returncode == 1 and alone.stderr.startswith("error: MACHINE = '8xH100': needs a configuration")
    assert len(alone.stderr.splitlines()) == 1
    default = doctor("config/config.yaml")
    assert default.returncode == 0 and "No rate of a CPU is known" in default.stdout
    # 0.7 million weights: fp32 and two moments, of which two decimals of GB would show nothing.
    assert "warm start 11 MB; at most 11: optimizer 5, weights 3, gradients 3" in default.stdout


def test_what_no_training_could_run_with_is_said(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text("machine: {sampler_tensor_parallel: 2}\n")
    told = doctor("--machine", "8xH100", "config/recipes/math_qwen2.5_1.5b.yaml", str(tmp_path / "two.yaml"))
    assert told.returncode == 1
    assert "\n- machine.sampler_tensor_parallel = 2: runs.math-qwen2-5-1-5b samples with vLLM" in told.stdout


def test_whoever_reads_its_lines_may_stop() -> None:
    """As `make doctor | head -1` does: no traceback."""
    command = [sys.executable, str(DOCTOR)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""


def test_why_a_time_is_not_known() -> None:
    config = configured("math_qwen2.5_1.5b")
    entry = config.references["qwen2-5-1-5b"].changed(precision="float32")
    for changed, card, reason in (
        (config, None, "there is no card"),
        (config, Card("RTX 9999", 81_559), "no speeds of RTX 9999 are"),
        (with_machine(config, device="cpu"), None, "no speeds of CPUs are"),
        (
            config.changed(references={"qwen2-5-1-5b": entry}),
            named_machine("H100").card,
            "it is known for precision: bf",
        ),
    ):
        lines = plan(changed, Machine("it", int(card is not None), card)).lines
        assert any(line.startswith(f"  time: not known: {reason}") for line in lines), reason
        assert (card is None and changed is config) == ("Without a card, of vLLM only" in " ".join(lines))


def test_rows_longer_than_a_pass_may_be_are_passed_one_by_one() -> None:
    def steps(tokens: int) -> list[str]:
        config = with_machine(configured("math_qwen2.5_1.5b"), micro_batch_tokens=tokens)
        lines = plan(config, named_machine("H100")).lines
        return [line for line in lines if "a step" in line]

    assert steps(1) == steps(100) != steps(8192)


def test_a_plan_for_a_named_machine_needs_no_torch() -> None:
    script = f"import sys; sys.argv = ['doctor', '--machine', 'H100', {str(RECIPES / 'math_qwen2.5_1.5b.yaml')!r}]\n"
    script += (
        "import doctor\ntry: doctor.main()\nexcept SystemExit: pass\nprint({'torch', 'transformers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=DOCTOR.parent, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_gpu_recipe_on_a_machine_without_a_card(tmp_path: Path) -> None:
    without = here.this_machine(tmp_path, "no-such-program")
    problems = plan(configured("math_qwen2.5_1.5b"), without).problems
    assert "machine.device = 'cuda': this machine has no card; name a machine: MACHINE=8xH100" in problems


def test_cards_that_a_variable_hides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "5")
    program = nvidia_smi(tmp_path, TWO_CARDS, "580.65.06")
    hidden = here.this_machine(tmp_path, program)
    problems = plan(configured("math_qwen2.5_1.5b"), hidden).problems
    assert f"machine.device = 'cuda': this machine ({VISIBLE}=5) has no card; unset {VISIBLE}, or name a" in problems[0]
    said = [one.text for one in here.findings(tmp_path, program, lambda: None) if one.what == "cards"]
    assert said == [f"none of these is named by {VISIBLE}=5; unset it, or name some of them"]


def test_packages_and_files_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lines = missing(configured("math_qwen2.5_7b", "with_local_math"))
    assert (
        "references.qwen2-5-7b.sampling_engine = 'vllm': vllm cannot be imported here: make install-gpu, " in lines[0]
    )
    assert "runs.math-qwen2-5-7b.engine = 'deepspeed': deepspeed cannot be imported here" in lines[1]
    assert any(line.startswith("datasets.math.source.path = ") and "is not there" in line for line in lines)


def test_the_shape_of_a_model_from_scratch_is_that_of_the_model() -> None:
    config = load_config(yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8")))
    (entry,) = config.references.values()
    shape = shape_of_reference(entry)
    source = entry.source.model_dump(exclude={"kind"})
    policy = build_scratch_policy(**source)
    assert shape is not None and shape.parameters == sum(p.numel() for p in policy.model.parameters())


def test_numbers_of_problems(tmp_path: Path) -> None:
    config = configured("gsm8k_qwen2.5_1.5b")
    assert rows_of(config.datasets["gsm8k-all"]) == (7473, True)
    # Both splits, before what MATH-500 has is dropped.
    assert rows_of(configured("math_qwen2.5_1.5b", "with_math_12k").datasets["math"]) == (12_500, True)
    half = config.datasets["gsm8k-all"].changed(hash_range=(0.0, 0.5))
    assert rows_of(half) == (7473 / 2, True)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\n\n')
    local = half.changed(source={"kind": "local", "path": str(tmp_path / "a.jsonl")}, hash_range=(0.0, 1.0))
    assert rows_of(local) == (2, True)
    elsewhere = local.changed(source={"kind": "hub", "id": "some/where", "split": "train"})
    assert rows_of(elsewhere) == (10_000, False)
    assert rows_of(elsewhere.changed(max_prompts=64)) == (64, True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.012, "12 ms"), (70, "70.0 s"), (120, "2.0 min"), (3600, "1.0 h"), (86_400, "24.0 h"), (432_000, "5.0 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


DOCUMENTED = [
    (["gsm8k_qwen2.5_1.5b"], "H100"),
    (["gsm8k_qwen2.5_1.5b", "with_eight_gpus"], "8xH100"),
    (["gsm8k_qwen2.5_3b"], "H100"),
    (["gsm8k_qwen2.5_3b", "with_eight_gpus"], "8xH100"),
    (["gsm8k_qwen2.5_7b"], "8xH100"),
    (["math_qwen2.5_1.5b"], "H100"),
    (["math_qwen2.5_1.5b", "with_eight_gpus"], "8xH100"),
    (["math_qwen2.5_3b"], "H100"),
    (["math_qwen2.5_3b", "with_eight_gpus"], "8xH100"),
    (["math_qwen2.5_7b"], "8xH100"),
    (["long_context_r1_distill_1.5b"], "H100"),
]


@pytest.mark.parametrize(("names", "machine"), DOCUMENTED, ids=lambda value: value if isinstance(value, str) else None)
def test_the_documented_numbers_are_those_of_the_doctor(names: list[str], machine: str) -> None:
    config, on = configured(*names), named_machine(machine)
    job, (samples,) = training_jobs(config, on.card)[0], stage_one_jobs(config, on.card)
    assert job.estimate is not None and job.total_s is not None and samples.total_s is not None
    step = sum(seconds or 0 for seconds in job.seconds.values())
    row = (
        f"| `{' '.join(names)}` | {machine} | {samples.count} x {duration(samples.total_s)} | "
        f"{job.estimate.peak.total / 1e9:.0f} GB | {duration(step)} | {duration(job.total_s)} |"
    )
    assert row in (ROOT / "docs/gpu.md").read_text("utf-8").splitlines(), f"docs/gpu.md should have the row\n{row}"
