"""What `make test` and `make install` print: one line per step, everything that a step said where it fails.

The tools that they start are short shell scripts here; the Makefile is the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout whose environment has tools that print something and succeed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("pip", "uv", "ruff", "mypy", "snakefmt", "snakemake"):
        tool(tmp_path, name, "echo noise")
    tool(tmp_path, "pytest", "echo ....; echo '7 passed in 1s'")
    return tmp_path


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / ".venv/bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def make(folder: Path, *targets: str) -> tuple[int, list[str]]:
    # Under `make test` these tests are started by make, and a make started by make prints the folders it enters.
    told_by_make = ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in told_by_make}
    done = subprocess.run(["make", *targets], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


def test_a_line_for_each_step_and_check(project):
    status, lines = make(project, "test")
    assert status == 0 and "noise" not in " ".join(lines)
    assert [line.split()[-1] for line in lines] == ["done", "done", "ok", "ok", "ok", "ok", "ok", "1s"]
    assert lines[-1].split() == ["tests", "7", "passed", "in", "1s"]
    # uv is installed, packages, torch, a check; then the tools, a check.
    assert (project / ".venv/install.log").read_text() == 6 * "noise\n"


def test_a_check_that_fails_shows_its_output_and_ends_it(project):
    tool(project, "mypy", "echo a.py:3: bad; exit 1")
    status, lines = make(project, "test")
    assert status != 0
    assert [line.split() for line in lines[-2:]] == [["types", "FAILED"], ["a.py:3:", "bad"]]


def test_failing_tests_show_all_their_output(project):
    tool(project, "pytest", "echo F; echo '1 failed'; exit 1")
    status, lines = make(project, "test")
    assert status != 0 and lines[-2:] == ["F", "1 failed"]


def test_a_failed_installation_shows_its_end_and_the_log(project):
    tool(project, "pip", "seq 100; echo no such package; exit 1")
    status, lines = make(project, "install")
    assert status != 0 and not (project / ".venv/installed").exists()
    assert lines[-2:] == ["no such package", "The whole log: .venv/install.log"]
    assert len(lines) == 17


def calls_of_install(project: Path, pip: str = "true", uv: str = "true", *options: str) -> list[str]:
    """What `make install` calls pip and uv with."""
    for name, script in (("pip", pip), ("uv", uv)):
        tool(project, name, f'echo {name} "$@" >>"{project}/calls"; {script}')
    assert make(project, "install", *options)[0] == 0
    return (project / "calls").read_text().splitlines()


def pip(name: str) -> str:
    return f"pip install --require-hashes --no-deps -r envs/locks/{name}.txt"


def uv(name: str) -> str:
    return pip(name).replace("pip install", "uv pip install --python .venv/bin/python")


def test_packages_are_installed_with_their_hashes(project):
    assert calls_of_install(project) == [pip("uv"), uv("torch"), pip("torch-cpu"), "pip check"]


def test_where_no_index_has_a_torch_for_cpus_the_usual_one_is_installed(project):
    calls = calls_of_install(project, pip='case "$*" in *torch-cpu*) exit 1;; esac')
    assert calls == [pip("uv"), uv("torch"), pip("torch-cpu"), uv("torch-gpu"), "pip check"]


def test_pip_takes_the_place_of_uv_where_that_fails(project):
    calls = calls_of_install(project, uv="exit 1")
    assert calls == [pip("uv"), uv("torch"), pip("torch"), pip("torch-cpu"), "pip check"]


def test_hashes_can_be_turned_off(project):
    assert calls_of_install(project, "true", "true", "HASHES=no") == ["pip install -r envs/pins/torch.txt"]


@pytest.mark.parametrize(
    ("flags", "options", "told"),
    [
        ("avx512f avx512_vnni", [], "float32"),
        ("avx512f avx512_bf16", [], "bfloat16"),
        ("avx512f amx_bf16 amx_tile", [], "bfloat16"),
        ("avx512f amx_bf16 amx_tile", ["PRECISION=float32"], "float32"),
        ("avx512f", ["PRECISION=bfloat16"], "bfloat16"),
        (None, [], "float32"),
    ],
)
def test_the_precision_of_the_real_model_follows_from_the_processor_or_is_chosen(project, flags, options, told):
    tool(project, "snakemake", 'for word; do echo "word:$word"; done; mkdir -p demo-llm/results/tables; '
         "touch demo-llm/results/tables/summary.txt demo-llm/results/tables/kinds.md")  # fmt: skip
    if flags is not None:
        (project / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    status, lines = make(project, "demo-llm", "CPUINFO=cpuinfo", *options)
    assert status == 0
    words = [line.removeprefix("word:") for line in lines if line.startswith("word:")]
    key, value = words[words.index("--config") + 1].split("=", 1)
    assert (key, json.loads(value)) == ("references", {"smollm2": {"precision": told}})


def test_doctor_runs_in_the_environment_for_gpus_where_there_is_one(project):
    tool(project, "python", 'echo .venv "$@"')
    options = ("CONFIG=a.yaml b.yaml", "MACHINE=8xH100")
    status, lines = make(project, "doctor", *options)
    assert status == 0 and lines[-1] == ".venv workflow_scripts/doctor.py a.yaml b.yaml --machine 8xH100"
    (project / ".venv-gpu/bin").mkdir(parents=True)
    shutil.copy(project / ".venv/bin/python", project / ".venv-gpu/bin")
    gpu = project / ".venv-gpu/bin/python"
    gpu.write_text(gpu.read_text().replace(".venv", ".venv-gpu"))
    (project / ".venv-gpu/installed").touch()
    assert make(project, "doctor") == (0, [".venv-gpu workflow_scripts/doctor.py"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("given", ["my/{a,with_b}.yaml", "my/a.yaml my/with_b.yaml", "my/{a,with_b}.yaml  "])
def test_the_doctor_is_given_each_file(project, given):
    tool(project, "python", 'echo "$#: $@"')
    status, lines = make(project, "doctor", f"CONFIG={given}", "MACHINE=8xH100")
    assert (status, lines[-1]) == (0, "5: workflow_scripts/doctor.py my/a.yaml my/with_b.yaml --machine 8xH100")
