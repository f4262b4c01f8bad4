"""The loop: what a step records, what must not change it, and that a killed run ends as it would have."""

import json
from dataclasses import replace

import pytest
import torch
import training_case as case
from varied_verifier import varied

from astarpo.common.errors import InputError, Interrupted
from astarpo.common.files import sha256
from astarpo.rewards.grading import Grade
from astarpo.training import loop
from astarpo.training.microbatches import shares_of
from astarpo.training.rollouts import Responses


def deterministic(history):
    return json.dumps(history.metrics)


def test_at_step_one_the_log_ratio_is_exactly_zero(tiny_folder, tmp_path):
    first = case.trainer(tiny_folder, steps=1).run(tmp_path).metrics[1]
    assert first["kl_per_sequence"] == 0.0 and first["log_ratio_std"] == 0.0


def test_the_first_loss_is_the_mean_of_the_squared_advantages(tiny_folder, tmp_path):
    """A*-PO's loss where policy and reference are one: the mean of (r - V*)^2 over the prompts of the batch."""
    made = case.trainer(tiny_folder, steps=1)
    first = made.run(tmp_path).metrics[1]
    chosen = loop.prompts_of_step(16, 8, 1, 0)
    assert [prompt.prompt_id for prompt in made.drawn[1].prompts] == [f"p{row}" for row in chosen]
    rewards = judged_here(made.drawn[1])
    squares = [(r - row / 16) ** 2 for r, row in zip(rewards, chosen, strict=True)]
    assert first["loss"] == pytest.approx(sum(squares) / 8, rel=1e-6)
    assert first["reward"] == sum(rewards) / 8
    assert (first["correct"], first["incorrect"]) == (sum(rewards), 8 - sum(rewards))


def judged_here(drawn):
    """The rewards by the verifier itself, without grader and workers."""
    pairs = zip(drawn.prompts, drawn.completions, strict=True)
    return [float(varied(prompt.gold, completion)) for prompt, completion in pairs]


def test_every_step_is_recorded_and_the_optimizer_makes_as_many(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder)
    history = made.run(tmp_path)
    assert [row["step"] for row in history.metrics] == [0, 1, 2, 3, 4]
    states = made.engine.optimizer.state_dict()["state"].values()
    assert {int(state["step"]) for state in states} == {4}
    assert [row["validation_reward"] is not None for row in history.metrics] == [
        True,
        False,
        True,
        False,
        True,
    ]
    live = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert live == history.rows()


def test_the_learning_rate_that_is_logged_is_the_one_used(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder)
    rows = made.run(tmp_path).metrics[1:]
    assert [row["lr"] for row in rows] == pytest.approx([1e-3, 1e-3, 2e-3 / 3, 1e-3 / 3])
    assert made.engine.optimizer.param_groups[0]["lr"] == rows[-1]["lr"]


def test_it_ends_with_the_batch_that_reaches_the_tokens(tiny_folder, tmp_path):
    whole = case.trainer(tiny_folder, validate_every=3).run(tmp_path / "a")
    tokens = [row["generated_tokens"] for row in whole.metrics[1:]]
    limit = sum(tokens[:2]) - 1  # the second batch goes beyond
    made = case.trainer(tiny_folder, validate_every=3, max_generated_tokens=limit)
    rows = made.run(tmp_path / "b").metrics
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert rows[-1]["validation_reward"] is not None
    # After the warm-up of one step, the rate falls with the tokens that are left.
    assert [row["lr"] for row in rows[1:]] == pytest.approx([1e-3, 1e-3 * (1 - tokens[0] / limit)])
    again = case.trainer(tiny_folder, validate_every=3, max_generated_tokens=limit)
    assert again.run(tmp_path / "b").metrics == rows  # it knows that it has ended


def test_the_same_run_twice_is_the_same_to_the_last_bit(tiny_folder, tmp_path):
    first, second = case.trainer(tiny_folder), case.trainer(tiny_folder)
    assert deterministic(first.run(tmp_path / "a")) == deterministic(second.run(tmp_path / "b"))
    assert torch.equal(case.weights(first), case.weights(second))


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()


def test_another_seed_is_another_run(tiny_folder, tmp_path):
    first, second = case.trainer(tiny_folder, seed=0), case.trainer(tiny_folder, seed=1)
    assert deterministic(first.run(tmp_path / "a")) != deterministic(second.run(tmp_path / "b"))


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_stopped_and_resumed_ends_as_it_would_have(tiny_folder, tmp_path, monkeypatch, stop_after):
    whole = case.trainer(tiny_folder)
    expected = deterministic(whole.run(tmp_path / "a"))
    times_up = case.MACHINE.changed(max_minutes=1e9)
    stopped = case.trainer(tiny_folder, machine=times_up)
    original = stopped._step

    def step_then_time_out(step):
        metrics = original(step)
        if step == stop_after:
            monkeypatch.setattr(loop.time, "monotonic", lambda: float("inf"))
        return metrics

    monkeypatch.setattr(stopped, "_step", step_then_time_out)
    with pytest.raises(Interrupted, match=f"after step {stop_after} of 4"):
        stopped.run(tmp_path / "b")
    monkeypatch.undo()
    resumed = case.trainer(tiny_folder)
    assert deterministic(resumed.run(tmp_path / "b")) == expected
    assert torch.equal(case.weights(whole), case.weights(resumed))


def test_a_run_killed_between_checkpoints_repeats_the_lost_steps(tiny_folder, tmp_path):
    whole = case.trainer(tiny_folder)
    expected = deterministic(whole.run(tmp_path / "a"))
    every_two = case.MACHINE.changed(checkpoint_every=2)
    case.kill_at(case.trainer(tiny_folder, machine=every_two), 4, tmp_path / "b")
    resumed = case.trainer(tiny_folder, machine=every_two)
    assert deterministic(resumed.run(tmp_path / "b")) == expected
    assert torch.equal(case.weights(whole), case.weights(resumed))


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_micro_batches_change_no_gradient(tiny_folder, tmp_path, micro_batch):
    base = case.trainer(tiny_folder, steps=1, lr=1.0)
    other = case.trainer(tiny_folder, steps=1, lr=1.0, machine=case.MACHINE.changed(micro_batch=micro_batch))
    first, second = base.run(tmp_path / "a").metrics[1], other.run(tmp_path / "b").metrics[1]
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-5)
    assert second["grad_norm"] == pytest.approx(first["grad_norm"], rel=1e-5)
    for one, two in zip(base.engine.policy.model.parameters(), other.engine.policy.model.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, rtol=1e-4, atol=1e-8)


def test_two_updates_a_rollout(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder, updates_per_rollout=2)
    history = made.run(tmp_path)
    states = made.engine.optimizer.state_dict()["state"].values()
    assert {int(state["step"]) for state in states} == {8}
    # The second update of a step is one step stale: its share has moved away from the reference.
    assert history.metrics[1]["kl_per_sequence"] != 0.0


def test_entropy_bonus_enters_the_loss(tiny_folder, tmp_path):
    plain = case.trainer(tiny_folder, steps=1).run(tmp_path / "a").metrics[1]
    bonus = case.trainer(tiny_folder, steps=1, entropy_coefficient=0.1).run(tmp_path / "b").metrics[1]
    assert bonus["loss"] == pytest.approx(plain["loss"] - 0.1 * plain["entropy"], rel=1e-5)


def test_the_reference_is_the_folder_and_never_moves(tiny_folder, tmp_path):
    before = sha256(tiny_folder)
    made = case.trainer(tiny_folder)
    start = case.weights(made).clone()
    made.run(tmp_path)
    reference = torch.cat([p.reshape(-1) for p in made.engine.reference.model.parameters()])
    assert torch.equal(reference, start) and not torch.equal(case.weights(made), start)
    assert sha256(tiny_folder) == before and not made.engine.reference.model.training
    resumed = case.trainer(tiny_folder)
    resumed.run(tmp_path)
    again = torch.cat([p.reshape(-1) for p in resumed.engine.reference.model.parameters()])
    assert torch.equal(again, start)


def test_clip_fraction_tells_clipped_gradients(tiny_folder, tmp_path):
    free = case.trainer(tiny_folder, steps=1, max_grad_norm=1e3).run(tmp_path / "a").metrics[1]
    tight = case.trainer(tiny_folder, steps=1, max_grad_norm=1e-9).run(tmp_path / "b").metrics[1]
    assert free["clip_fraction"] == 0.0 and tight["clip_fraction"] == 1.0
    assert free["grad_norm"] == pytest.approx(tight["grad_norm"])  # before clipping


def test_too_few_prompts_for_a_batch_is_said(tiny_folder):
    with pytest.raises(InputError, match="a batch takes 17 prompts, but only 16 are left"):
        case.trainer(tiny_folder, prompts_per_batch=17)


def test_null_grades_are_left_out_of_training_and_of_the_mean(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder, steps=1)
    lost = loop.prompts_of_step(16, 8, 1, 0)[0]
    made.prompts[lost] = replace(made.prompts[lost], gold="unknown")  # the verifier fails on it
    row = made.run(tmp_path).metrics[1]
    drawn = made.drawn[1]
    kept = Responses(drawn.prompts[1:], drawn.group_ids[1:], drawn.completions[1:], [])
    rewards = judged_here(kept)
    assert drawn.grades[0].status == "error" and row["error"] == 1
    assert row["reward"] == pytest.approx(sum(rewards) / 7) and row["null_share"] == 0.125
    assert row["trained_tokens"] == sum(len(one.token_ids) for one in kept.completions)
    squares = [(r - p.v_star) ** 2 for r, p in zip(rewards, kept.prompts, strict=True)]
    assert row["loss"] == pytest.approx(sum(squares) / 7, rel=1e-6)


def test_groups_and_pairs_stay_together():
    assert shares_of([0, 0, 1, 1, 2, 2], 2) == [[0, 1], [2, 3, 4, 5]]
    assert shares_of([0, 1, 2, 3], 2) == [[0, 1], [2, 3]]
    null, known = Grade(None, "error", None), Grade(1.0, "correct", "1")
    drawn = Responses([], [0, 0, 1, 1], [], [known, null, known, known])
    assert drawn.trainable_rows(2) == [2, 3]
    assert drawn.trainable_rows(1) == [0, 2, 3]


def test_chunks_of_the_logits_change_the_run_by_rounding_only(tiny_folder, tmp_path, monkeypatch):
    plain = case.trainer(tiny_folder, log_prob_chunk_tokens=None)
    expected = plain.run(tmp_path).metrics[1]
    monkeypatch.setattr("astarpo.model.log_probs.SMALL_LOGITS", 0)
    chunked = case.trainer(tiny_folder)
    assert set(chunked.engine.head_of) == {"policy", "reference"}
    (tmp_path / "chunked").mkdir()
    first = chunked.run(tmp_path / "chunked").metrics[1]
    assert first["kl_per_sequence"] == 0.0  # reference and policy take the same way
    assert first["entropy"] == pytest.approx(expected["entropy"], rel=1e-6)
    assert first["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-5)
