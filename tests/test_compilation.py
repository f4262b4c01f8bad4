"""Compiled passes: the numbers of plain ones, resumed like plain ones, refused where there is no compiler."""

import shutil
from dataclasses import replace

import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.model.chunked_log_probs import find_head
from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.training.compilation import CompiledModel, check_can_compile, compiles
from astarpo.training.job import _with_compilation

needs_a_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler is installed"
)


ON_A_GPU = case.MACHINE.changed(device="cuda", micro_batch=32)
FIFTY = case.SETTINGS.changed(compile_model="auto", steps=50)


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """A folder for a compiler, `own-cc`, and for triton, which only torch's builds for GPUs bring; both are there."""
    compiler = tmp_path / "own-cc"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CC", str(compiler))
    return tmp_path


@needs_a_compiler
def test_a_training_has_the_numbers_of_a_plain_one_and_resumes_to_the_last_bit(tiny_folder, tmp_path):
    for name in ("plain", "whole", "stopped"):
        (tmp_path / name).mkdir()
    plain = case.trainer(tiny_folder).run(tmp_path / "plain").metrics
    whole = case.trainer(tiny_folder, compile_model=True)
    found = whole.run(tmp_path / "whole").metrics
    for name in ("loss", "grad_norm", "kl_per_token", "reward", "entropy"):
        expected = [row[name] for row in plain[1:]]
        assert [row[name] for row in found[1:]] == pytest.approx(expected, abs=1e-4), name

    stopped = case.trainer(tiny_folder, compile_model=True)
    original = stopped._step

    def stop(step):
        if step == 3:
            raise KeyboardInterrupt
        return original(step)

    stopped._step = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.run(tmp_path / "stopped")
    resumed = case.trainer(tiny_folder, compile_model=True)
    resumed.run(tmp_path / "stopped")
    assert torch.equal(case.weights(whole), case.weights(resumed))


@needs_a_compiler
def test_log_probabilities_and_gradients_are_those_of_the_model(tiny_folder, monkeypatch):
    monkeypatch.setattr("astarpo.model.log_probs.SMALL_LOGITS", 0)
    found = []
    for wrap in (lambda model: model, CompiledModel):
        model = load_policy(tiny_folder).model
        head = find_head(model)
        total = torch.zeros(())
        for size in (3, 5):  # another shape is compiled for already
            batch = collate([[4, 5, 6]] * size, [[7, 8], *[[9, 10, 11, 1]] * (size - 1)], [1])
            log_probs_BT, _ = token_log_probs(wrap(model), batch, 0.7, head=head, chunk_tokens=2)
            total = total + log_probs_BT.sum()
        total.backward()
        found.append([total.detach(), *(p.grad for p in model.parameters())])
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("device", "named"), [("cpu", "no g++"), ("cuda", "no gcc")])
def test_no_compiler_is_said_with_the_way_out(monkeypatch, device, named):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(InputError, match=named) as caught:
        check_can_compile(device)
    assert "compile_model: false" in str(caught.value)


def test_a_compiler_of_ones_own_will_do(monkeypatch, tmp_path):
    own = tmp_path / "own-c++"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CXX", str(own))
    check_can_compile("cpu")


def test_a_plain_engine_calls_the_models_themselves(tiny_folder):
    engine = case.trainer(tiny_folder).engine
    assert engine.called == {"policy": engine.policy.model, "reference": engine.reference.model}
    undecided = case.trainer(tiny_folder, compile_model="auto").engine
    assert undecided.called == {"policy": undecided.policy.model, "reference": undecided.reference.model}
    made = case.trainer(tiny_folder, machine=case.MACHINE, compile_model=True).engine
    assert isinstance(made.called["policy"], CompiledModel)


@pytest.mark.parametrize(
    ("changes", "machine", "shared", "attention", "expected"),
    [
        ({}, {}, False, "sdpa", (True, "on a GPU")),
        ({}, {"device": "cpu"}, False, "sdpa", (False, "machine.device is cpu")),
        ({"steps": 49}, {}, False, "sdpa", (False, "fewer than 50 steps")),
        ({}, {}, True, "sdpa", (False, "what prompts share is read once")),
        ({}, {}, False, "flash_attention_2", (False, "attention is flash_attention_2")),
        ({}, {"packing": True}, False, "sdpa", (False, "rows are packed")),
        ({}, {"packing": False}, False, "eager", (True, "on a GPU")),
        ({"lora": {"rank": 2}}, {}, False, "sdpa", (False, "lora")),
        ({"engine": "deepspeed"}, {}, False, "sdpa", (False, "engine is deepspeed")),
        ({}, {"activation_checkpointing": True}, False, "sdpa", (False, "machine.activation_checkpointing")),
        ({"compile_model": True, "steps": 4}, {"device": "cpu"}, True, "sdpa", (True, "compile_model is true")),
        ({"compile_model": False}, {}, False, "sdpa", (False, "compile_model is false")),
    ],
)
def test_auto_compiles_where_that_gives_up_nothing(tools, changes, machine, shared, attention, expected):
    assert compiles(FIFTY.changed(**changes), ON_A_GPU.changed(**machine), shared, attention) == expected


def test_auto_does_not_compile_without_a_compiler_or_triton(tools, monkeypatch):
    (tools / "triton/__init__.py").unlink()
    (tools / "triton").rmdir()
    if not torch.version.cuda:
        assert compiles(FIFTY, ON_A_GPU, False, "sdpa") == (False, "no triton")
    monkeypatch.delenv("CC")
    assert compiles(FIFTY, ON_A_GPU, False, "sdpa") == (False, "no gcc")


def test_a_training_decides_by_its_prompts_and_says_so(tools, tiny_folder, tiny_policy, capsys):
    different = case.prompts(tiny_policy)
    alike = [replace(prompt, token_ids=[*range(10, 30), *prompt.token_ids]) for prompt in different]
    assert _with_compilation(tiny_folder, FIFTY, ON_A_GPU, different).compile_model is True
    assert _with_compilation(tiny_folder, FIFTY, ON_A_GPU, alike).compile_model is False
    in_groups = FIFTY.changed(method="grpo", hyperparameters={}, responses_per_prompt=2)
    assert _with_compilation(tiny_folder, in_groups, ON_A_GPU, different).compile_model is False
    passes = "compile_model: auto: passes are"
    assert capsys.readouterr().out.splitlines() == [
        f"{passes} compiled: on a GPU",
        *[f"{passes} not compiled: what prompts share is read once"] * 2,
    ]
    assert _with_compilation(tiny_folder, FIFTY, case.MACHINE, different) == FIFTY.changed(compile_model=False)
    asked = FIFTY.changed(compile_model=True, steps=4)
    assert _with_compilation(tiny_folder, asked, case.MACHINE, alike) is asked
    assert capsys.readouterr().out == ""
