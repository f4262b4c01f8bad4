"""The weights after chosen steps: which ones, through a kill and a resume, and in the folders that are exported."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import training_case as case
from test_export import data, train  # noqa: F401 (a fixture)

from astarpo.common.errors import InputError
from astarpo.common.files import read_json, sha256
from astarpo.common.settings import canonical_json
from astarpo.model import checkpoints
from astarpo.model.files import described_folder
from astarpo.model.world import World
from astarpo.training.kept_steps import KeptSteps, load_weights, path_of
from astarpo.training.settings import Keep, StopWhen

STEPS = (1, 2, 3)
WEIGHTS = "model/model.safetensors"


def trainer(folder, **changes):
    """A trainer of four steps that keeps three, and remembers its weights after each."""
    made = case.trainer(folder, keep=Keep(steps=STEPS), validate_every=9, **changes)
    made.weights_after = case.remember_weights(made)
    return made


def kept(made, scratch):
    """The kept weights of each step, as `case.weights` has them."""
    names = [name for name, _ in made.engine.policy.model.named_parameters()]
    files = {step: load_weights(path) for step, path in made.kept.files(scratch).items()}
    return {step: torch.cat([named[name].reshape(-1) for name in names]) for step, named in files.items()}


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory):
    """An undisturbed training: its trainer and its folder of checkpoints."""
    made, scratch = trainer(tiny_folder), tmp_path_factory.mktemp("whole")
    made.run(scratch)
    return made, scratch


def test_the_weights_after_the_chosen_steps_are_kept(whole):
    made, scratch = whole
    found = kept(made, scratch)
    assert list(found) == [1, 2, 3]
    assert all(torch.equal(found[step], made.weights_after[step]) for step in STEPS)
    assert not any(torch.equal(found[step], made.weights_after[step + 1]) for step in STEPS)
    # Tied weights share their memory, as in the model.
    live, saved = made.engine.full_weights(), load_weights(path_of(scratch, 1))
    tied = {(a, b) for a in live for b in live if live[a].data_ptr() == live[b].data_ptr()}
    assert {(a, b) for a in saved for b in saved if saved[a].data_ptr() == saved[b].data_ptr()} == tied


def test_a_resumed_training_has_all_of_them_to_the_bit(whole, tiny_folder, tmp_path):
    """A step before the checkpoint, the checkpoint's own step, and one after it."""
    machine = case.MACHINE.changed(checkpoint_every=2)
    case.kill_at(trainer(tiny_folder, machine=machine), 4, tmp_path)
    resumed = trainer(tiny_folder, machine=machine)
    resumed.run(tmp_path)
    assert list(resumed.weights_after) == [3, 4]
    found = kept(resumed, tmp_path)
    assert all(torch.equal(found[step], whole[0].weights_after[step]) for step in STEPS)


def test_weights_that_are_not_finite_are_not_kept(tmp_path):
    engine = SimpleNamespace(world=World(), full_weights=lambda: {"q": torch.tensor([1.0, float("nan")])})
    with pytest.raises(FloatingPointError, match="q"):
        KeptSteps([5]).update(5, engine, tmp_path)
    assert not path_of(tmp_path, 5).exists()


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_finished_training_without_a_kept_file_does_not_go_on(whole, tmp_path, damage):
    made, finished = whole
    scratch = shutil.copytree(finished, tmp_path / "copy")
    path = path_of(scratch, 1)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    again = KeptSteps(STEPS)
    _, state = checkpoints.load_newest(scratch)
    with pytest.raises(InputError, match=rf"step-000001\.pt: .* missing or have changed.*; delete {scratch} and run"):
        again.load_state(state["kept"], scratch)
    again.load_state(state["kept"], scratch, is_first=False)  # the others neither read nor write them
    assert again.checksums == made.kept.checksums


def test_the_folder_of_a_step_is_that_of_a_training_of_so_many_steps(data, monkeypatch):  # noqa: F811
    steps = str(data / "long/steps")
    long = train(data, "long", monkeypatch, steps=2, keep=Keep(steps=(1,)), more={"out-steps": steps})
    short = train(data, "short", monkeypatch, steps=1)
    manifest, of_step = read_json(long / "manifest.json"), read_json(long / "steps/1/manifest.json")
    assert sha256(long / "steps/1" / WEIGHTS) == sha256(short / WEIGHTS) != sha256(long / WEIGHTS)
    assert described_folder(long / "steps/1/manifest.json") == long / "steps/1/model"
    assert manifest["outputs"]["step-1"] == of_step["outputs"]["model"]
    assert (of_step["step"], of_step["reached"], of_step["exported_step"]) == (1, True, 1)
    assert of_step["settings"] == manifest["settings"] and of_step["seed"] == manifest["seed"]
    assert "after step 1 of 2" in (long / "steps/1/model/README.md").read_text()
    assert manifest["exported_step"] == 2 and "reached" not in manifest


def test_a_step_that_was_not_reached_says_so_and_has_the_exported_weights(data, monkeypatch):  # noqa: F811
    changes = {"keep": Keep(steps=(1, 4)), "stop_when": StopWhen(kl_per_sequence=1e-9)}
    ended = train(data, "ended", monkeypatch, steps=5, **changes, more={"out-steps": str(data / "ended/steps")})
    manifest = read_json(ended / "steps/4/manifest.json")
    assert (manifest["step"], manifest["reached"], manifest["exported_step"]) == (4, False, 2)
    # Step 1 is on-policy, so its divergence is 0.
    assert sha256(ended / "steps/4" / WEIGHTS) == sha256(ended / WEIGHTS) != sha256(ended / "steps/1" / WEIGHTS)
    assert read_json(ended / "steps/1/manifest.json")["reached"] is True


def test_kept_steps_need_a_folder_before_anything_is_trained(data, monkeypatch):  # noqa: F811
    with pytest.raises(InputError, match="give --out-steps FOLDER"):
        train(data, "without", monkeypatch, keep=Keep(steps=(1,)))


@pytest.mark.parametrize(
    ("keep", "text"),
    [
        (None, "null"),
        (Keep(best="validation_reward"), '{"best":"validation_reward"}'),
        (Keep(steps=(1, 2)), '{"steps":[1,2]}'),
    ],
)
def test_settings_without_kept_steps_are_the_text_that_they_were(keep, text):
    settings = case.SETTINGS.changed(keep=keep)
    assert f'"keep":{text},' in canonical_json(settings)
    assert type(settings).from_json(canonical_json(settings)) == settings
    assert json.loads(settings.model_dump_json())["keep"] == json.loads(text)


@pytest.mark.parametrize("steps", [(), (0, 1), (2, 2), (3, 2), (-1,)])
def test_steps_must_ascend_from_1(steps):
    with pytest.raises(ValueError, match="each later than the one before it"):
        Keep(steps=steps)
