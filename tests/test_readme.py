"""The README draws the workflow as it is, and names only files that exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def drawn_edges():
    graph = re.search(r"```mermaid\n(.*?)```", README, re.DOTALL).group(1)
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
