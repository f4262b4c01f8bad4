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
from astarpo.planning.training_jobs import training_jobs

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


ON_CARDS = sorted(path.name for path in RECIPES.glob("*.yaml") if re.search("^# .* of 80 GB", path.read_text(), re.M))


def test_every_recipe_for_a_card_says_what_it_takes() -> None:
    own_machine = [path for path in RECIPES.glob("[!w]*.yaml") if "device: cuda" in path.read_text(encoding="utf-8")]
    assert sorted(path.name for path in own_machine) == ON_CARDS and len(ON_CARDS) == 7


@pytest.mark.parametrize("recipe", ON_CARDS)
def test_the_memory_that_a_recipe_names_in_its_first_lines(recipe: str) -> None:
    head = (RECIPES / recipe).read_text(encoding="utf-8").partition("\n\n")[0].replace("\n# ", " ")
    (job,) = training_jobs(configured(recipe), named_machine("8xH100" if "Eight GPUs" in head else "H100").card)
    assert job.estimate is not None
    phases, ram = job.estimate.by_phase(), {moment.phase: moment.total for moment in job.estimate.host}
    vllm = max(moment.parts["vLLM"] for moment in job.estimate.device if moment.phase == "generate")
    computed = {
        r"an update takes (\d+) GB|an update (\d+) GB": phases["update"],
        r"drawing (\d+) GB": phases["generate"] - vllm,
        r"vLLM's (\d+)": vllm,
        r"loading takes (\d+) GB": phases["load"],
        r"the export takes (\d+) GB": ram["export"],
        r"resuming (\d+) GB": ram["resume"],
    }
    found = {text: next(filter(None, match.groups())) for text in computed if (match := re.search(text, head))}
    assert found == {text: f"{size / 1e9:.0f}" for text, size in computed.items() if text in found}
    assert len(found) == (6 if "Eight GPUs" in head else 3)
