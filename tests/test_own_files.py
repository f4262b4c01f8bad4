"""A user's file and the modules beside it: found by parsing, and loaded without a clash of names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from config_case import changed, inputs, message, modules

from astarpo.common.code import forget
from astarpo.common.errors import InputError
from astarpo.common.own_files import PREFIX, load_own, own_files
from astarpo.config import load_config

FILES = {
    "one/judge.py": (
        "import words, pkg.deep\nfrom pkg import deep as again\nfrom . import other\n"
        "def judge(gold, response):\n    from loose.late import LATE\n    import json, sympy\n"
        "    return words.NAME, pkg.deep.NAME, again.NAME, other.NAME, LATE, json.dumps(1), sympy.Integer(1)\n"
    ),
    "one/words.py": "import judge\nfrom utils import NAME\n",
    "one/utils.py": "NAME = 'one'\n",
    "one/other.py": "NAME = 'other'\n",
    "one/unused.py": "this is not Python\n",
    "one/json.py": "raise RuntimeError('not the one of the standard library')\n",
    "one/pkg/__init__.py": "from .up import NAME\n",
    "one/pkg/deep.py": "from ..utils import NAME\n",
    "one/pkg/up.py": "NAME = 'up'\n",
    "one/loose/late.py": "LATE = 'late'\n",
    "one/mpmath.py": "raise RuntimeError('sympy imports the library of this name')\n",
    "two/judge.py": "import utils\ndef judge(gold, response):\n    return utils.NAME\n",
    "two/utils.py": "NAME = 'two'\n",
}
OF_ONE = ("judge", "loose/late", "other", "pkg/__init__", "pkg/deep", "pkg/up", "utils", "words")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    forget()
    yield tmp_path
    forget()
    forget_modules()


def forget_modules():
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]


def test_the_modules_beside_a_file_that_it_imports_are_found_through_others(folder):
    assert own_files("one/judge.py") == tuple(f"one/{name}.py" for name in OF_ONE)
    assert own_files("two/judge.py") == ("two/judge.py", "two/utils.py")
    assert own_files(str(folder / "two/judge.py")) == (f"{folder}/two/judge.py", f"{folder}/two/utils.py")


def test_two_users_modules_of_one_name_and_libraries_of_that_name_are_apart():
    assert load_own("one/judge.py").judge("", "") == ("one", "one", "one", "other", "late", "1", 1)
    assert load_own("two/judge.py").judge("", "") == "two"
    assert not {"utils", "words", "pkg", "loose", "judge"} & sys.modules.keys()


def test_a_library_that_is_loaded_by_a_users_file_gets_its_own_imports():
    """sympy imports mpmath; a file of that name lies beside the user's."""
    code = "from astarpo.common.own_files import load_own; print(load_own('one/judge.py').judge('', '')[0])"
    environment = {"PYTHONPATH": str(Path(__file__).parents[1] / "workflow_scripts")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "one\n", done.stderr


def test_a_file_is_loaded_once(folder):
    assert load_own("two/judge.py") is load_own(str(folder / "two/judge.py"))


def test_an_edit_that_keeps_size_and_time_is_loaded(folder, monkeypatch):
    """Bytecode that Python caches is compared with these two only."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = folder / "two/utils.py"
    assert load_own("two/judge.py").judge("", "") == "two"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text(FILES["two/utils.py"].replace("two", "new"))
    os.utime(file, ns=times)
    forget_modules()
    assert load_own("two/judge.py").judge("", "") == "new"


def test_a_file_that_fails_to_load_is_tried_again(folder):
    (folder / "two/utils.py").write_text("raise ValueError('as asked')\n")
    with pytest.raises(ValueError, match="as asked"):
        load_own("two/judge.py")
    (folder / "two/utils.py").write_text("NAME = 'again'\n")
    assert load_own("two/judge.py").judge("", "") == "again"


@pytest.mark.parametrize("said", ["import nowhere", "from .. import far", "from .nowhere import x", "import numpy"])
def test_what_does_not_lie_beside_a_file_is_not_one_of_its_files(folder, said):
    (folder / "far.py").write_text("x = 1\n")
    (folder / "two/judge.py").write_text(f"{said}\n")
    assert own_files("two/judge.py") == ("two/judge.py",)


def config(**entries):
    return changed(datasets__sums__verifier="one/judge.py:judge", **entries)


def test_the_modules_beside_a_verifier_are_inputs_of_grading_and_training():
    loaded = load_config(
        config(benchmarks={"b": {**changed()["benchmarks"]["held-out"], "verifier": "two/judge.py:judge"}})
    )
    of_one = [f"one/{name}.py" for name in OF_ONE]
    of_block = {"reference": "tiny", "dataset": "sums", "block": "s0-p0"}
    assert inputs(loaded, "grade_samples", **of_block)["verifier"] == of_one
    assert inputs(loaded, "train_policy", run="a-star-po", seed="0")["verifier"] == of_one
    of_benchmark = {"policy": "tiny", "benchmark": "b", "protocol": "sampled"}
    assert inputs(loaded, "grade_answers", **of_benchmark)["verifier"] == ["two/judge.py", "two/utils.py"]
    assert modules(loaded, "grade_answers", **of_benchmark) == ("two/judge.py",)


def test_a_module_beside_a_verifier_that_is_not_python_is_refused_with_the_configuration(folder):
    (folder / "one/utils.py").write_text("def broken(:\n")
    text = message(config())
    assert "one/judge.py imports a file with an error: one/utils.py is not valid Python (invalid syntax" in text


def test_a_file_that_is_missing_is_named():
    with pytest.raises(InputError, match=r"three\.py cannot be read \(No such file"):
        own_files("three.py")
