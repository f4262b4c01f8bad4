"""What a validation keeps to be read: whose responses, with which rewards, and that a kill loses none of it."""

import json
import threading
from dataclasses import dataclass, field

import pytest
import training_case as case

from astarpo.common.columns import ROLLOUTS
from astarpo.common.files import read_table, write_table
from astarpo.model.world import World
from astarpo.training.phases import PhaseClock
from astarpo.training.validation import Validation


def validation(made, count, **changes):
    """The validation of a trainer, on the first ``count`` of its training prompts."""
    settings = made.settings.changed(**changes)
    return Validation(made.prompts[:count], made.engine, made.grader, settings, made.seed)


def validated(made, count, **changes):
    with made.grader:
        return validation(made, count, **changes).run(3, made.sampler, PhaseClock())


def test_the_responses_to_the_first_prompts_are_kept_with_their_rewards(tiny_folder):
    made = case.trainer(tiny_folder)
    every = validated(made, 6, kept_rollouts=6)
    assert [row["prompt_id"] for row in every.rollouts] == [f"p{i}" for i in range(6)]
    assert every.reward == sum(row["reward"] for row in every.rollouts) / 6
    assert len({row["reward"] for row in every.rollouts}) > 1
    assert len({row["response"] for row in every.rollouts}) > 1
    for row in every.rollouts:
        assert row["step"] == 3 and row["gold"] == "1"
        assert row["status"] == ("correct" if row["reward"] else "incorrect")
        assert row["n_tokens"] == 8 if row["finish_reason"] == "length" else row["n_tokens"] <= 8


def test_how_many_are_kept_changes_no_number(tiny_folder):
    made = case.trainer(tiny_folder)
    every = validated(made, 6, kept_rollouts=8)
    for kept in (0, 1, 4):
        some = validated(made, 6, kept_rollouts=kept)
        assert some.reward == every.reward and list(some.rollouts) == every.rollouts[:kept]


@dataclass(frozen=True)
class Thread(World):
    """A process that is a thread, so that a test needs no communication library."""

    meeting: threading.Barrier | None = None
    items: list = field(default_factory=list)

    def gather(self, item):
        self.items[self.rank] = item
        self.meeting.wait(60)
        gathered = list(self.items)
        self.meeting.wait(60)
        return gathered


@pytest.mark.parametrize("kept", [1, 4])
def test_several_processes_keep_what_one_keeps(tiny_folder, kept):
    alone = validated(case.trainer(tiny_folder), 5, kept_rollouts=kept)
    meeting, items, found = threading.Barrier(2), [None, None], {}
    makers = [case.trainer(tiny_folder) for _ in range(2)]  # transformers does not load models in two threads at once

    def process(rank):
        makers[rank].engine.world = Thread(rank, 2, None, meeting, items)
        found[rank] = validated(makers[rank], 5, kept_rollouts=kept)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == alone and len(alone.rollouts) == kept


def test_kept_rollouts_outlive_a_kill(tiny_folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    whole = case.trainer(tiny_folder).run(tmp_path / "a")
    assert [(row["step"], row["prompt_id"]) for row in whole.rollouts] == [
        (step, prompt) for step in (0, 2, 4) for prompt in ("p0", "p1")
    ]
    case.kill_at(case.trainer(tiny_folder), 4, tmp_path / "b")
    resumed = case.trainer(tiny_folder).run(tmp_path / "b")
    assert json.dumps(resumed.rollouts) == json.dumps(whole.rollouts)
    write_table(tmp_path / "rollouts.parquet", resumed.rollouts, ROLLOUTS)
    assert read_table(tmp_path / "rollouts.parquet", ROLLOUTS).to_pylist() == whole.rollouts


def test_without_validation_prompts_nothing_is_kept(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder, steps=1)
    made.validation.prompts = []
    history = made.run(tmp_path)
    assert history.rollouts == [] and history.metrics[1]["validation_reward"] is None
    write_table(tmp_path / "rollouts.parquet", history.rollouts, ROLLOUTS)
    assert read_table(tmp_path / "rollouts.parquet", ROLLOUTS).num_rows == 0
