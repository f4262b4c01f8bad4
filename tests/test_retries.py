"""Jobs that download are tried again; those whose input lies on the disk fail once."""

from pathlib import Path

import pytest
import warm_snakemake
import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "hub": ({"kind": "hub", "id": "nobody/nothing", "name": "main", "split": "train"}, 2),
    "local": ({"kind": "local", "path": "no-such-file.jsonl"}, 0),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_cannot_be_read_is_tried_again_only_from_a_hub(kind: str, tmp_path: Path) -> None:
    source, retries = SOURCES[kind]
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    config["datasets"]["sums"]["source"] = source
    if kind == "local":
        (tmp_path / "no-such-file.jsonl").write_text("not JSON\n")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = warm_snakemake.snakemake(
        tmp_path,
        *("--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "1"),
        "results/datasets/sums.parquet",
        HF_HUB_OFFLINE="1",
        HF_HOME=str(tmp_path / "hub"),
    )
    assert done.returncode == 1
    assert done.stdout.count("Trying to restart job") == retries, done.stdout
