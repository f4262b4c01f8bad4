"""What is refused before the first job: cards, torch, packages, limits; the most fundamental first."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from config_case import DEFAULT, changed

from astarpo.common.devices import VISIBLE, torch_problem
from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.planning.needs import key_of, missing
from astarpo.planning.start import JobNeeds, check_can_run

LACKS_VLLM = JobNeeds(1, 0, (("no_such_vllm", "references.q.sampling_engine = 'vllm'"),))


def cards(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int, driver: str = "580.65.06") -> None:
    """A machine whose nvidia-smi lists so many GPUs, of a driver."""
    listed = "; ".join(["true", *(f"echo 'GPU {number}: one'" for number in range(count))])
    asked = 'test "$1" = --query-gpu=driver_version'
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\nif {asked}; then echo {driver}; else {listed}; fi\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv(VISIBLE, raising=False)


def built_for(folder: Path, monkeypatch: pytest.MonkeyPatch, **facts: str | None) -> None:
    """An installed torch whose version.py says this."""
    (folder / "torch").mkdir()
    (folder / "torch/__init__.py").touch()
    lines = [f"{name} = {value!r}\n" for name, value in {"__version__": "2.13.0+x", **facts}.items()]
    (folder / "torch/version.py").write_text("".join(lines))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def refused(*jobs: JobNeeds, own_python: bool = True) -> str:
    with pytest.raises(InputError) as caught:
        check_can_run("cuda", jobs, own_python)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_torch_for_cpus_is_no_torch_for_a_gpu(tmp_path, monkeypatch):
    built_for(tmp_path, monkeypatch, cuda=None, hip=None)
    assert torch_problem("cpu") is None
    assert torch_problem("cuda") == (
        "machine.device = 'cuda': torch 2.13.0+x was built for CPUs and sees no GPU: make install-gpu, then "
        ". .venv-gpu/bin/activate, or set machine.device: cpu"
    )


def test_an_old_driver_is_refused_unless_torch_sees_a_gpu_all_the_same(tmp_path, monkeypatch):
    built_for(tmp_path, monkeypatch, cuda="13.0", hip=None)
    cards(tmp_path, monkeypatch, 1, "470.57.02")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for sees, said in (("False", "the NVIDIA driver 470.57.02 is too old: "), ("True", "references.q.")):
        (tmp_path / "torch/cuda.py").write_text(f"def is_available(): return {sees}\n")
        (tmp_path / "torch/__init__.py").write_text("from torch import cuda\n")
        assert refused(LACKS_VLLM).startswith(said)
    assert refused(LACKS_VLLM, own_python=False).startswith("a job needs 1 GPU")  # and may have none of them
    (tmp_path / "torch/cuda.py").write_text("def is_available(): return False\n")
    cards(tmp_path, monkeypatch, 1)
    assert refused(LACKS_VLLM).startswith("references.q.")


@pytest.mark.parametrize("facts", [{"cuda": "13.0", "hip": None}, {"cuda": None, "hip": "6.4"}, {}], ids=str)
def test_only_what_is_certain_is_refused(facts, tmp_path, monkeypatch):
    built_for(tmp_path, monkeypatch, **facts)
    assert torch_problem("cuda") is None


def test_the_most_fundamental_reason_comes_first(tmp_path, monkeypatch):
    built_for(tmp_path, monkeypatch, cuda=None, hip=None)
    cards(tmp_path, monkeypatch, 0)
    assert refused(LACKS_VLLM).startswith("a job needs 1 GPU (")
    cards(tmp_path, monkeypatch, 1)
    assert refused(LACKS_VLLM).startswith("machine.device = 'cuda': torch 2.13.0+x")
    (tmp_path / "torch/version.py").write_text("cuda = '13.0'\n")
    assert refused(LACKS_VLLM).startswith(
        "references.q.sampling_engine = 'vllm': no_such_vllm cannot be imported here: "
    )
    assert "make install-gpu, then . .venv-gpu/bin/activate" in refused(LACKS_VLLM)
    assert refused(JobNeeds(1, 0)).endswith("Snakemake may give it 0: add --resources gpu=1")
    check_can_run("cuda", [JobNeeds(1, 1)], own_python=True)


def test_environments_of_their_own_have_another_torch_and_other_packages(tmp_path, monkeypatch):
    built_for(tmp_path, monkeypatch, cuda=None, hip=None)
    cards(tmp_path, monkeypatch, 1)
    check_can_run("cuda", [JobNeeds(1, 1, LACKS_VLLM.packages)], own_python=False)
    assert refused(JobNeeds(1, 0), own_python=False).endswith("add --resources gpu=1")


def test_jobs_without_a_gpu_need_no_torch_for_one(tmp_path, monkeypatch):
    built_for(tmp_path, monkeypatch, cuda=None, hip=None)
    cards(tmp_path, monkeypatch, 0)
    check_can_run("cuda", [JobNeeds(0, 0)], own_python=True)


def test_the_key_that_asks_for_a_package():
    config = load_config(DEFAULT)
    vllm = "references.tiny.sampling_engine = 'vllm'"
    for wildcards in ({"run": "a-star-po"}, {"policy": "a-star-po.seed-0"}, {"policy": "tiny"}, {"reference": "tiny"}):
        assert key_of(config, "vllm", wildcards) == vllm
    run = {"run": "a-star-po", "seed": "0"}
    assert key_of(config, "deepspeed", run) == "runs.a-star-po.engine = 'deepspeed'"
    assert key_of(config, "peft", run) == "runs.a-star-po.lora"
    assert key_of(config, "bitsandbytes", run) == "runs.a-star-po.lora.base_precision = 'nf4'"


def test_bitsandbytes_is_listed_where_4_bits_need_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lora = {"base_precision": "nf4"}
    config = load_config(changed(runs__a_dash_star_dash_po__lora=lora, references__tiny__precision="bfloat16"))
    assert missing(config)[-1] == (
        "runs.a-star-po.lora.base_precision = 'nf4': bitsandbytes cannot be imported here: pip install "
        "bitsandbytes==0.50.2, or set base_precision: bfloat16"
    )
