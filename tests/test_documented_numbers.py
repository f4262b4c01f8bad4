"""Numbers that the documentation gives for recipes are those that `make doctor` computes today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from astarpo.config import load_config
from astarpo.config.files import merged
from astarpo.config.runs import Config
from astarpo.planning.cards import named_machine
from astarpo.planning.disk import disk_bytes
from astarpo.planning.plan import plan

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "config/recipes"
GPU_PAGE = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
RECIPES_PAGE = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")


def rows(page: str, header: str) -> list[list[str]]:
    """The cells of the table under a header, without the line that aligns them."""
    table = page[page.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]


def configured(files: str) -> Config:
    paths = [str((RECIPES / name).resolve()) for name in files.split()]
    return load_config(merged(paths), paths)


def recipes_of(cell: str) -> list[list[str]]:
    """The configuration files of each recipe in a row; those in brackets are given after the first."""
    if cell.startswith("none"):
        return [["../config.yaml"]]
    spans = re.findall(r"(\(?)`([^`]*\.yaml)`", cell)
    first = spans[0][1].split()
    return [[*first, *span.split()] if bracket else span.split() for bracket, span in spans]


def written(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def documented_disk() -> dict[str, str]:
    """Configuration files -> what docs/recipes.md says."""
    found = {}
    for cells in rows(RECIPES_PAGE, "| recipe: "):
        sizes = re.findall(r"[\d.]+ [GM]B", cells[3])
        recipes = recipes_of(cells[0]) if sizes else []
        assert len(sizes) in (0, 1, len(recipes)), cells
        found |= {" ".join(files): sizes[place % len(sizes)] for place, files in enumerate(recipes)}
    return found


DISK = documented_disk()


@pytest.mark.parametrize("files", DISK)
def test_the_disk_space_of_a_recipe(files: str) -> None:
    assert written(sum(disk_bytes(configured(files)).values())) == DISK[files]


def test_recipes_of_all_rows_are_compared() -> None:
    assert len(DISK) >= 25


def test_the_refusal_of_what_does_not_fit() -> None:
    config = configured("gsm8k_qwen2.5_3b.yaml")
    config = config.changed(machine=config.machine.changed(activation_checkpointing=False))
    (problem,) = plan(config, named_machine("H100")).problems
    assert problem in " ".join(GPU_PAGE.split())
