"""Numbers of a step by hand: tokens per second, shares of the peak, idle time; and those of a whole training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import training_case as case
from test_shared_prefix import PROMPTS, RESPONSES

from astarpo.common import code
from astarpo.memory.check import shape_of_folder
from astarpo.memory.shape import ModelShape
from astarpo.model.world import World
from astarpo.rewards.grading import Grade
from astarpo.sampling import Completion
from astarpo.training import peak_flops, speed
from astarpo.training.flops import Lengths, pass_flops
from astarpo.training.metrics import TIMINGS
from astarpo.training.peak_flops import Peak, measured_flops, peak_of
from astarpo.training.phases import PhaseClock
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.rollouts import Responses
from astarpo.training.speed import Read, Speed, Work

PPO = {"kl_coefficient": 0.1, "clip": 0.2, "value_clip": 0.5, "gamma": 1.0, "gae_lambda": 1.0, "critic_lr": 1e-3}
# 1,000 weights in the layers' matrices and as many in a tied head; 2 layers, queries 10 wide.
SHAPE = ModelShape(2, 100, 10, 2, 1, 5, 10, True, 2000)
LENGTHS = Lengths([4, 6], [6, 4])
# 20 tokens through the layers, 10 through the head, and each of two sequences of 10 sees half of 10 x 10 pairs.
BODY, HEAD = 2 * 1000 * 20 + 2 * (4 * 2 * 10 * 10 * 5), 2 * 1000 * 10


def test_flops_of_a_pass():
    assert pass_flops(SHAPE, LENGTHS) == BODY + HEAD
    assert pass_flops(SHAPE, LENGTHS, head=False) == BODY


def test_longer_sequences_have_more_pairs():
    assert pass_flops(SHAPE, Lengths([0], [20])) - pass_flops(SHAPE, Lengths([0, 0], [10, 10])) == 4 * 2 * 10 * 100


@pytest.mark.parametrize(
    ("passes", "frozen", "reference", "update"),
    [
        ({"reference": 1}, False, BODY + HEAD, 3 * (BODY + HEAD)),
        ({"reference": 2}, True, 2 * (BODY + HEAD), 2 * (BODY + HEAD)),
        ({"metrics": 1}, False, 0, 3 * (BODY + HEAD)),
        ({"reference": 2, "critic": 1}, False, 3 * BODY + 2 * HEAD, 6 * BODY + 3 * HEAD),
    ],
    ids=["reference", "adapters", "only for metrics", "critic"],
)
def test_work_of_the_phases(passes, frozen, reference, update):
    work = Work(Counter(passes), Lengths([4, 6, 0], [6, 4, 10]), LENGTHS)
    third = 2 * 2000 * 10 + 4 * 2 * 10 * 10 * 5
    assert work.flops(SHAPE, frozen) == {"generate": BODY + HEAD + third, "reference": reference, "update": update}
    assert work.tokens() == {"generate": 20, "reference": 20 if reference else 0, "update": 20}


def responses(lengths):
    prompts = [TrainingPrompt(f"p{n}", [1] * n, "", "exact", 0.0, n=1, n_correct=1) for n in lengths.prompts]
    drawn = [Completion([2] * n, "", "stop", -1.0, [-0.1] * n) for n in lengths.responses]
    return Responses(prompts, [0, 1], drawn, [Grade(1.0, "correct", None)] * 2)


def spent(**seconds):
    clock = PhaseClock()
    clock.seconds.update(seconds)
    clock.passes["reference"] = 1
    return clock


def stepped(monkeypatch, clock, world=None, shape=SHAPE):
    """The row of a step that ended 20 seconds after the one before; the device's peak is 1 MFLOP/s."""
    made = Speed(shape, case.SETTINGS, world or World(), "cpu")
    made.ended, made.peak = 100.0, Peak(1e6, "by hand") if shape else None
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: 120.0))
    return made.timings(clock, responses(LENGTHS), [0, 1], Read(12, 20, shares=True))


def test_a_step_by_hand(monkeypatch):
    clock = spent(generate=4.0, grade=2.0, reference=1.0, update=5.0, validate=8.0)
    clock.waited = 2.0
    row = stepped(monkeypatch, clock)
    assert row["step_seconds"] == 12.0
    assert row["wall_seconds"] == 12.0  # 20 without the 8 of the validation
    assert row["idle_share"] == pytest.approx(2 / 12)
    assert row["generate_tokens_per_second"] == 10 / 4 and "grade_tokens_per_second" not in row
    assert row["reference_tokens_per_second"] == 20 / 1 and row["update_tokens_per_second"] == 20 / 5
    assert row["tokens_per_second"] == pytest.approx(10 / 12)
    assert row["generate_mfu"] == pytest.approx((BODY + HEAD) / 4e6)
    assert row["reference_mfu"] == pytest.approx((BODY + HEAD) / 1e6)
    assert row["update_mfu"] == pytest.approx(3 * (BODY + HEAD) / 5e6)
    assert row["mfu"] == pytest.approx(5 * (BODY + HEAD) / 12e6)
    assert row["peak_flops"] == 1e6
    assert row["read_tokens"] == 12 and row["padded_tokens"] == 20
    assert row["allocated_bytes"] is None and row["peak_memory_bytes"] > 10**6  # no GPU, but RAM


def test_what_a_pass_reads_is_said_once(monkeypatch, capsys):
    made = Speed(None, case.SETTINGS, World(), "cpu")
    for read in (Read(1250, 5000, shares=True), Read(1000, 5000, shares=True)):
        made.timings(spent(), responses(LENGTHS), [0, 1], read)
    assert capsys.readouterr().out == (
        "a pass over the first step's rows reads 1,250 tokens in place of 5,000: "
        "75% less, as padding or what rows share\n"
    )
    everything = "a pass over the first step's rows reads all 20 tokens: they are padded, and "
    assert str(Read(20, 20, shares=True)) == f"{everything}share no beginning and no prompts of 16 tokens"
    assert str(Read(20, 20, shares=False)) == f"{everything}are read apart"


@pytest.mark.parametrize("way", ["cached", "laid", "packed", "apart"])
def test_what_a_pass_reads_by_hand(tiny_folder, way):
    """Rows of 43 + 1, 41 + 5 and 45 + 2 tokens that begin with 40; the first of a response ends it here."""
    engine = case.trainer(tiny_folder, machine=case.MACHINE.changed(micro_batch=3, packing=way == "packed")).engine
    engine.share_prefix, engine.lays_out = way == "cached", way == "laid"
    read = Read.of(engine, engine.micro_batches(PROMPTS, RESPONSES, range(3)))
    tokens = {"cached": 40 + 3 * 7, "laid": 40 + 4 + 6 + 7, "packed": 44 + 46 + 47, "apart": 3 * 47}[way]
    assert read == Read(tokens, 3 * 47, shares=way in ("cached", "laid"))


def test_what_another_device_draws_is_no_work_of_this_one(monkeypatch):
    settings = case.SETTINGS.changed(pipeline={"lag": 1})
    monkeypatch.setattr(case, "SETTINGS", settings)
    row = stepped(monkeypatch, spent(generate=4.0, reference=1.0, update=5.0))
    assert "generate_tokens_per_second" not in row and "generate_mfu" not in row
    assert row["tokens_per_second"] == pytest.approx(10 / 20)
    assert row["mfu"] == pytest.approx(4 * (BODY + HEAD) / 20e6)


def test_time_in_no_phase_is_idle(monkeypatch):
    row = stepped(monkeypatch, spent(generate=4.0, reference=1.0, metrics=1.0, update=4.0))
    assert row["wall_seconds"] == 20.0 and row["idle_share"] == pytest.approx(0.5)


def test_without_a_reference_there_is_no_rate_of_its_pass(monkeypatch):
    clock = spent(generate=4.0, reference=1e-6, update=4.0)
    clock.passes["reference"] = 0
    row = stepped(monkeypatch, clock)
    assert row["reference_tokens_per_second"] is None and row["reference_mfu"] is None


def test_of_an_unknown_architecture_only_tokens_are_counted(monkeypatch):
    row = stepped(monkeypatch, spent(generate=4.0, update=4.0), shape=None)
    assert row["generate_tokens_per_second"] == 2.5 and "mfu" not in row
    assert Speed(ModelShape.of_unknown(10), case.SETTINGS, World(), "cpu").shape is None


class TwoRanks(World):
    """A process whose partner, for half of the step, has nothing to do, and has used more memory."""

    def gather(self, item):
        return [item, (10**15, 7, 9, item[3] + 0.5)]


def test_the_peak_is_that_of_all_devices_and_idle_time_their_mean(monkeypatch):
    clock = spent(generate=10.0, update=10.0)
    alone = stepped(monkeypatch, clock)
    row = stepped(monkeypatch, clock, TwoRanks(0, 2))
    assert row["update_mfu"] == alone["update_mfu"] / 2 and row["mfu"] == alone["mfu"] / 2
    assert row["idle_share"] == pytest.approx(0.25)
    assert row["peak_memory_bytes"] == 10**15
    assert row["allocated_bytes"] is None  # not known of all


def test_waiting_and_computing_phases():
    clock = PhaseClock()
    with clock.phase("update"):
        pass
    assert clock.waited == 0
    with clock.phase("grade", waits=True):
        pass
    assert clock.waited == clock.seconds["grade"] > 0


def test_a_known_cards_peak_is_its_makers(monkeypatch):
    h100 = SimpleNamespace(name="NVIDIA H100 80GB HBM3", total_memory=85_029_158_912)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: h100)
    assert peak_of.__wrapped__("cuda", "bfloat16") == Peak(989e12, "the maker's number for H100")


def test_a_measured_peak_is_that_of_the_shortest_product(monkeypatch):
    times = iter([0, 0, 0.2, 0.2, 1, 1.05, 1.05])  # two products, of 0.2 and 0.05 seconds
    monkeypatch.setattr(peak_flops, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    monkeypatch.setitem(peak_flops.SIZES, "cpu", 4)
    assert measured_flops("cpu", torch.float32) == pytest.approx(2 * 4**3 / 0.05)


def test_a_training_records_all_of_it(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder, method="ppo", hyperparameters=PPO, updates_per_rollout=2)
    made.speed = Speed(shape_of_folder(tiny_folder), made.settings, World(), "cpu")
    rows = made.run(tmp_path).timings[1:]
    known = set(TIMINGS.names) - {"validate_seconds", "allocated_bytes", "reserved_bytes"}
    assert [[name for name in known if row[name] is None] for row in rows] == [[]] * 4
    assert all(0 < row["idle_share"] < 1 and row["wall_seconds"] > row["step_seconds"] for row in rows)
    for step, row in enumerate(rows, start=1):
        drawn = made.drawn[step]
        lengths = [len(p.token_ids) + len(c.token_ids) for p, c in zip(drawn.prompts, drawn.completions, strict=True)]
        answered = sum(len(one.token_ids) for one in drawn.completions)
        shape = made.speed.shape
        body = 2 * shape.linear * sum(lengths) + sum(2 * shape.layers * shape.query_width * n * n for n in lengths)
        head = 2 * shape.embeddings * answered
        assert row["update_mfu"] * row["update_seconds"] * row["peak_flops"] == pytest.approx(6 * body + 3 * head)
        work = 3 * body + 2 * head  # reference, old policy and critic
        assert row["reference_mfu"] * row["reference_seconds"] * row["peak_flops"] == pytest.approx(work)
        assert row["generate_tokens_per_second"] * row["generate_seconds"] == pytest.approx(answered)
        assert row["update_tokens_per_second"] * row["update_seconds"] == pytest.approx(sum(lengths))


def test_what_measures_is_not_part_of_a_trainings_code():
    modules = code.read_code("train_policy").modules
    measuring = {"speed", "trace", "flops", "peak_flops"}
    assert not {f"astarpo/training/{name}.py" for name in measuring} & set(modules)
    assert "astarpo/common/cards.py" not in modules and "astarpo/training/phases.py" in modules
    files = [code.SCRIPTS / f"{name.replace('.', '/')}.py" for name in code.MEASURING]
    assert all(file.is_file() for file in files)


def test_shapes_without_layers_are_unknown():
    assert Speed(replace(SHAPE, layers=0), case.SETTINGS, World(), "cpu").shape is None
