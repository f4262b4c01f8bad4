"""The base type of settings: dumped by the workflow, read back by scripts, and validated."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from pydantic import Field

from astarpo.common.errors import InputError
from astarpo.common.kinds import Count, LearningRate
from astarpo.common.settings import Section, canonical_json


class Optimizer(Section):
    steps: Count
    lr: LearningRate = Field(1e-3)
    betas: tuple[float, float] = (0.9, 0.999)


class Entry(Optimizer):
    name: Literal["a", "b"] = "a"


def test_settings_are_read_as_they_were_written():
    settings = Optimizer(steps=3, lr=0.5, betas=(0.1, 0.2))
    text = canonical_json(settings)
    assert text == '{"betas":[0.1,0.2],"lr":0.5,"steps":3}'
    assert Optimizer.from_json(text) == settings


def test_equal_settings_are_equal_texts_in_any_order_of_keys():
    assert canonical_json({"b": 1, "a": {"d": 2, "c": 3}}) == canonical_json({"a": {"c": 3, "d": 2}, "b": 1})


def test_a_stage_takes_its_own_keys_out_of_an_entry():
    entry = Entry(steps=3, name="b")
    assert entry.only(Optimizer) == {"steps": 3, "lr": 1e-3, "betas": (0.9, 0.999)}
    assert Optimizer(**entry.only(Optimizer)).steps == 3


def test_a_change_is_checked_and_leaves_the_original_alone():
    settings = Optimizer(steps=3)
    assert settings.changed(lr=0.5) == Optimizer(steps=3, lr=0.5) and settings.lr == 1e-3
    with pytest.raises(ValueError, match="less than or equal to 1"):
        settings.changed(lr=2.0)
    with pytest.raises(ValueError, match="did you mean 'steps'"):
        settings.changed(step=1)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        ({}, "^--settings: steps is missing$"),
        ({"steps": 3, "stepss": 1}, "^--settings: unknown key 'stepss'; did you mean 'steps'"),
        ({"steps": 0, "lr": 2.0}, "^--settings: steps: .*; it is 0; lr: .*; it is 2.0$"),
        ({"steps": 3, "betas": [0.1]}, "^--settings: betas.1 is missing$"),
        ([1], "^--settings is not a JSON object"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(read, said):
    with pytest.raises(InputError, match=said):
        Optimizer.from_json(json.dumps(read))


def test_text_that_is_not_json_is_said_with_the_option():
    with pytest.raises(InputError, match="^--machine is not a JSON object .*line 1"):
        Optimizer.from_json("{steps", "--machine")
