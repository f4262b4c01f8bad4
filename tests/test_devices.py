"""One job per GPU: claims, their release by killed jobs, and the messages about missing devices."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm_snakemake
import yaml
from config_case import DEFAULT, changed
from test_lock_files import WITHOUT_FLOCK

from astarpo.common.devices import LOCKS, VISIBLE, WHY, check_allowed, check_partitions, visible_devices
from astarpo.common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "workflow_scripts/launch.py"
SHOW = """
import os, sys, time
print("devices", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose nvidia-smi lists two GPUs, with locks of its own."""
    monkeypatch.setenv(LOCKS, str(tmp_path / "locks"))
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    command(tmp_path, "nvidia-smi", "echo 'GPU 0: one'; echo 'GPU 1: two'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "show.py").write_text(SHOW)


def command(folder: Path, name: str, body: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def launch(folder: Path, log: str, gpus: int, seconds: float = 60.0, **environment: str) -> subprocess.Popen[bytes]:
    options = ["--log", log, "--gpus", str(gpus), "show.py", str(seconds)]
    return subprocess.Popen([sys.executable, str(LAUNCH), *options], cwd=folder, env={**os.environ, **environment})


def said(log: Path, text: str) -> str:
    """The log as soon as it has the text."""
    for _ in range(1200):
        if log.exists() and text in log.read_text():
            return log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{log}: no {text!r} within a minute")


def end(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def test_each_job_has_a_device_of_its_own_and_a_third_waits_for_a_killed_one(tmp_path):
    first = launch(tmp_path, "1.log", 1)
    assert said(tmp_path / "1.log", "devices") == "GPUs: 0\ndevices 0\n"
    second = launch(tmp_path, "2.log", 1)
    assert said(tmp_path / "2.log", "devices") == "GPUs: 1\ndevices 1\n"
    third = launch(tmp_path, "3.log", 1)
    assert said(tmp_path / "3.log", "waiting") == "waiting for 1 GPU: other jobs use 0, 1\n"
    first.send_signal(signal.SIGKILL)
    assert said(tmp_path / "3.log", "devices").endswith("devices 0\n")
    end(first, second, third)


def test_a_card_has_one_job_where_the_file_system_has_no_locks(tmp_path):
    """Also not one that waits for a second card, and none after its job was killed."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(WITHOUT_FLOCK)
    on_nfs = {"PYTHONPATH": str(tmp_path / "site")}
    first = launch(tmp_path, "1.log", 1, **on_nfs)
    assert said(tmp_path / "1.log", "devices") == "GPUs: 0\ndevices 0\n"
    both = launch(tmp_path, "2.log", 2, **on_nfs)
    said(tmp_path / "2.log", "waiting for 2 GPUs: other jobs use 0, 1\n")
    second = launch(tmp_path, "3.log", 1, **on_nfs)
    assert said(tmp_path / "3.log", "devices").endswith("GPUs: 1\ndevices 1\n")
    end(first, second)
    assert said(tmp_path / "2.log", "devices").endswith("GPUs: 0,1\ndevices 0,1\n")
    end(both)


def test_jobs_that_want_both_devices_take_turns(tmp_path):
    jobs = [launch(tmp_path, f"{number}.log", 2, seconds=0.1) for number in range(3)]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    for number in range(3):
        assert (tmp_path / f"{number}.log").read_text().endswith("devices 0,1\n")


def test_a_choice_of_devices_is_kept_to(tmp_path):
    job = launch(tmp_path, "1.log", 1, **{VISIBLE: "1"})
    assert said(tmp_path / "1.log", "devices") == "GPUs: 1\ndevices 1\n"
    other = launch(tmp_path, "2.log", 1)
    assert said(tmp_path / "2.log", "devices") == "GPUs: 0\ndevices 0\n"
    end(job, other)


def test_a_job_without_gpu_is_left_alone(tmp_path):
    assert launch(tmp_path, "1.log", 0, seconds=0).wait() == 0
    assert (tmp_path / "1.log").read_text() == "devices None\n"


def test_allocations_of_slurm_do_not_meet(tmp_path):
    """Device 0 of one allocation is not device 0 of another; within one, jobs are kept apart."""
    jobs = [
        launch(tmp_path, f"{name}.log", 1, **{VISIBLE: visible, "SLURM_JOB_ID": number})
        for name, visible, number in (("a", "0", "7"), ("b", "0", "8"))
    ]
    assert said(tmp_path / "a.log", "devices") == said(tmp_path / "b.log", "devices")
    jobs.append(launch(tmp_path, "c.log", 1, **{VISIBLE: "0", "SLURM_JOB_ID": "8"}))
    assert "waiting" in said(tmp_path / "c.log", "waiting")
    end(*jobs)


@pytest.mark.parametrize(
    ("gpus", "visible", "expected"),
    [
        (3, None, f"a job needs 3 GPUs ({WHY}), but this machine has 2 GPUs;"),
        (2, "1", "this machine has 1 GPU (CUDA_VISIBLE_DEVICES=1);"),
        (1, "", "this machine has none that can be used (CUDA_VISIBLE_DEVICES=);"),
        (1, "7", "CUDA_VISIBLE_DEVICES=7 names GPU 7, but this machine has 2 GPUs, numbered from 0;"),
    ],
)
def test_a_device_that_does_not_exist(gpus, visible, expected, tmp_path):
    environment = {} if visible is None else {VISIBLE: visible}
    assert launch(tmp_path, "1.log", gpus, **environment).wait() == 1
    log = (tmp_path / "1.log").read_text()
    assert expected in log and "Traceback" not in log and "devices None" not in log


@pytest.mark.parametrize(
    ("visible", "names"),
    [("1,0", ["1", "0"]), (" GPU-ab , GPU-cd ", ["GPU-ab", "GPU-cd"]), ("0,-1,1", ["0"]), ("", [])],
)
def test_the_variable_is_read_as_cuda_reads_it(visible, names, monkeypatch):
    monkeypatch.setenv(VISIBLE, visible)
    assert visible_devices() == names


def test_partitions(tmp_path):
    command(tmp_path, "sinfo", "echo batch; echo a100")
    check_partitions({"train_policy": "a100", "summarize": "batch,a100"})
    with pytest.raises(InputError, match="no SLURM partition for summarize: name one in the profile"):
        check_partitions({"train_policy": "a100", "summarize": None})
    with pytest.raises(InputError, match="slurm_partition = 'gpu' of train_policy: .* a100, batch"):
        check_partitions({"train_policy": "gpu", "summarize": "batch"})


def test_a_limit_below_what_a_job_uses():
    check_allowed(0, 0)
    check_allowed(2, 2)
    with pytest.raises(InputError, match=r"a job needs 8 GPUs \(.*\), but Snakemake may give it 1: .*gpu=8$"):
        check_allowed(8, 1)


def test_jobs_that_sample_with_vllm_ask_for_the_gpus_that_share_a_model(tmp_path):
    """One reference samples with vLLM, another does not, and each has a run."""
    base = DEFAULT["runs"]["a-star-po"]
    other = {key: base[key] for key in base if key not in ("value", "value_scale", "beta2", "selection")}
    plain = {**other, "method": "grpo", "reference": "plain", "responses_per_prompt": 2, "seeds": [0]}
    config = changed(
        machine__device="cuda",
        machine__sampler_tensor_parallel=4,
        references__tiny__sampling_engine="vllm",
        references__plain=DEFAULT["references"]["tiny"],
        runs__b=plain,
    )
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(config))
    options = ["-n", "--quiet", "host", "--cores", "2", "--forceall", "--nolock", "--resources", "gpu=8"]
    done = warm_snakemake.snakemake(ROOT, *options, "--configfile", str(tmp_path / "both.yaml"))
    assert done.returncode == 0, done.stdout
    jobs = re.split(r"\n(?=(?:local)?rule \w+:)", done.stdout)
    found = set()
    for job in jobs:
        named = re.search(r"wildcards: .*?(?:reference|policy|run)=([\w-]+)", job)
        gpus = re.search(r"resources: .*\bgpu=(\d+)", job)
        if named and gpus:
            found.add((job.partition(":")[0].removeprefix("rule "), named[1], int(gpus[1])))
    assert found == {
        ("prepare_reference", "tiny", 1),
        ("prepare_reference", "plain", 1),
        ("sample_reference", "tiny", 4),
        ("train_policy", "a-star-po", 1),
        ("train_policy", "b", 1),
        ("generate_answers", "tiny", 4),
        ("generate_answers", "plain", 1),
        ("generate_answers", "a-star-po", 4),
        ("generate_answers", "b", 1),
    }


def snakemake(*options: str, folder: Path = ROOT) -> str:
    options = ("--snakefile", str(ROOT / "Snakefile"), "train", "--forceall", "--nolock", *options)
    done = warm_snakemake.snakemake(folder, *options)
    assert done.returncode == 1, done.stdout
    return done.stdout


def with_torch(folder: Path, cuda: str) -> Path:
    """A working directory with a torch that was built for this CUDA; Python finds it first."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch/__init__.py").touch()
    (folder / "torch/version.py").write_text(f"__version__ = '2.13.0'\ncuda = {cuda}\nhip = None\n")
    return folder


def test_the_workflow_says_so_before_its_first_job(tmp_path):
    command(tmp_path, "sinfo", "echo batch")
    command(tmp_path, "sbatch", "echo REACHED-SBATCH >&2; exit 1")
    command(tmp_path, "squeue", "true")  # the executor looks whether there is one
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "profile.yaml").write_text("executor: slurm\njobs: 1\n")
    printed = snakemake("--workflow-profile", str(profile))
    assert "no SLURM partition for" in printed and "REACHED-SBATCH" not in printed
    named = snakemake("--workflow-profile", str(ROOT / "profiles/slurm"))
    assert "SLURM has no such partition; it has batch" in named and "REACHED-SBATCH" not in named
    config = tmp_path / "cuda.yaml"
    files = ["--configfile", str(ROOT / "config/config.yaml"), str(config)]
    # On two nodes the profile requests GPUs for each node, and sets `gpu: 0`: that is no limit to refuse.
    config.write_text("machine: {device: cuda, devices: 8, nodes: 2}\nruns: {a-star-po: {engine: deepspeed}}\n")
    nodes = snakemake("--workflow-profile", str(ROOT / "profiles/slurm-nodes"), *files)
    assert "SLURM has no such partition; it has batch" in nodes
    config.write_text("machine: {device: cuda}\n")
    (tmp_path / "bin/nvidia-smi").write_text("#!/bin/sh\n")
    local = snakemake("--cores", "2", *files)
    assert "a job needs 1 GPU" in local and "Execute " not in local
    config.write_text("machine: {devices: 1, nodes: 2}\nruns: {a-star-po: {engine: deepspeed}}\n")
    spread = snakemake("--cores", "2", *files)
    assert "machine.nodes is 2, but this is not a SLURM job" in spread
    assert "Execute " not in spread
    (tmp_path / "bin/nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: one'; echo 'GPU 1: two'\n")
    config.write_text("machine: {device: cuda, devices: 2}\nruns: {a-star-po: {engine: deepspeed}}\n")
    two = ["--cores", "2", "--resources", "gpu=2", *files]
    built = snakemake(*two, folder=with_torch(tmp_path / "cpu", "None"))
    assert "machine.device = 'cuda': torch 2.13.0 was built for CPUs" in built and "make install-gpu" in built
    assert "Execute " not in built
    lacking = snakemake(*two, folder=with_torch(tmp_path / "cuda", "'13.0'"))
    assert "runs.a-star-po.engine = 'deepspeed': deepspeed cannot be imported here: make install-gpu" in lacking
    config.write_text("machine: {device: cuda}\n")
    none = ["--cores", "2", "--resources", "gpu=0", *files]
    limited = snakemake(*none, folder=tmp_path / "cuda")
    assert "a job needs 1 GPU" in limited and "add --resources gpu=1" in limited
    config.write_text(
        "machine: {device: cuda, sampler_tensor_parallel: 2}\nreferences: {tiny: {sampling_engine: vllm}}\n"
    )
    shared = snakemake("--cores", "2", "--resources", "gpu=2", *files)
    assert "machine.sampler_tensor_parallel = 2: runs.a-star-po samples with vLLM" in shared


def test_a_training_of_one_process_tells_deepspeed_its_local_rank():
    """DeepSpeed refuses a world without one, and nothing but torchrun sets it."""
    code = (
        "import os; from astarpo.model.world import join_world; print(join_world('cpu').size, os.environ['LOCAL_RANK'])"
    )
    own = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE", "RANK")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**own, "PYTHONPATH": str(ROOT / "workflow_scripts")},
    )
    assert done.stdout.split() == ["1", "0"], done.stderr
