"""Code inputs found by parsing: direct, indirect, inside functions, packages, left-out engines."""

import pytest

from astarpo.common.code import _imports, code_sha256, import_closure


@pytest.fixture
def project(tmp_path):
    content = {
        "run.py": "import os\nfrom astarpo import cli\nfrom astarpo.a import f\n",
        "astarpo/__init__.py": "",
        "astarpo/cli.py": "import argparse\n",
        "astarpo/a.py": "def f():\n    from astarpo.engines import fast\n    return fast\n",
        "astarpo/engines/__init__.py": "",
        "astarpo/engines/fast.py": "import astarpo.deep\n",
        "astarpo/engines/slow.py": "",
        "astarpo/deep.py": "",
        "astarpo/unused.py": "",
    }
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    _imports.cache_clear()
    return tmp_path


def names(project, **options):
    found = import_closure(project / "run.py", **options)
    return [str(path.relative_to(project / "astarpo")) for path in found]


def test_closure(project):
    assert names(project) == [
        "__init__.py",
        "a.py",
        "cli.py",
        "deep.py",
        "engines/__init__.py",
        "engines/fast.py",
    ]


def test_an_engine_that_is_not_chosen_is_left_out_with_what_only_it_needs(project):
    assert names(project, leave_out=("astarpo.engines.fast",)) == [
        "__init__.py",
        "a.py",
        "cli.py",
        "engines/__init__.py",
    ]


def test_the_hash_sees_the_closure_and_nothing_else(project):
    before = code_sha256(project / "run.py")
    (project / "astarpo/unused.py").write_text("# other\n")
    assert code_sha256(project / "run.py") == before
    (project / "astarpo/deep.py").write_text("# other\n")
    assert code_sha256(project / "run.py") != before
