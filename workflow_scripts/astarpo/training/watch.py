"""The progress of running trainings, read from their ``metrics.jsonl``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

COLUMNS = {  # column -> title, and how its value is shown
    "reward": ("reward", "{:.3f}"),
    "validation_reward": ("validation", "{:.3f}"),
    "kl_per_sequence": ("KL", "{:.3f}"),
    "response_length": ("length", "{:.3f}"),
    "truncated_share": ("cut", "{:.3f}"),
    "tokens_per_second": ("tokens/s", "{:,.0f}"),
    "mfu": ("MFU", "{:.1%}"),
    "idle_share": ("idle", "{:.1%}"),
    "peak_memory_bytes": ("memory", "{:.3g} GB"),
}


@dataclass(frozen=True)
class Training:
    """One run with one seed.

    Attributes:
        run, seed: its name.
        step: the newest step.
        values: the newest value of each of `COLUMNS`; columns without values are missing.
        written: when its last line was written, in seconds since the epoch.
        finished: whether its manifest is newer than that line.
    """

    run: str
    seed: int
    step: int
    values: dict[str, float]
    written: float
    finished: bool


def read_trainings(results: Path) -> list[Training]:
    """Read the newest scratch folder of every run and seed.

    Args:
        results: the folder with all results.

    Returns:
        Trainings sorted by name and seed, without those that have no complete line yet.
    """
    newest: dict[tuple[str, int], Path] = {}
    for path in results.glob("checkpoints/*/seed-*/*/world-*/metrics.jsonl"):
        run, seed = path.parts[-5], int(path.parts[-4].removeprefix("seed-"))
        best = newest.get((run, seed))
        if best is None or path.stat().st_mtime > best.stat().st_mtime:
            newest[run, seed] = path
    trainings = [_training(results, run, seed, path) for (run, seed), path in sorted(newest.items())]
    return [training for training in trainings if training is not None]


def _training(results: Path, run: str, seed: int, path: Path) -> Training | None:
    rows = _complete_lines(path)
    if not rows:
        return None
    values: dict[str, float] = {}
    for row in rows:
        values |= {name: value for name in COLUMNS if (value := row.get(name)) is not None}
    written = path.stat().st_mtime
    manifest = results / "runs" / run / f"seed-{seed}" / "manifest.json"
    finished = manifest.exists() and manifest.stat().st_mtime >= written
    return Training(run, seed, int(rows[-1]["step"] or 0), values, written, finished)


def _complete_lines(path: Path) -> list[dict[str, float | None]]:
    """Read the rows of the file, without a last line that is still being written."""
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    return rows


def table(trainings: list[Training], now: float) -> str:
    """Format trainings as a text table, one line each.

    Args:
        trainings: from `read_trainings`.
        now: seconds since the epoch, for the age of the last line.
    """
    if not trainings:
        return "no training has started yet; start one with: snakemake --cores 2 train"
    rows: list[tuple[str, ...]] = [("run", "seed", "step", *(title for title, _ in COLUMNS.values()), "last line")]
    for training in trainings:
        shown = [_shown(name, training.values.get(name)) for name in COLUMNS]
        age = "finished" if training.finished else f"{max(now - training.written, 0):.0f} s ago"
        rows.append((training.run, str(training.seed), str(training.step), *shown, age))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    return "\n".join(lines)


def _shown(name: str, value: float | None) -> str:
    """A value in its column; bytes in GB."""
    if value is None:
        return "-"
    return COLUMNS[name][1].format(value / 1e9 if name.endswith("_bytes") else value)
