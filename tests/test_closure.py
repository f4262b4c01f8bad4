"""The code of a job: found by parsing, only the chosen modules, and a fingerprint that ignores comments and texts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from astarpo.common import code
from astarpo.common.choices import Choices
from astarpo.common.differences import differing
from astarpo.common.errors import InputError

FILES = {
    "run.py": "import os\nfrom astarpo import cli\nfrom astarpo.a import f\n",
    "astarpo/__init__.py": "",
    "astarpo/cli.py": "import argparse\n",
    "astarpo/a.py": "def f():\n    from astarpo.engines import fast\n    return fast\n",
    "astarpo/engines/__init__.py": 'ALL = Choices({"x": "astarpo.engines.x", "y": "astarpo.engines.y"}, "ENGINE")\n',
    "astarpo/engines/fast.py": "import astarpo.deep\n",
    "astarpo/engines/slow.py": "",
    "astarpo/engines/x.py": "ENGINE = 1\n",
    "astarpo/engines/y.py": "ENGINE = 2\n",
    "astarpo/deep.py": "",
    "astarpo/unused.py": "",
}
ALWAYS = ["run.py", "astarpo/__init__.py", "astarpo/a.py", "astarpo/cli.py", "astarpo/engines/__init__.py"]
FAST = ["astarpo/deep.py", "astarpo/engines/fast.py"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "SCRIPTS", tmp_path)
    monkeypatch.setattr(code, "OPTIONAL", frozenset({"astarpo.engines.fast"}))
    code.forget()
    yield tmp_path
    code.forget()


def read(*chosen: str) -> code.Code:
    code.forget()
    return code.read_code("run", chosen)


def write(project: Path, name: str, text: str) -> None:
    (project / name).write_text(text)


@pytest.mark.parametrize(
    ("chosen", "more"),
    [
        pytest.param((), [], id="nothing optional"),
        pytest.param(("astarpo.engines.fast",), FAST, id="an engine, with what only it needs"),
        pytest.param(("astarpo.engines.y",), ["astarpo/engines/y.py"], id="a row of a table"),
    ],
)
def test_a_job_has_the_modules_that_it_chooses(project, chosen, more):
    assert sorted(read(*chosen).modules) == sorted([*ALWAYS, *more])


def test_without_a_choice_every_module_counts(project):
    assert set(code.read_code("run").modules) == {*FILES} - {"astarpo/unused.py", "astarpo/engines/slow.py"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("astarpo/unused.py", "x = 1\n"),
        ("astarpo/deep.py", "# a comment\n\n"),
        ("astarpo/deep.py", '"""A docstring."""\n'),
        ("astarpo/a.py", "def f(  ):\n    'Says.'\n    from astarpo.engines import (fast)  # so\n\n    return (fast)"),
        ("astarpo/engines/y.py", "ENGINE = 3\n"),
        ("astarpo/engines/__init__.py", FILES["astarpo/engines/__init__.py"].replace('"x"', '"z": "astarpo.z", "x"')),
    ],
)
def test_what_says_the_same_to_the_job_keeps_its_fingerprint(project, name, text):
    before = read("astarpo.engines.fast", "astarpo.engines.x")
    write(project, name, text)
    assert read("astarpo.engines.fast", "astarpo.engines.x") == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.py", FILES["run.py"] + "x = 1\n"),
        ("astarpo/deep.py", "x = 1\n"),
        ("astarpo/deep.py", "f'{1}'\n"),
        ("astarpo/engines/x.py", "ENGINE = 1.0\n"),
        ("astarpo/engines/__init__.py", FILES["astarpo/engines/__init__.py"].replace('"x": "astarpo.engines.x", ', "")),
        ("astarpo/engines/__init__.py", FILES["astarpo/engines/__init__.py"].replace("ENGINE", "OTHER")),
    ],
)
def test_an_edit_changes_the_fingerprint_and_names_its_module(project, name, text):
    before = read("astarpo.engines.fast", "astarpo.engines.x")
    write(project, name, text)
    now = read("astarpo.engines.fast", "astarpo.engines.x")
    assert now.fingerprint != before.fingerprint and now.sha256 != before.sha256
    assert name in differing(before.modules, now.modules)


def syntax(project: Path, text: str) -> str:
    write(project, "one.py", text)
    code.forget()
    return code.file_sha256(project / "one.py")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('Field(1, description="a")', 'Field(1, description="b")'),
        ('parser.add_argument("--a", help="a")', 'parser.add_argument("--a", help=f"{b}")'),
        ("x = 'a' 'b'", 'x = "ab"'),
        ("x = u'a'", "x = 'a'"),
        ("class A:\n    'A.'\n    x: int\n    'An x.'", "class A:\n    x: int"),
    ],
)
def test_help_texts_and_spelling_do_not_count(project, one, other):
    assert syntax(project, one) == syntax(project, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("x = None", "x = ()"),
        ("f(description='a')", "f(description='b')"),
        ("x[1:]", "x[:1]"),
        ("{**a}", "{a: a}"),
        ("def f(a, b): g()", "def f(a, *, b): g()"),
        ("if a:\n    b\n    c", "if a:\n    b\nc"),
    ],
)
def test_what_differs_to_python_differs(project, one, other):
    assert syntax(project, one) != syntax(project, other)


def test_a_file_of_the_users_own_counts_where_it_is_chosen(project, monkeypatch):
    monkeypatch.chdir(project)
    write(project, "mine.py", "x = 1  # one\n")
    before = read("mine.py")
    write(project, "mine.py", "x = 1  # still\n")
    assert read("mine.py") == before and "mine.py" in before.modules
    write(project, "mine.py", "x = 2\n")
    assert differing(before.modules, read("mine.py").modules) == ["mine.py"]


def test_a_module_beside_a_file_of_the_users_own_counts_too(project, monkeypatch):
    monkeypatch.chdir(project)
    (project / "my files").mkdir()
    write(project, "my files/mine.py", "def f():\n    import near\n")
    write(project, "my files/near.py", "import far\n")
    write(project, "my files/far.py", "x = 1\n")
    before = read("my files/mine.py")
    assert {"my files/near.py", "my files/far.py"} < before.modules.keys()
    assert code.check_planned("run", before.fingerprint) == before
    write(project, "my files/far.py", "x = 2\n")
    assert differing(before.modules, read("my files/mine.py").modules) == ["my files/far.py"]


def test_a_job_of_edited_code_is_refused(project):
    planned = read("astarpo.engines.x").fingerprint
    assert code.check_planned("run", planned).chosen == ("astarpo.engines.x",)
    write(project, "astarpo/cli.py", "import sys\n")
    code.forget()
    with pytest.raises(InputError, match="the code of run was edited after Snakemake planned this job"):
        code.check_planned("run", planned)


SAMPLE = """
@a
class B(c, d=1):
    x: int = 0x10

    def e(self, /, *f: int, g=None, **h) -> str:
        async def i(): return [j async for j in k if not l]
        with m as n, o:
            lambda p, q=1: (yield)
        try:
            return f"a{f!r:>{g}}" "b"
        except* (r, s) as t:
            raise u from None
        match v:
            case {"w": [1, *_], **y}: ...
"""


def test_every_python_computes_the_same_fingerprint(project):
    """A job's environment may have another Python than Snakemake. The hash is that of Python 3.11, 3.12 and 3.13."""
    assert syntax(project, SAMPLE) == "01c45ecc113929f3af65b43fc66e63f18dcf24bc481641aa1e53baebc330c39c"


def test_a_table_imports_what_is_asked_for_and_nothing_else():
    program = (
        "import sys; from astarpo.objectives import METHODS; METHODS['rebel'];"
        "print([name for name in METHODS if f'astarpo.objectives.{name}' in sys.modules], len(METHODS))"
    )
    scripts = Path(code.__file__).parents[2]
    printed = subprocess.run([sys.executable, "-c", program], cwd=scripts, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "['rebel'] 6"


def test_a_table_that_names_no_module_says_so():
    with pytest.raises(KeyError):
        Choices({"a": "astarpo.objectives.grpo"}, "METHOD")["b"]


def test_the_optional_modules_are_those_that_a_configuration_can_choose():
    from astarpo.config.stages import modules

    chosen = (modules.VLLM_MODULES, modules.DEEPSPEED_MODULES, modules.LORA_MODULES, modules.ESTIMATE_MODULES)
    assert {module for group in chosen for module in group} == code.OPTIONAL
    missing = [name for name in code.OPTIONAL if not (code.SCRIPTS / f"{name.replace('.', '/')}.py").is_file()]
    assert not missing, "a module that is not there is never left out, and never chosen"
