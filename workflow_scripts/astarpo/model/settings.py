"""Settings of adapters."""

from __future__ import annotations

from typing import Literal

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
    base_precision: Literal["float32", "bfloat16", "nf4"] = Field(
        "float32",
        description="precision of the frozen weights, which are also the reference: bfloat16 halves their memory; nf4 "
        "(4 bits, needs bitsandbytes) makes it an eighth. Both need precision bfloat16. The exported model has the "
        "weights as rounded, with the adapters added, in float32",
    )


def packages_of(lora: Lora | None) -> list[str]:
    """Return the optional packages that adapters need."""
    if lora is None:
        return []
    return ["peft", "bitsandbytes"] if lora.base_precision == "nf4" else ["peft"]
