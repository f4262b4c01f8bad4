"""Before the first job, a line says that the disk has too little room for models and checkpoints."""

from __future__ import annotations

import copy
from pathlib import Path

import warm_snakemake
import yaml
from config_case import DEFAULT

from astarpo.config import load_config
from astarpo.planning.remaining import disk_warning

ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = 674_176
# fp32: one reference, one trained model, three checkpoints of weights and two moments.
ALL = 4 * (1 + 1 + 3 * 3) * PARAMETERS
CONFIG = load_config(DEFAULT)
TRAINED = [("a-star-po", 0)]


def warned(folder: Path, free: float, references: tuple[str, ...] = ("tiny",)) -> bool:
    return disk_warning(CONFIG, references, TRAINED, folder, free) is not None


def test_the_space_of_what_is_planned_by_hand(tmp_path: Path) -> None:
    assert disk_warning(CONFIG, ["tiny"], TRAINED, tmp_path, ALL - 1) == (
        "models and checkpoints of the planned jobs take about 29.7 MB, but only 29.7 MB are free here: free some "
        "space, or run in a folder on a larger disk (snakemake --directory)"
    )
    assert not warned(tmp_path, ALL)


def test_what_exists_takes_no_more_space(tmp_path: Path) -> None:
    assert not warned(tmp_path, ALL - 4 * PARAMETERS, references=())
    checkpoint = tmp_path / "a-star-po/seed-0/0123/step-000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.pt").write_bytes(bytes(1_000_000))
    assert warned(tmp_path, ALL - 1_000_001) and not warned(tmp_path, ALL - 1_000_000)


def test_without_models_nothing_is_said(tmp_path: Path) -> None:
    assert disk_warning(CONFIG, [], [], tmp_path, 0) is None


def test_snakemake_says_it_before_its_first_job_and_goes_on(tmp_path: Path) -> None:
    """With a model too large for any disk; the data, which come first, are damaged, so that it is not made."""
    config = copy.deepcopy(DEFAULT)
    sizes = {"layers": 10_000, "hidden_size": 1_048_576, "intermediate_size": 1_048_576}
    config["references"]["tiny"]["source"] |= sizes
    config["datasets"]["sums-warm-start"] |= {
        "source": {"kind": "local", "path": "no.jsonl"},
        "columns": {"problem": "problem", "gold": "gold", "worked_solution": "solution"},
    }
    (tmp_path / "no.jsonl").write_text("not JSON\n")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    options = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "1"]
    done = warm_snakemake.snakemake(tmp_path, *options, "results/references/tiny/manifest.json")
    before, _, after = done.stdout.partition("\nwarning: models and checkpoints of the planned jobs take about ")
    assert "Execute 1 jobs" not in before and "Execute 1 jobs" in after, done.stdout
    assert " TB, but only " in after.splitlines()[0]
