"""How many operations and casts the parts of a training dispatch; waits are counted in `second_device_steps`.

The numbers are exact for the pinned torch and transformers: fewer are to be written down anew, and more need a reason.
On a GPU each operation is a kernel or more, and starting it takes longer than running it where a model is small.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dispatches import WAYS, Counted, costs, table

ROOT = Path(__file__).resolve().parents[1]
COSTS = {
    "float32": {
        "token": Counted(operations=144, casts=1, of_weights=0),
        "reference": Counted(operations=113, casts=0, of_weights=0),
        "update": Counted(operations=966, casts=16, of_weights=0),
        "adamw": Counted(operations=262, casts=0, of_weights=0),
    },
    # Of 26 weights, the 21 of products are cast, in each pass and for each token; five of norms are not.
    "autocast": {
        "token": Counted(operations=180, casts=38, of_weights=21),
        "reference": Counted(operations=150, casts=37, of_weights=21),
        "update": Counted(operations=1136, casts=188, of_weights=42),
        "adamw": Counted(operations=262, casts=0, of_weights=0),
    },
    # Each weight is cast once, after the optimizer step, all of them in one operation.
    "bfloat16": {
        "token": Counted(operations=156, casts=14, of_weights=0),
        "reference": Counted(operations=127, casts=13, of_weights=0),
        "update": Counted(operations=1041, casts=91, of_weights=26),
        "adamw": Counted(operations=262, casts=0, of_weights=0),
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_operations_and_casts_are_as_few_as_they_were(tiny_folder: Path, way: str) -> None:
    assert costs(tiny_folder, way) == COSTS[way]


def test_copies_in_bfloat16_are_rounded_once_an_update_and_never_to_draw(tiny_folder: Path, tiny_policy: Any) -> None:
    found = costs(tiny_folder, "bfloat16")
    assert (found["token"].of_weights, found["reference"].of_weights) == (0, 0)
    assert found["update"].of_weights == len(list(tiny_policy.model.parameters())) == 26


def test_the_documented_table_is_what_is_counted() -> None:
    assert "\n".join(table(COSTS)) in (ROOT / "docs/benchmarks.md").read_text("utf-8")
