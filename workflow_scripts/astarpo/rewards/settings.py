"""Settings of grading."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from astarpo.common.kinds import Count, Positive, Share
from astarpo.common.settings import Section


class GradingSettings(Section):
    """How verdicts become rewards."""

    truncated: Literal["incorrect", "as_judged"] = Field(
        "incorrect",
        description="a response cut at max_new_tokens is wrong, or judged like any other",
    )
    max_null_rate: Share = Field(
        0.02,
        description="the stage fails if more of the last 1,000 grades are null (timeout, error)",
    )
    min_nulls: Count = Field(20, description="fewer null grades than this never fail a stage")
    timeout_s: Positive = Field(
        5.0,
        description="CPU seconds that judging one response may take, however busy the machine is; more is a null grade",
    )
    wall_timeout_s: Positive | None = Field(
        None,
        description="wall-clock seconds that it may take, for verifiers that wait; null is ten times `timeout_s`, "
        "and at least 60",
    )
    deterministic: bool = Field(
        True,
        description="a custom verifier gives a response the same grade every time: 32 responses are graded twice, and "
        "the stage fails if two grades differ; false for one that may differ, such as a judge model",
    )
