"""The scale kappa of V* as a baseline: r - kappa V*(x).

Every baseline b(x) leaves the policy gradient E[(r - b) s], s = grad ln pi(y|x), as it is, but its noise
E[|s|^2 (r - b)^2] depends on b, and the constant with the least noise is b* = E[|s|^2 r] / E[|s|^2] (Greensmith,
Bartlett and Baxter, JMLR 5, 2004). Where wrong responses are more surprising than correct ones, b* is far below the
pass rate, and V* is above it. So

    kappa = E[|s|^2 r] / E[|s|^2 V*(x)],

with which the mean of kappa V*, weighted by |s|^2, is b*.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.common.kinds import BelowOne, Count, NotNegative
from astarpo.common.settings import Section

ValueScaleSetting = Annotated[NotNegative | Literal["adaptive"], Field(union_mode="left_to_right")]


class ValueScaleSettings(Section):
    """How V* is scaled before it is subtracted from the reward."""

    value_scale: ValueScaleSetting = Field(
        1.0,
        description="the advantage is r - value_scale V*; 1: the paper; `adaptive`: the scale of least noise so far",
    )
    value_scale_decay: BelowOne = Field(
        0.9, description="factor by which the weight of a rollout in an `adaptive` scale decays with each later one"
    )
    score_norm: Literal["surprisal", "exact"] = Field(
        "surprisal",
        description="weight of a response in an `adaptive` scale: its surprisal -ln pi(y|x), or the squared norm of "
        "its score, grad ln pi(y|x), which costs a backward pass for each response measured",
    )
    score_norm_responses: Count = Field(16, description="responses of each rollout that `exact` measures")


VALUE_SCALE_SETTINGS = tuple(ValueScaleSettings.model_fields)
