"""The audit of the locked packages and the bills of materials."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "envs"))

import audit  # noqa: E402
import locked  # noqa: E402

FIXED: list[dict[str, str]] = [{"introduced": "0"}, {"fixed": "1.2.0"}, {"introduced": "2.0"}, {"last_affected": "2.1"}]


def advisory(events: list[dict[str, str]] | None = None, **changes: Any) -> dict[str, Any]:
    """An advisory on a package that does not exist."""
    affected = {
        "package": {"ecosystem": "PyPI", "name": "Made_Up.package"},
        "ranges": [{"type": "ECOSYSTEM", "events": events or []}, {"type": "GIT", "events": [{"introduced": "0"}]}],
    }
    whole = {"id": "MADE-UP-1", "modified": "2026-01-02T03:04:05Z", "summary": "made up", "affected": [affected]}
    return whole | changes


@pytest.mark.parametrize(
    ("version", "hit"),
    [
        ("0.1", True),
        ("1.1.9", True),
        ("1.2.0rc1", True),
        ("1.2", False),
        ("1.9", False),
        ("2.0.0", True),
        ("2.1", True),
        ("2.1+cpu", True),
        ("2.1.1", False),
    ],
)
def test_ranges_of_an_advisory(version, hit):
    assert audit.affects(advisory(FIXED), "made-up-package", version) is hit
    assert audit.affects(advisory(FIXED[::-1]), "made-up-package", version) is hit


def test_versions_that_an_advisory_lists():
    listed = advisory()
    listed["affected"][0]["versions"] = ["1.0", "not a version"]
    assert audit.affects(listed, "made.up.package", "1.0.0") and not audit.affects(listed, "made.up.package", "1.0.1")


def test_other_packages_other_ecosystems_and_withdrawn_advisories_do_not_count():
    assert not audit.affects(advisory(FIXED), "another-package", "0.1")
    assert not audit.affects(advisory(FIXED, withdrawn="2026-01-03T00:00:00Z"), "made-up-package", "0.1")
    npm = advisory(FIXED)
    npm["affected"][0]["package"]["ecosystem"] = "npm"
    assert not audit.affects(npm, "made-up-package", "0.1")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The scripts, with locks of one package that does not exist."""
    for name in ("audit", "locked", "sbom"):
        (tmp_path / f"{name}.py").write_text((ROOT / f"envs/{name}.py").read_text())
    (tmp_path / "locks").mkdir()
    for names in locked.INSTALLED.values():
        for name in names:
            (tmp_path / f"locks/{name}.txt").write_text("made-up-package==1.1 ; x < 1 \\\n    --hash=sha256:00\n")
    return tmp_path


def run(folder: Path, script: str, *options: str) -> tuple[int, str]:
    command = [sys.executable, str(folder / f"{script}.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_audit_names_what_is_affected_and_the_date_of_its_list(project):
    (project / "advisories/more").mkdir(parents=True)
    (project / "advisories/1.json").write_text(json.dumps(advisory(FIXED)))
    (project / "advisories/more/2.json").write_text(json.dumps(advisory([{"introduced": "5"}], id="MADE-UP-2")))
    found = "made-up-package 1.1: MADE-UP-1 made up\n1 packages, 2 advisories up to 2026-01-02: 1 affected\n"
    assert run(project, "audit") == (1, found)
    none = "1 packages, 2 advisories up to 2026-01-02: 0 affected\n"
    assert run(project, "audit", "--ignore", "MADE-UP-1") == (0, none)


def test_without_advisories_the_audit_is_skipped_with_a_word(project):
    status, printed = run(project, "audit")
    assert status == 0 and printed.startswith("audit skipped: no advisories are stored; ")


@pytest.mark.parametrize("text", ["not JSON", "[]", '{"id": "MADE-UP-1"}'])
def test_a_list_that_cannot_be_read_is_an_error(project, text):
    (project / "advisories").mkdir()
    assert run(project, "audit") == (1, f"error: {project}/advisories: there are no OSV files (*.json) here\n")
    (project / "advisories/bad.json").write_text(text)
    status, printed = run(project, "audit")
    assert status == 1 and printed.startswith(f"error: {project}/advisories/bad.json is not an OSV advisory")
    assert "error: " in run(project, "audit", "--advisories", str(project / "nowhere"))[1]


def test_bills_of_materials_are_valid_repeatable_and_complete(tmp_path):
    """`sbom.py` refuses what the schema of CycloneDX refuses."""
    bill_of_materials = pytest.importorskip("sbom").bill_of_materials
    status, printed = run(ROOT / "envs", "sbom", "--out", str(tmp_path))
    assert status == 0, printed
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.cdx.json" for name in locked.INSTALLED}
    for name in locked.INSTALLED:
        components = json.loads((tmp_path / f"{name}.cdx.json").read_text())["components"]
        assert {(one["name"], one["version"]) for one in components} == set(locked.locked(name))
        assert all(one["purl"].startswith(f"pkg:pypi/{one['name']}@") for one in components)
    assert (tmp_path / "trl.cdx.json").read_text() == bill_of_materials("trl")  # of another process


def test_an_environment_has_the_packages_of_all_its_locks():
    names = {name for name, _ in locked.locked("test")}
    assert {"transformers", "torch", "pytest", "uv"} <= names and "trl" not in names


def test_every_lock_belongs_to_an_environment():
    names = {name for names in locked.INSTALLED.values() for name in names}
    assert names == {path.stem for path in (ROOT / "envs/locks").glob("*.txt")}
