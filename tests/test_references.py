"""Reference policies: built, warmed up, saved and loaded as ordinary folders."""

import json

import pytest
import torch

from astarpo.common.columns import DATASET
from astarpo.common.errors import InputError
from astarpo.common.files import sha256, write_table
from astarpo.model.loading import load_policy
from astarpo.model.scratch import build_scratch_policy, byte_tokenizer
from astarpo.stage_one.reference import make_policy, prepare_reference
from astarpo.stage_one.settings import LocalModel, ReferenceSettings
from astarpo.stage_one.warm_start import (
    WarmStartSettings,
    batch_rows,
    encode_solutions,
    warm_start,
)

SCRATCH = {
    "kind": "scratch",
    "seed": 0,
    "layers": 1,
    "hidden_size": 32,
    "intermediate_size": 64,
    "heads": 2,
    "kv_heads": 2,
    "max_positions": 32,
    "whole_tokens": ["\\boxed{"],
}
STEPS = {
    "steps": 60,
    "batch_size": 4,
    "lr": 1e-2,
    "lr_schedule": "constant",
    "lr_warmup_steps": 0,
    "adam_betas": [0.9, 0.95],
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "seed": 0,
}
PROMPTING = {"chat_template": False, "system_prompt": None, "max_prompt_tokens": 16}


def test_byte_tokenizer_encodes_every_text_and_keeps_whole_tokens():
    tokenizer = byte_tokenizer(["\\boxed{"], 64)
    for text in ("1+2", "\\boxed{3}", "Käse 数 🙂\n\t"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("\\boxed{3}")["input_ids"]) == 3
    assert len(tokenizer) == 259 and tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_saved_folder_is_ordinary_and_comes_back_the_same(tiny_policy, tiny_folder):
    names = {path.name for path in tiny_folder.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= names
    again = load_policy(tiny_folder)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(again.model(ids).logits, tiny_policy.model(ids).logits)
    assert again.tokenizer("1+2\\boxed{")["input_ids"] == tiny_policy.tokenizer("1+2\\boxed{")["input_ids"]
    assert again.end_token_ids == [again.tokenizer.eos_token_id]
    assert again.model.config.vocab_size == len(again.tokenizer)
    assert all(parameter.dtype == torch.float32 for parameter in again.model.parameters())


def test_half_precision_checkpoints_are_loaded_as_fp32_masters(tiny_folder, tmp_path):
    half = load_policy(tiny_folder)
    half.model.to(torch.bfloat16)
    half.save(tmp_path / "half")
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] == "bfloat16"
    loaded = load_policy(tmp_path / "half")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


def test_scratch_depends_on_its_seed_alone_and_leaves_the_host_random_state():
    options = {key: value for key, value in SCRATCH.items() if key != "kind"}

    def build(seed):
        return torch.cat([p.reshape(-1) for p in build_scratch_policy(**{**options, "seed": seed}).model.parameters()])

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = build(0)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, build(0)) and not torch.equal(first, build(1))


@pytest.mark.parametrize("content", [None, {}, {"config.json": "{}"}])
def test_a_folder_that_holds_no_model_is_named(tmp_path, content):
    folder = tmp_path / "model"
    for name, text in (content or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(InputError, match="model"):
        make_policy(LocalModel(kind="local", path=str(folder)), "cpu")


def solutions_file(tmp_path, worked="1+1=2\n\\boxed{2}"):
    rows = [
        {
            "prompt_id": f"p{i}",
            "problem": f"{i}",
            "prompt": f"{i}\n",
            "gold": "2",
            "verifier": "integer",
            "worked_solution": worked,
            "source_index": i,
        }
        for i in range(8)
    ]
    write_table(tmp_path / "d.parquet", rows, DATASET)
    return str(tmp_path / "d.parquet")


def test_a_warm_start_learns_the_solutions_and_is_repeatable(tmp_path):
    data = solutions_file(tmp_path)
    settings = {"source": SCRATCH, "warm_start": STEPS, **PROMPTING, "torch_threads": 1}
    first, facts = prepare_reference(ReferenceSettings(**settings), data, "cpu")
    assert 0 < facts["warm_start_loss"] < 0.2 and facts["warm_start_prompts"] == 8
    second, _ = prepare_reference(ReferenceSettings(**settings), data, "cpu")
    first.save(tmp_path / "a")
    second.save(tmp_path / "b")
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_a_warm_start_in_bfloat16_keeps_its_updates_in_float32(tmp_path):
    data = solutions_file(tmp_path)
    in_bfloat16 = {**STEPS, "precision": "bfloat16"}
    settings = ReferenceSettings(source=SCRATCH, warm_start=in_bfloat16, **PROMPTING, torch_threads=1)
    policy, facts = prepare_reference(settings, data, "cpu")
    assert 0 < facts["warm_start_loss"] < 0.3
    weights = {weight.data_ptr(): weight for weight in policy.model.parameters()}.values()
    assert {weight.dtype for weight in weights} == {torch.float32}
    # Masters, not rounded copies: of 16 more bits hardly any weight has none.
    rounded = sum(int((weight == weight.bfloat16().float()).sum()) for weight in weights)
    assert rounded < 0.02 * sum(weight.numel() for weight in weights)


def test_a_warm_start_in_bfloat16_takes_the_steps_of_float32_but_for_rounding(tiny_folder):
    made = []
    for precision in ("float32", "bfloat16"):
        policy = load_policy(tiny_folder)
        before = torch.cat([weight.detach().flatten().clone() for weight in policy.model.parameters()])
        steps = WarmStartSettings(
            **{**STEPS, "steps": 3, "batch_size": 2, "lr": 1e-4, "precision": precision, "adam_betas": (0.9, 0.95)}
        )
        warm_start(policy, [[5], [6]], ["1", "2"], steps)
        made.append(torch.cat([weight.detach().flatten() for weight in policy.model.parameters()]) - before)
    likeness = torch.nn.functional.cosine_similarity(*made, dim=0)
    assert 0.9 < likeness < 0.99999


def test_a_data_set_without_solutions_cannot_start_a_model(tmp_path):
    settings = {"source": SCRATCH, "warm_start": STEPS, **PROMPTING, "torch_threads": 1}
    with pytest.raises(InputError, match="prompt p0 has no worked solution"):
        prepare_reference(ReferenceSettings(**settings), solutions_file(tmp_path, worked=None), "cpu")


def test_a_batch_larger_than_the_data_is_said(tiny_policy):
    steps = WarmStartSettings(**{**STEPS, "adam_betas": (0.9, 0.95)})
    with pytest.raises(InputError, match="batches of 4, but there are 1 worked"):
        warm_start(tiny_policy, [[5]], ["1"], steps)


def test_a_warm_start_that_diverges_says_at_which_step(tiny_folder):
    policy = load_policy(tiny_folder)
    with torch.no_grad():
        policy.model.model.norm.weight[0] = 3e38  # its logits overflow
    steps = WarmStartSettings(**{**STEPS, "batch_size": 1, "adam_betas": (0.9, 0.95)})
    with pytest.raises(InputError, match=r"step 1 of the warm start diverged: .* not finite; lower warm_start\.lr"):
        warm_start(policy, [[5]], ["1"], steps)


def test_solutions_end_with_the_end_token_once(tiny_policy):
    assert encode_solutions(tiny_policy, ["1"])[0] == [*tiny_policy.tokenizer("1")["input_ids"], 1]


def test_batches_take_every_row_once_an_epoch():
    rows = [row for step in (1, 2, 3) for row in batch_rows(6, 2, step, 0)]
    assert sorted(rows) == list(range(6))
