"""The output of benchmarks: printed, and written to results/bench/bench.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NotRequired, TypedDict

PATH = Path("results/bench/bench.json")


class Measured(TypedDict):
    """One comparison, in one run on one machine; ``ratio`` is how many times better ours is, or ``target`` is to be."""

    name: str
    ours: float
    theirs: float | None
    ratio: float | None
    target: NotRequired[float]
    unit: str
    command: str


def record(rows: list[Measured], path: Path = PATH, shown: bool = True) -> None:
    """Write rows to the file, replacing those of the same name, and print them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old: list[Measured] = json.loads(path.read_text()) if path.exists() else []
    names = {row["name"] for row in rows}
    kept = [row for row in old if row["name"] not in names]
    path.write_text(json.dumps([*kept, *rows], indent=2) + "\n")
    for row in rows if shown else []:
        theirs = "" if row["theirs"] is None else f", theirs {row['theirs']:,.4g}"
        ratio = "" if row["ratio"] is None else f": {row['ratio']:.2f} x"
        print(f"{row['name']}: ours {row['ours']:,.4g}{theirs} {row['unit']}{ratio}", flush=True)
