"""The RAM that jobs ask a cluster for follows from the configuration: weights by hand, and room for the programs."""

import pytest
from config_case import DEFAULT
from test_recipes import configured

from astarpo.config import load_config
from astarpo.planning.ram import PROCESS_MB, WORKER_MB, sampling_mb, training_mb
from astarpo.planning.training_jobs import training_job


def test_sampling_on_a_gpu_reads_fp32_weights_through_the_ram():
    """7.616 billion weights of 4 bytes, and 4 GB: 34.5 GB, rounded up."""
    assert sampling_mb(configured(["math_qwen2.5_7b"]), "qwen2-5-7b") == 35_000


def test_a_training_on_a_gpu_reads_its_checkpoint_into_the_ram():
    """1.544 billion weights of 4 bytes with two moments, a process, and two workers: 23.5 GB, rounded up."""
    assert training_mb(configured(["gsm8k_qwen2.5_1.5b"]), "gsm8k-qwen2-5-1-5b") == 24_000


def test_on_a_cpu_a_training_takes_its_estimate_a_process_and_its_graders():
    """Of a model of several GB, which the rounding does not hide."""
    tiny = DEFAULT["references"]["tiny"]
    source = {**tiny["source"], "layers": 16, "hidden_size": 2048, "intermediate_size": 8192}
    large = {**DEFAULT, "references": {"tiny": {**tiny, "source": source}}}
    config = load_config({**large, "machine": {**DEFAULT["machine"], "grading_workers": 9}})
    estimate = training_job(config, "a-star-po", None, 1).estimate
    assert estimate is not None and estimate.peak.total > 5e9
    exact = estimate.peak.total / 1e6 + PROCESS_MB + 9 * WORKER_MB
    assert exact <= training_mb(config, "a-star-po") < exact + 1000
    assert training_mb(config, "a-star-po") - training_mb(load_config(large), "a-star-po") in (3000, 4000)


@pytest.mark.parametrize(("device", "sampling", "training"), [("cpu", 8000, 16_000), ("cuda", 64_000, 128_000)])
def test_a_model_that_is_not_known_before_it_is_downloaded(device, sampling, training):
    unknown = {**DEFAULT["references"]["tiny"], "source": {"kind": "hub", "id": "nobody/nothing"}}
    machine = {**DEFAULT["machine"], "device": device}
    config = load_config({**DEFAULT, "references": {"tiny": unknown}, "machine": machine})
    assert (sampling_mb(config, "tiny"), training_mb(config, "a-star-po")) == (sampling, training)
