"""Settings of adapters."""

from __future__ import annotations

from pydantic import Field

from astarpo.common.kinds import Count, LayerNames, Positive
from astarpo.common.settings import Section


class Lora(Section):
    """Train adapters beside the weights, which stay those of the reference."""

    rank: Count = Field(16, description="rank of the adapters' matrices")
    alpha: Positive = Field(32.0, description="the adapters' product is scaled by alpha / rank")
    targets: LayerNames = Field(
        "all-linear", description="layers with adapters, by the last part of their names; at least one"
    )
