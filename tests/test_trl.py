"""A*-PO and GRPO against TRL's trainers: loss and gradients on responses that TRL drew, scored and compared itself.

TRL is not among the test requirements of the project: `make test-trl` installs it (envs/pins/trl.txt) and runs this.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_case as case

from astarpo.model.loading import load_policy
from astarpo.model.scratch import build_scratch_policy
from astarpo.objectives import build_loss, build_prepare
from astarpo.objectives.rollout import Rollout
from astarpo.stage_one.values import ESTIMATORS
from astarpo.training.engine import TorchEngine

trl = pytest.importorskip("trl", reason="TRL is not installed: `make test-trl` installs it", exc_type=ImportError)

PROMPTS = ["1+1\n", "2+3+4\n", "7\n", "10-3\n", "5+5+5\n", "8-2\n"]
LENGTH = 8
COMMON = {
    "per_device_train_batch_size": 12,
    "use_cpu": True,
    "report_to": [],
    "max_completion_length": LENGTH,
    "temperature": 1.0,
    "seed": 0,
    "bf16": False,
    "gradient_checkpointing": False,
    "save_strategy": "no",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random model that ends many of its responses: of all lengths, and some never."""
    policy = build_scratch_policy(
        seed=0,
        layers=2,
        hidden_size=16,
        intermediate_size=32,
        heads=2,
        kv_heads=1,
        max_positions=64,
        whole_tokens=["\\boxed{"],
    )
    with torch.no_grad():
        policy.model.get_input_embeddings().weight[policy.tokenizer.eos_token_id] *= 40
    made = tmp_path_factory.mktemp("trl") / "model"
    policy.save(made)
    return made


class Scores:
    """Some reward of a response that is neither always 0 nor always 1; remembers what it gave."""

    __name__ = "scores"

    def __init__(self):
        self.given = []

    def __call__(self, prompts, completions, **_):
        found = [float(sum(text.encode()) % 2) for text in completions]
        self.given.append({"prompts": list(prompts), "rewards": found})
        return found


def trainer(kind, config, folder, scores):
    from datasets import Dataset

    policy = load_policy(folder)
    policy.tokenizer.padding_side = "left"
    return kind(
        model=policy.model,
        reward_funcs=scores,
        args=config,
        processing_class=policy.tokenizer,
        train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
    )


def move(model, seed, size=0.05):
    """Change the weights a little, so that the policy is no longer the reference."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += size * torch.randn(weight.shape, generator=generator)


def gradient(model):
    return torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])


def ours(
    folder,
    weights,
    method,
    hyperparameters,
    prompts,
    responses,
    rewards,
    groups,
    old_BT=None,
    v_star=None,
):
    """Loss and gradient of our engine, over micro-batches of at most five responses."""
    policy, reference = load_policy(folder), load_policy(folder)
    policy.model.load_state_dict(weights)
    settings = case.SETTINGS.changed(
        method=method,
        hyperparameters=hyperparameters,
        max_grad_norm=1e9,
        log_prob_chunk_tokens=None,
    )
    engine = TorchEngine(policy, reference, settings, 5)
    count, width = len(responses), max(map(len, responses))
    parts = engine.micro_batches(prompts, responses, range(count))
    assert len(parts) > 1
    reference_BT = engine.log_probs("reference", parts, count, width)
    mask_BT = torch.tensor([[t < len(one) for t in range(width)] for one in responses])
    rollout = Rollout(
        prompt_ids=[str(group) for group in groups],
        group_ids_B=torch.tensor(groups),
        mask_BT=mask_BT,
        old_log_probs_BT=old_BT,
        anchor_log_probs_BT=reference_BT,
        v_star_B=None if v_star is None else torch.tensor(v_star),
        reward_B=torch.tensor(rewards),
    )
    targets = build_prepare(method, hyperparameters)(rollout)
    found = engine.update(parts, targets, reference_BT, build_loss(method, hyperparameters, LENGTH), 0)
    return found["loss"], gradient(policy.model), targets


def rows(ids, mask):
    return [one[kept.bool()].tolist() for one, kept in zip(ids, mask, strict=True)]


def differ_in_length(responses):
    return len({len(one) for one in responses}) > 2


@pytest.mark.parametrize("beta2", [1e-3, 0.5])
def test_a_star_po(folder, tmp_path, beta2):
    from trl.experimental.a2po import A2POConfig, A2POTrainer

    scores = Scores()
    config = A2POConfig(
        str(tmp_path),
        **COMMON,
        beta2=beta2,
        num_value_samples=8,
        beta1=0.5,
        filter_all_incorrect=False,
    )
    theirs = trainer(A2POTrainer, config, folder, scores)
    theirs._estimate_optimal_values()
    (stage1,) = scores.given
    for index, prompt in enumerate(PROMPTS):
        own = stage1["rewards"][8 * index : 8 * index + 8]
        assert stage1["prompts"][8 * index] == prompt
        (v_star,) = ESTIMATORS["log_mean_exp"](np.array([sum(own)]), np.array([8]), 0.5)
        assert v_star == pytest.approx(theirs._optimal_values[prompt], abs=1e-6)

    move(theirs.model, seed=1)
    batch = theirs._prepare_inputs([{"prompt": prompt} for prompt in PROMPTS])
    theirs.model.train()
    loss = theirs.compute_loss(theirs.model, batch)
    loss.backward()

    width = batch["logits_to_keep"]
    ids, mask = batch["input_ids"], batch["attention_mask"]
    responses = rows(ids[:, -width:], mask[:, -width:])
    assert differ_in_length(responses)
    found, found_gradient, _ = ours(
        folder,
        theirs.model.state_dict(),
        "a_star_po",
        {"beta2": beta2},
        rows(ids[:, :-width], mask[:, :-width]),
        responses,
        batch["rewards"].tolist(),
        list(range(len(PROMPTS))),
        v_star=batch["v_star"].tolist(),
    )
    expected = gradient(theirs.model)
    assert set(batch["rewards"].tolist()) == {0.0, 1.0}
    assert float(expected.norm()) > 0
    assert found == pytest.approx(float(loss), rel=1e-5)
    assert float((found_gradient - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize(
    ("loss_type", "flags"),
    [
        ("grpo", {"average": "sequences", "scale_by_std": True}),
        ("dapo", {"average": "tokens", "scale_by_std": True}),
        ("dr_grpo", {"average": "constant", "scale_by_std": False}),
    ],
)
def test_grpo(folder, tmp_path, loss_type, flags):
    from trl import GRPOConfig, GRPOTrainer

    scores = Scores()
    config = GRPOConfig(
        str(tmp_path),
        **COMMON,
        loss_type=loss_type,
        beta=0.05,
        epsilon=0.2,
        epsilon_high=0.3,
        num_generations=4,
        scale_rewards="group" if flags["scale_by_std"] else "none",
        num_iterations=2,
        use_bias_correction_kl=False,  # as GRPO was published
    )
    theirs = trainer(GRPOTrainer, config, folder, scores)
    move(theirs.model, seed=1)
    theirs.model.train()
    asked = [{"prompt": prompt} for prompt in PROMPTS[:3] for _ in range(4)]
    batch = theirs._generate_and_score_completions(asked)
    move(theirs.model, seed=2, size=0.02)  # now the old policy is another one, and ratios are clipped
    theirs.current_gradient_accumulation_steps = 1
    theirs.model.zero_grad()
    loss = theirs._compute_loss(theirs.model, batch)
    loss.backward()

    hyperparameters = {
        **flags,
        "clip": 0.2,
        "clip_high": 0.3,
        "kl_coefficient": 0.05,
        "std_epsilon": 1e-4,
    }
    responses = rows(batch["completion_ids"], batch["completion_mask"])
    assert differ_in_length(responses)
    found, found_gradient, targets = ours(
        folder,
        theirs.model.state_dict(),
        "grpo",
        hyperparameters,
        rows(batch["prompt_ids"], batch["prompt_mask"]),
        responses,
        scores.given[0]["rewards"],
        [index // 4 for index in range(12)],
        old_BT=batch["old_per_token_logps"][:, : max(map(len, responses))],
    )
    expected = gradient(theirs.model)
    assert torch.allclose(targets["advantage_B"], batch["advantages"].reshape(-1), atol=1e-5)
    assert float(batch["advantages"].abs().max()) > 0
    assert found == pytest.approx(float(loss), rel=1e-4, abs=1e-6)
    assert float((found_gradient - expected).norm() / expected.norm()) < 1e-5
