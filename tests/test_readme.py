"""The documentation: its graph of the workflow, the files that it names, and the README's example."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from astarpo.config import load_config

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
FILE_NAMES = re.compile(r"`((?:workflow_scripts|config|rules|docs|envs|profiles|tests|bench|report)/[\w./-]+)`")


def drawn_edges():
    graph = re.search(r"```mermaid\n(.*?)```", (ROOT / "docs/stages.md").read_text(), re.DOTALL).group(1)
    return set(re.findall(r"(\w+) --> (\w+)", graph))


def real_edges():
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", done.stdout))
    return {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", done.stdout)}


def test_the_drawn_workflow_is_the_real_one():
    drawn, real = drawn_edges(), real_edges()
    assert drawn <= real
    assert {rule for edge in drawn for rule in edge} == {rule for edge in real for rule in edge} - {"all"}


def test_links_lead_somewhere():
    for document in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
        for name in FILE_NAMES.findall(document.read_text()):
            assert (ROOT / name).exists(), f"{document.name}: {name}"


def test_the_example_of_the_readme_is_a_valid_configuration():
    example = re.search(r"```yaml\n(.*?)```", README, re.DOTALL).group(1)
    config = load_config(yaml.safe_load(example))
    assert config.datasets["mine"].template == "{problem}\nGive the answer in \\boxed{}."
    assert list(config.runs) == ["first-try"]


def test_the_readme_leads_to_every_page():
    named = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", README))
    assert named == {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md")}


def test_the_readme_shows_the_table_of_the_demo():
    table = re.compile(r"<!-- demo table: begin -->\n(.*?)<!-- demo table: end -->", re.DOTALL)
    assert table.findall(README) == table.findall((ROOT / "docs/demo.md").read_text()) != []
