"""What `bench/load.py` measures runs at a small size, and its work per response does not grow with their number."""

from __future__ import annotations

import runpy
import sys
import tracemalloc
from pathlib import Path

import pytest

from astarpo.common.columns import GENERATIONS, GRADED, SELECTIONS, VALUES
from astarpo.common.files import read_table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import load  # noqa: E402 (the path comes first)

PROMPTS = 40


def run(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a stage's script in this process."""
    monkeypatch.setattr(sys, "argv", command[command.index(next(word for word in command if word.endswith(".py"))) :])
    runpy.run_path(sys.argv[0], run_name="__main__")


def test_every_stage_runs_on_what_the_benchmark_gives_it(tmp_path, monkeypatch):
    load.prepare(tmp_path, PROMPTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("astarpo.sampling.stage.make_sampler", lambda *_, **__: load.FakeSampler())
    for command in load.stages(tmp_path).values():
        run(command, monkeypatch)
    drawn, graded = read_table("drawn.parquet", GENERATIONS), read_table("graded.parquet", GRADED)
    assert drawn.num_rows == graded.num_rows > PROMPTS / load.SHARDS
    assert {"correct", "incorrect"} <= set(graded["status"].to_pylist())
    assert (
        read_table("selected.parquet", SELECTIONS).num_rows == read_table("values.parquet", VALUES).num_rows == PROMPTS
    )
    assert "avg@16" in Path("summary.csv").read_text() and "wrong" in Path("examples.html").read_text()


@pytest.mark.parametrize("stage", ["estimate_values", "summarize", "show_examples"])
def test_peak_memory_is_linear_in_the_number_of_responses(stage, tmp_path, monkeypatch):
    peaks = []
    for prompts in (PROMPTS, PROMPTS, 8 * PROMPTS, 32 * PROMPTS):  # the first one imports modules
        folder = tmp_path / f"{len(peaks)}"
        folder.mkdir()
        load.prepare(folder, prompts)
        monkeypatch.chdir(folder)
        tracemalloc.start()
        run(load.stages(folder)[stage], monkeypatch)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Four times the responses: at most four times the bytes; a square would be sixteen times.
    assert peaks[3] < 4.5 * peaks[2], peaks
