"""When a training ends, by hand on series of numbers; which weights it exports; and that a kill changes neither."""

import json

import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.training.best_weights import best_step
from astarpo.training.endings import ending
from astarpo.training.settings import Keep, StopWhen
from astarpo.training.validation import Validated

BEST = Keep(best="validation_reward")


def rows(rewards, kl=0.0):
    """A validation after every step, and step 0."""
    columns = {"validation_reward": None, "generated_tokens": 10, "kl_per_sequence": kl}
    return [{**columns, "step": step, "validation_reward": reward} for step, reward in enumerate(rewards)]


def ends(rewards, kl=0.0, steps=99, tokens=None, **stop):
    settings = case.SETTINGS.changed(steps=steps, max_generated_tokens=tokens, stop_when=StopWhen(**stop))
    return ending(rows(rewards, kl), settings)


@pytest.mark.parametrize(
    ("rewards", "count", "ended"),
    [
        ([0.3, 0.5, 0.42], 1, False),
        ([0.3, 0.5, 0.42, 0.39], 1, True),
        ([0.3, 0.5, 0.42, 0.39], 2, False),
        ([0.3, 0.5, 0.42, 0.39, 0.38], 2, True),
        ([0.3, 0.5, 0.39, 0.45, 0.38], 2, False),  # between them it recovered
        ([0.3, 0.5, 0.39, None, None, 0.38], 2, True),  # steps without a validation do not count
        ([0.5, 0.39, 0.6, 0.45], 2, False),  # a new best between them
        ([0.6, 0.4], 3, False),
        ([0.5, 0.41, 0.6], 1, False),
        ([0.8, 0.7], 1, False),  # 0.8 - 0.7 is a little above 0.1 in floating point
        ([0.2], 1, False),
        ([None, None], 1, False),
    ],
)
def test_a_validation_that_stays_below_its_best(rewards, count, ended):
    found = ends(rewards, validation_below_best=0.1, for_validations=count)
    assert found == ("validation_below_best" if ended else None)


def test_a_kl_beyond_the_limit():
    assert ends([0.5, 0.5], kl=4.0, kl_per_sequence=4.0) is None
    assert ends([0.5, 0.5], kl=4.1, kl_per_sequence=4.0) == "kl_per_sequence"
    assert ends([0.5, 0.5], kl=None, kl_per_sequence=4.0) is None
    assert ends([0.5, 0.5], kl=4.1, validation_below_best=0.1) is None


def test_steps_and_tokens_end_it_as_before():
    assert ends([0.5] * 4, steps=3) == "steps" and ends([0.5] * 3, steps=3) is None
    assert ends([0.5] * 4, tokens=40) == "max_generated_tokens" and ends([0.5] * 4, tokens=41) is None
    # The last step is no early end.
    assert ends([0.5, 0.1], kl=9.0, steps=1, kl_per_sequence=1.0, validation_below_best=0.1) == "steps"
    assert ending(rows([0.5, 0.1]), case.SETTINGS.changed(steps=1)) == "steps"


def test_the_best_step_is_the_earliest_of_equal_ones():
    assert best_step(rows([0.2, 0.5, None, 0.5, 0.4])) == 1
    assert best_step(rows([0.6, 0.5, 0.6])) == 0
    assert best_step(rows([0.2, None, 0.3])) == 2
    assert best_step(rows([None])) is None


REWARDS = (0.2, 0.4, 0.5, 0.5, 0.3, 0.1)  # by step


def trainer(folder, rewards=REWARDS, **changes):
    """A trainer whose validations find these rewards, which a random model could not be made to have."""
    settings = {"keep": BEST, "steps": len(rewards) - 1, "validate_every": 1, **changes}
    made = case.trainer(folder, **settings)
    made.validation.run = lambda step, *_: Validated(rewards[step])
    made.weights_after = case.remember_weights(made)
    return made


def exported(made):
    step, named = made.exported()
    return step, torch.cat([named[name].reshape(-1) for name, _ in made.engine.policy.model.named_parameters()])


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory):
    """An undisturbed training."""
    made = trainer(tiny_folder)
    made.run(tmp_path_factory.mktemp("whole"))
    return made


def test_the_best_weights_are_exported_and_outlive_their_checkpoint(whole):
    step, weights = exported(whole)
    assert step == 2 and torch.equal(weights, whole.weights_after[2])
    assert not torch.equal(weights, whole.weights_after[3])


@pytest.mark.parametrize(("every", "kill"), [(1, 5), (2, 4), (4, 4)])
def test_a_kill_changes_no_exported_weight(whole, tiny_folder, tmp_path, every, kill):
    """From the newest checkpoint, from one of the best step, and from the beginning."""
    machine = case.MACHINE.changed(checkpoint_every=every)
    case.kill_at(trainer(tiny_folder, machine=machine), kill, tmp_path)
    resumed = trainer(tiny_folder, machine=machine)
    history = resumed.run(tmp_path)
    assert json.dumps(history.metrics) == json.dumps(whole.history.metrics)
    step, weights = exported(resumed)
    assert step == 2 and torch.equal(weights, whole.weights_after[2])
    assert (2 in resumed.weights_after) == (every == 4)


def test_without_keep_the_last_weights_are_exported(tiny_folder, tmp_path):
    made = trainer(tiny_folder, REWARDS[:4], keep=None)
    made.run(tmp_path)
    step, weights = exported(made)
    assert step == 3 and torch.equal(weights, made.weights_after[3])


def test_a_training_that_never_improves_exports_its_reference(tiny_folder, tmp_path):
    made = trainer(tiny_folder, (0.5, 0.5, 0.4))
    before = case.weights(made).clone()
    made.run(tmp_path)
    step, weights = exported(made)
    assert step == 0 and torch.equal(weights, before)


def test_tied_weights_stay_tied(tiny_folder, tmp_path):
    made = trainer(tiny_folder, (0.2, 0.5))
    made.run(tmp_path)
    live, kept = made.engine.full_weights(), made.exported()[1]
    tied = {(a, b) for a in live for b in live if live[a].data_ptr() == live[b].data_ptr()}
    assert {(a, b) for a in kept for b in kept if kept[a].data_ptr() == kept[b].data_ptr()} == tied


def test_a_collapsed_training_ends_early_and_does_not_go_on(tiny_folder, tmp_path, capsys):
    stop = StopWhen(validation_below_best=0.15, for_validations=2)
    made = trainer(tiny_folder, (*REWARDS, 0.1, 0.1), stop_when=stop)
    history = made.run(tmp_path)
    assert [row["step"] for row in history.metrics] == [0, 1, 2, 3, 4, 5]
    assert ending(history.metrics, made.settings) == "validation_below_best"
    assert "ends early, after step 5 of 7: stop_when.validation_below_best" in capsys.readouterr().out
    again = trainer(tiny_folder, (*REWARDS, 0.1, 0.1), stop_when=stop)
    assert again.run(tmp_path).metrics == history.metrics and again.weights_after == {}
    step, weights = exported(again)
    assert step == 2 and torch.equal(weights, made.weights_after[2])


def test_a_kl_beyond_the_limit_ends_it_after_a_validation(tiny_folder, tmp_path):
    free = case.trainer(tiny_folder, validate_every=99).run(tmp_path / "a")
    kl = [row["kl_per_sequence"] for row in free.metrics]
    assert 0 < kl[2] < kl[3]
    stop = StopWhen(kl_per_sequence=kl[2])
    made = case.trainer(tiny_folder, validate_every=99, stop_when=stop)
    history = made.run(tmp_path / "b")
    assert history.metrics[:3] == free.metrics[:3] and history.metrics[-1]["step"] == 3
    assert ending(history.metrics, made.settings) == "kl_per_sequence"
    assert history.metrics[-1]["validation_reward"] is not None


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"keep": BEST}, "keep.best"), ({"stop_when": StopWhen(validation_below_best=0.1)}, "stop_when.validation_below")],
)
def test_what_needs_a_validation_is_refused_without_one(tiny_folder, changes, key):
    made = case.trainer(tiny_folder, **changes)
    with pytest.raises(InputError, match=key):
        type(made)(made.engine, made.sampler, made.prompts, [], made.settings, made.machine, 0)


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
