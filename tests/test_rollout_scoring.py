"""From rewards to gradients: each row has its own numbers, under the right model, and each update its own rows.

The other route takes one response at a time, through a copy of the model as transformers has it: no micro-batches,
no padding, no head in chunks.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
import training_case as case

from astarpo.rewards.grading import Grade
from astarpo.sampling import Completion
from astarpo.sampling.settings import SamplingSettings
from astarpo.stage_one.settings import EstimateSettings
from astarpo.training.phases import PhaseClock
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.rollout_scoring import build_rollout, make_passes
from astarpo.training.rollouts import Responses
from astarpo.training.running_statistics import RunningStatistics

TEMPERATURE = 0.7
PROMPTS = 4
# name: method, its settings, responses to a prompt
CASES = {
    "a_star_po": ("a_star_po", {"beta2": 0.3, "value_update": "none"}, 1),
    "a_star_po-running": (
        "a_star_po",
        {"beta2": 0.3, "value_update": "running"},
        1,
    ),
    "grpo": (
        "grpo",
        {
            "clip": 0.1,
            "clip_high": 0.3,
            "kl_coefficient": 0.2,
            "scale_by_std": True,
            "std_epsilon": 0.1,
            "average": "sequences",
        },
        3,
    ),
    "ppo": (
        "ppo",
        {"critic_lr": 0.02, "clip": 0.2, "value_clip": 0.1, "gamma": 1.0, "gae_lambda": 1.0, "kl_coefficient": 0.2},
        2,
    ),
    "rebel": ("rebel", {"eta": 0.7}, 2),
    "reinforce-v_star": (
        "reinforce",
        {"baseline": "v_star", "beta2": 0.3, "kl_in_reward": True, "baseline_decay": 0.9},
        1,
    ),
    "reinforce-running_mean": (
        "reinforce",
        {"baseline": "running_mean", "beta2": 0.3, "kl_in_reward": True, "baseline_decay": 0.5},
        2,
    ),
    "oapl": ("oapl", {"beta1": 0.5, "beta2": 0.3, "sync_every": 3}, 3),
}
ANCHORS = {"rebel": "policy", "oapl": "lagged"}  # of the others: the reference
WITH_OLD = ("grpo", "ppo", "rebel")
WITH_V_STAR = ("a_star_po", "a_star_po-running", "reinforce-v_star")


def trainer(folder, name, **changes):
    """A trainer whose policy, reference, lagged weights and critic are all different."""
    method, hyperparameters, size = CASES[name]
    machine = case.MACHINE.changed(micro_batch=changes.pop("micro_batch", 2))
    estimate = EstimateSettings(beta1=0.5) if hyperparameters.get("value_update") == "running" else None
    made = case.trainer(
        folder,
        machine=machine,
        method=method,
        estimate=estimate,
        hyperparameters=hyperparameters,
        responses_per_prompt=size,
        prompts_per_batch=PROMPTS,
        max_grad_norm=1e9,
        lr_warmup_steps=0,
        sampling=SamplingSettings(temperature=TEMPERATURE, top_p=1.0, max_new_tokens=8),
        **changes,
    )
    torch.manual_seed(0)
    moved = list(made.engine.policy.model.parameters())
    if made.engine.lagged is not None:
        moved += made.engine.lagged.weights
    if made.engine.critic is not None:
        moved += made.engine.critic.module.parameters()
    with torch.no_grad():
        for weight in moved:
            weight += 0.1 * torch.randn_like(weight)
    prompts = [
        TrainingPrompt(f"p{i}", list(range(40, 42 + i)), "1", "integer", 0.15 + 0.2 * i, 8, i + 1)
        for i in range(PROMPTS)
    ]
    made.statistics = RunningStatistics(prompts, hyperparameters, estimate)
    made.statistics.reward_sum, made.statistics.reward_weight = 0.3, 0.5  # of earlier rollouts
    return made, prompts


def responses(prompts, size, nulls=()):
    """Graded responses, no two of them with the same length, reward, or log-probability of the sampler."""
    count = size * len(prompts)
    completions, grades = [], []
    for row in range(count):
        length = 1 + 5 * row % count  # every length from 1 to count once, in no order
        tokens = [3 + 8 * ((7 * row + 3 * t) % 30) for t in range(length)]
        completions.append(
            Completion(tokens, "", ("stop", "length")[row % 2], -1.5 * row, [-1.5 * row / length] * length)
        )
        reward = (1 + 7 * row % count) / (count + 1)
        known = Grade(reward, ("correct", "incorrect", "no_answer")[row % 3], None)
        grades.append(Grade(None, "error", None) if row in nulls else known)
    assert len({len(one.token_ids) for one in completions}) == count
    repeated = [prompt for prompt in prompts for _ in range(size)]
    return Responses(repeated, [row // size for row in range(count)], completions, grades)


def null_patterns(size):
    """Null grades at the first, a middle and the last row; all of a prompt's; all but one of a prompt's."""
    count = size * PROMPTS
    return [
        (),
        (0,),
        (count // 2,),
        (count - 1,),
        tuple(range(size, 2 * size)),
        tuple(range(size - 1)),
    ]


def rows_left(count, size, nulls):
    known = [row for row in range(count) if row not in nulls]
    if size == 1:
        return known
    return [row for row in known if sum(other // size == row // size for other in known) > 1]


def models_of(engine):
    """Copies as they are now, by name."""
    found = {"policy": copy.deepcopy(engine.policy.model), "reference": engine.reference.model}
    if engine.lagged is not None:
        found["lagged"] = copy.deepcopy(engine.policy.model)
        pairs = zip(found["lagged"].parameters(), engine.lagged.weights, strict=True)
        for parameter, weight in pairs:
            parameter.data = weight.clone()
    return found


def alone(model, prompt, tokens):
    """Log-probabilities of one response, from all logits of one sequence."""
    logits_SV = model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0].double()
    all_SV = (logits_SV / TEMPERATURE).log_softmax(-1)
    return torch.stack([all_SV[len(prompt) - 1 + t, token] for t, token in enumerate(tokens)])


def values_alone(critic, prompt, tokens):
    states_SH = critic.body(input_ids=torch.tensor([[*prompt, *tokens]])).last_hidden_state[0]
    return critic.head(states_SH)[len(prompt) - 1 : -1, 0].double()


def assert_rows(found_BT, expected):
    """Each row starts with its own numbers, and nothing follows them."""
    for row, numbers in zip(found_BT, expected, strict=True):
        filled = torch.zeros(len(row)).double()
        filled[: len(numbers)] = numbers
        assert torch.allclose(row.double(), filled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_each_row_has_its_own_numbers_under_the_right_model(tiny_folder, name):
    made, prompts = trainer(tiny_folder, name, updates_per_rollout=2)  # with one, old log-probabilities need no pass
    size = CASES[name][2]
    engine, models = made.engine, models_of(made.engine)
    known_values = known_v_star(name, prompts)
    for nulls in null_patterns(size):
        drawn = responses(prompts, size, nulls)
        rows = drawn.trainable_rows(size)
        assert rows == rows_left(size * PROMPTS, size, nulls)
        texts = [(drawn.prompts[row].token_ids, drawn.completions[row].token_ids) for row in rows]
        passes = make_passes(engine, made.settings, drawn, rows, PhaseClock())
        rollout, reference_BT = build_rollout(made.settings, drawn, passes, made.statistics), passes.reference_BT

        by_model = {key: [alone(model, *one) for one in texts] for key, model in models.items()}
        assert_rows(reference_BT, by_model["reference"])
        assert_rows(rollout.anchor_log_probs_BT, by_model[ANCHORS.get(name, "reference")])
        if name in WITH_OLD:
            assert_rows(rollout.old_log_probs_BT, by_model["policy"])
        else:
            assert rollout.old_log_probs_BT is None
        if name == "ppo":
            critic = engine.critic.module
            assert_rows(rollout.old_values_BT, [values_alone(critic, *one) for one in texts])
        else:
            assert rollout.old_values_BT is None
        own = [drawn.grades[row] for row in rows]
        completions = [drawn.completions[row] for row in rows]
        assert rollout.reward_B.tolist() == pytest.approx([one.reward for one in own])
        if name in WITH_V_STAR:
            wanted = [known_values[drawn.prompts[row].prompt_id] for row in rows]
            assert rollout.v_star_B.tolist() == pytest.approx(wanted)
        else:
            assert rollout.v_star_B is None
        assert rollout.prompt_ids == [f"p{row // size}" for row in rows]
        assert rollout.group_ids_B.tolist() == [row // size for row in rows]
        assert rollout.mask_BT.sum(-1).tolist() == [len(one.token_ids) for one in completions]
        assert rollout.running_mean == 0.6  # of the rollouts before; this one has taught nothing yet
    after = models_of(engine)  # whatever was lent is back in its place
    for key, model in models.items():
        pairs = zip(model.parameters(), after[key].parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs), key


def known_v_star(name, prompts):
    """Those of the prompts, or by the counts: 1/2 ln(1 - p + p e^2) with 1 to 4 of 8 right."""
    if name != "a_star_po-running":
        return {prompt.prompt_id: prompt.v_star for prompt in prompts}
    shares = {f"p{i}": (i + 1) / 8 for i in range(PROMPTS)}
    return {key: 0.5 * math.log(1 - p + p * math.exp(2.0)) for key, p in shares.items()}


# Losses and gradients, from formulas over single responses


def recorded_updates(made):
    """Let the engine make its updates as ever; keep the models before each, its rows, gradients and sums."""
    kept, update = [], made.engine.update

    def keep(parts, *others):
        critic = made.engine.critic
        before = copy.deepcopy(made.engine.policy.model), copy.deepcopy(critic)
        sums = update(parts, *others)
        models = [made.engine.policy.model, *([] if critic is None else [critic.module])]
        gradients = [weight.grad.clone() for model in models for weight in model.parameters()]
        kept.append((before, sorted(row for part in parts for row in part.rows), gradients, sums))
        return sums

    made.engine.update = keep
    return kept


class Expected:
    """The loss of some rows of a rollout, and its gradient.

    Args:
        name: of the case.
        models: as they were before the first update.
        drawn, rows: all that are trained on in this rollout.
        v_star: by prompt.
        critic: as it was before the first update.
    """

    def __init__(self, name, models, drawn, rows, v_star, critic):
        self.name, self.own, size = name, CASES[name][1], CASES[name][2]
        self.texts = [(drawn.prompts[row].token_ids, drawn.completions[row].token_ids) for row in rows]
        self.groups = [row // size for row in rows]
        self.rewards = [drawn.grades[row].reward for row in rows]
        self.v_star = [v_star[drawn.prompts[row].prompt_id] for row in rows]
        with torch.no_grad():
            self.log_probs = {key: [alone(model, *one) for one in self.texts] for key, model in models.items()}
            if critic is not None:
                self.values = [values_alone(critic.module, *one) for one in self.texts]

    def group_of(self, row):
        return [r for r, g in zip(self.rewards, self.groups, strict=True) if g == self.groups[row]]

    def loss(self, policy, critic, rows):
        """Of the update's rows, with the policy and the critic as they are before it."""
        log_probs = {row: alone(policy, *self.texts[row]) for row in rows}
        method = CASES[self.name][0]
        if method == "ppo":
            return self.ppo(log_probs, critic.module)
        if method == "rebel":
            return self.rebel(log_probs)
        terms = [getattr(self, method)(row, log_probs[row]) for row in rows]
        return sum(terms) / len(rows)

    def a_star_po(self, row, log_probs):
        ratio = (log_probs - self.log_probs["reference"][row]).sum()
        return (self.own["beta2"] * ratio - (self.rewards[row] - self.v_star[row])) ** 2

    def oapl(self, row, log_probs):
        group = self.group_of(row)
        p, beta1 = sum(group) / len(group), self.own["beta1"]
        value = beta1 * math.log(1 - p + p * math.exp(1 / beta1))
        ratio = (log_probs - self.log_probs["lagged"][row]).sum()
        return (self.own["beta2"] * ratio - (self.rewards[row] - value)) ** 2

    def reinforce(self, row, log_probs):
        base = self.v_star[row] if self.own["baseline"] == "v_star" else 0.6
        ratio = (log_probs.detach() - self.log_probs["reference"][row]).sum()
        return -(self.rewards[row] - base - self.own["beta2"] * ratio) * log_probs.sum()

    def grpo(self, row, log_probs):
        group = self.group_of(row)
        mean = sum(group) / len(group)
        deviation = math.sqrt(sum((r - mean) ** 2 for r in group) / (len(group) - 1))
        advantage = (self.rewards[row] - mean) / (deviation + self.own["std_epsilon"])
        ratio = (log_probs - self.log_probs["policy"][row]).exp()
        held = ratio.clamp(1 - self.own["clip"], 1 + self.own["clip_high"])
        away = self.log_probs["reference"][row] - log_probs
        kl = away.exp() - 1 - away
        return (-torch.min(advantage * ratio, advantage * held) + self.own["kl_coefficient"] * kl).mean()

    def rebel(self, log_probs):
        ratio = {row: (one - self.log_probs["policy"][row]).sum() for row, one in log_probs.items()}
        rows = sorted(log_probs)
        pairs = list(zip(rows[::2], rows[1::2], strict=True))
        assert all(self.groups[a] == self.groups[b] for a, b in pairs)
        gaps = [self.own["eta"] * (self.rewards[a] - self.rewards[b]) for a, b in pairs]
        squares = [(ratio[a] - ratio[b] - gap) ** 2 for (a, b), gap in zip(pairs, gaps, strict=True)]
        return sum(squares) / len(pairs)

    def ppo(self, log_probs, critic):
        """With gamma and lambda 1, an advantage is all reward from there on, less the value of the state."""
        returns = []
        for row in range(len(self.texts)):
            old, reference = self.log_probs["policy"][row], self.log_probs["reference"][row]
            reward = -self.own["kl_coefficient"] * (old - reference)
            reward[-1] += self.rewards[row]
            returns.append(reward.flip(0).cumsum(0).flip(0))
        advantages = [one - value for one, value in zip(returns, self.values, strict=True)]
        every = torch.cat(advantages)
        total, tokens = 0.0, sum(len(one) for one in log_probs.values())
        for row, one in log_probs.items():
            scaled = (advantages[row] - every.mean()) / (every.var() + 1e-8).sqrt()
            ratio = (one - self.log_probs["policy"][row]).exp()
            held = ratio.clamp(1 - self.own["clip"], 1 + self.own["clip"])
            total = total - torch.min(scaled * ratio, scaled * held).sum()
            value, old = values_alone(critic, *self.texts[row]), self.values[row]
            near = old + (value - old).clamp(-self.own["value_clip"], self.own["value_clip"])
            errors = torch.max((value - returns[row]) ** 2, (near - returns[row]) ** 2)
            total = total + 0.5 * errors.sum()
        return total / tokens


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("updates", [1, 2])
def test_each_update_has_the_loss_and_the_gradient_of_its_own_rows(tiny_folder, name, updates):
    made, prompts = trainer(tiny_folder, name, updates_per_rollout=updates, lr=0.02)
    size = CASES[name][2]
    drawn = responses(prompts, size, nulls=(1,) if size != 2 else (2, 3))
    rows = drawn.trainable_rows(size)
    critic = copy.deepcopy(made.engine.critic)
    models = models_of(made.engine)
    expected = Expected(name, models, drawn, rows, known_v_star(name, prompts), critic)
    kept = recorded_updates(made)
    made._update(drawn, make_passes(made.engine, made.settings, drawn, rows, PhaseClock()), 1, PhaseClock())
    assert len(kept) == updates
    assert sorted(row for _, share, _, _ in kept for row in share) == list(range(len(rows)))
    for (policy, its_critic), share, gradients, sums in kept:
        policy.zero_grad()
        weights = list(policy.parameters())
        if its_critic is not None:
            its_critic.module.zero_grad()
            weights += its_critic.module.parameters()
        loss = expected.loss(policy, its_critic, share)
        loss.backward()
        assert sums["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-5)
        wanted = [weight.grad for weight in weights]
        largest = max(float(one.abs().max()) for one in wanted)
        assert largest > 1e-2
        for found, one in zip(gradients, wanted, strict=True):
            assert torch.allclose(found, one, rtol=1e-3, atol=1e-4 * largest)


# What is carried from rollout to rollout


def test_a_rollout_is_told_the_mean_reward_of_the_ones_before_it(tiny_folder):
    own = {"baseline": "running_mean", "beta2": 0.3, "kl_in_reward": True, "baseline_decay": 0.5}
    made = case.trainer(tiny_folder, method="reinforce", hyperparameters=own)
    told = recorded_rollouts(made)
    with made.grader:
        for step in (1, 2, 3):
            made._step(step)
    first, second = (sum(one.reward for one in made.drawn[step].grades) / 8 for step in (1, 2))
    assert first != second != 0.0
    weighted = (0.25 * first + 0.5 * second) / 0.75
    for (rollout, targets), mean in zip(told, (0.0, first, weighted), strict=True):
        assert rollout.running_mean == pytest.approx(mean)
        advantages = [reward - mean for reward in rollout.reward_B.tolist()]
        assert targets["advantage_B"].tolist() == pytest.approx(advantages)


def test_a_rollout_is_told_the_values_that_the_ones_before_it_left(tiny_folder):
    """After reward r, c of 4 right are c + r - c/4; with beta1 = 1/2 that is 1/2 ln(1 + c/4 (e^2 - 1))."""
    own = {"beta2": 0.3, "value_update": "running"}
    made = case.trainer(tiny_folder, hyperparameters=own, estimate=EstimateSettings(beta1=0.5))
    told = recorded_rollouts(made)
    with made.grader:
        for step in (1, 2, 3):
            made._step(step)
    counts = {f"p{i}": float(i % 5) for i in range(16)}
    for (rollout, _), step in zip(told, (1, 2, 3), strict=True):
        wanted = [0.5 * math.log1p(counts[key] / 4 * (math.exp(2.0) - 1)) for key in rollout.prompt_ids]
        assert rollout.v_star_B.tolist() == pytest.approx(wanted)
        for key, one in zip(rollout.prompt_ids, made.drawn[step].grades, strict=True):
            counts[key] += one.reward - counts[key] / 4


def recorded_rollouts(made):
    kept, prepare = [], made.prepare

    def keep(rollout):
        kept.append((rollout, prepare(rollout)))
        return kept[-1][1]

    made.prepare = keep
    return kept
