"""The deliberate bugs can still be applied, their tests are still there, and the tool tells dead from alive."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tests" / "tools"
sys.path.insert(0, str(TOOLS))

import mutants  # noqa: E402

LISTED = mutants.load(ROOT / mutants.LIST)


@cache
def functions_of(file: str) -> set[str]:
    """Names of the test functions of a file; empty where there is no such file."""
    if not (ROOT / file).is_file():
        return set()
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def missing_tests(mutant: mutants.Mutant) -> Iterator[str]:
    for test in mutant.tests:
        file, _, name = test.partition("::")
        known = functions_of(file)
        if not known or (name and name.partition("[")[0] not in known):
            yield f"{mutant.name}: there is no test {test}"


def test_the_list_is_long_and_its_names_are_unique():
    names = [mutant.name for mutant in LISTED]
    assert len(names) >= 80
    assert len(names) == len(set(names))
    assert all(mutant.tests for mutant in LISTED)
    # A file that is listed a second time would hide the bugs of the first.
    assert len(names) == (ROOT / mutants.LIST).read_text(encoding="utf-8").count("\n  - name: ")


def test_every_mutant_can_be_applied():
    problems = [mutant.problem(ROOT) for mutant in LISTED]
    assert not any(problems), "\n".join(filter(None, problems))


def test_every_test_that_must_fail_exists():
    missing = [line for mutant in LISTED for line in missing_tests(mutant)]
    assert not missing, "\n".join(missing)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with one function and one test, which leaves the function's second line alone."""
    (tmp_path / "half.py").write_text("def half(x):\n    y = x / 2\n    return y + 0\n")
    (tmp_path / "test_half.py").write_text("import half\n\n\ndef test_half():\n    assert half.half(6) == 3\n")
    (tmp_path / "ignored.py").write_text("raise SystemExit\n")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def mutant(original: str, replacement: str, **more: Any) -> mutants.Mutant:
    return mutants.Mutant("m", "half.py", original, replacement, more.pop("tests", ("test_half.py",)), **more)


def run(code: str, project: Path) -> subprocess.CompletedProcess[str]:
    """Run code beside the tool, in a process of its own: the tool forks, and pytest may have threads."""
    start = f"import sys; sys.path.insert(0, {str(TOOLS)!r})\n"
    start += "from pathlib import Path; from mutants import *\n"
    command = [sys.executable, "-c", start + code]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def attempt(project: Path, *tried: mutants.Mutant, jobs: int = 1) -> str:
    """What the tool says of some mutants of a project, its last line being an error if there is one."""
    tried_ones = f"[{', '.join(map(repr, tried))}]"
    code = f"tried = {tried_ones}; print(report(tried, dead_of(tried, Path('.').resolve(), {jobs})))"
    done = run(code, project)
    return done.stdout + done.stderr


def test_a_bug_that_a_test_notices_dies_and_one_that_none_notices_survives(project):
    before = (project / "half.py").read_text()
    said = attempt(
        project,
        mutant("x / 2", "x / 3"),
        mutant("x / 2", "x * 0.5"),
        mutant("y + 0", "y - 0", explained="nothing is added"),
        mutant("x / 2", "x / ", tests=("test_half.py::test_half",)),
        jobs=2,
    )
    assert "survived m: 'x / 2' -> 'x * 0.5' in half.py; tests: test_half.py\n" in said
    assert "survived, explained: m: 'y + 0' -> 'y - 0' in half.py: nothing is added\n" in said
    assert "2 of 4 mutants died: 50.0%" in said and said.endswith("False\n")
    assert (project / "half.py").read_text() == before
    assert attempt(project, mutant("x / 2", "x / 3")).endswith("must\nTrue\n")


def test_nothing_counts_as_dead_where_the_tests_fail_anyway(project):
    (project / "test_half.py").write_text("def test_half():\n    assert False\n")
    said = attempt(project, mutant("x / 2", "x / 3"))
    assert "RuntimeError: without any mutant, these tests must pass: test_half.py" in said


def test_tests_that_are_not_there_are_an_error(project):
    (project / "test_half.py").write_text("import half\n")
    said = attempt(project, mutant("x / 2", "x / 3"))
    assert "RuntimeError: no test is collected from test_half.py" in said


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (mutant("y", "z"), "'y' occurs 2 times in half.py"),
        (mutant("gone", "z"), "'gone' occurs 0 times"),
        (mutant("y", "y"), "must change a part of one line"),
        (mutants.Mutant("m", "whole.py", "a", "b", ("t",)), "there is no file whole.py"),
    ],
)
def test_a_mutant_that_is_out_of_date_is_refused(project, one, said):
    with pytest.raises(ValueError, match=said):
        mutants.dead_of([one], project, jobs=1)


def test_a_test_that_takes_too_long_has_failed(project):
    (project / "test_half.py").write_text("import time\n\n\ndef test_half():\n    time.sleep(99)\n")
    assert run("print(passes(Path('.'), ['test_half.py'], 2.0))", project).stdout == "False\n"


def test_the_limit_is_one_of_each_mutant_and_not_of_all_tests_without_any(project):
    with (project / "test_half.py").open("a", encoding="utf-8") as file:
        file.write("    import time\n    time.sleep(3)\n")
    code = f"import mutants; mutants.TIMEOUT_S = 1.0; one = {mutant('x / 2', 'x * 0.5')!r}\n"
    code += "print(dead_of([one], Path('.').resolve(), 1)[-1])"
    assert run(code, project).stdout.endswith("\nTrue\n")


def test_a_part_of_the_list_is_named_or_spread_evenly():
    assert [one.name for one in mutants.choose(LISTED, ["solved-keeps-all"], None)] == ["solved-keeps-all"]
    assert mutants.choose(LISTED, [], None) == LISTED
    ten = mutants.choose(LISTED, [], 10)
    places = [LISTED.index(one) for one in ten]
    gaps = {after - before for before, after in pairwise(places)}
    assert len(ten) == 10 and max(gaps) - min(gaps) <= 1
    with pytest.raises(ValueError, match="no such mutant: nobody"):
        mutants.choose(LISTED, ["nobody"], None)
