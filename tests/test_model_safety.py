"""Models that would run code when they are loaded: refused in one line, never asked about on the terminal."""

from __future__ import annotations

import ast
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from config_case import changed, message
from pydantic import ValidationError

from astarpo.common.errors import InputError
from astarpo.common.files import read_json, write_json
from astarpo.common.provenance import manifest
from astarpo.config import load_config
from astarpo.model.files import content_of, files_of, trusts_remote_code, weight_files
from astarpo.model.loading import load_policy, load_policy_without_weights
from astarpo.model.safety import check_safe, code_files
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings

ROOT = Path(__file__).resolve().parent.parent
# A class of the model's own, which leaves a trace when Python reads it.
CODE = """
import os
from pathlib import Path
from transformers import Qwen2ForCausalLM

Path(os.environ["TRACE"]).write_text("ran")

class Own(Qwen2ForCausalLM):
    own = True
"""


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the model's code writes; whoever is asked says yes."""
    monkeypatch.setenv("TRACE", str(tmp_path / "trace"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    return tmp_path / "trace"


@pytest.fixture
def with_code(tiny_folder: Path, tmp_path: Path) -> Path:
    """The tiny model with code of its own."""
    folder = shutil.copytree(tiny_folder, tmp_path / "with code")
    (folder / "modeling_own.py").write_text(CODE)
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}})
    return folder


def settings(folder: Path, **source: Any) -> ReferenceSettings:
    source = {"kind": "local", "path": str(folder), **source}
    return ReferenceSettings(source=source, chat_template=False, system_prompt=None)


REFUSAL = (
    "config.json names code of the model's own (modeling_own.py), which was not run: read it, then allow it "
    "by references.mine.source.trust_remote_code: true, or remove auto_map from config.json in a copy of the model, to "
    "load it with the classes of transformers"
)


def test_code_is_refused_by_name_without_a_question(with_code, trace):
    with pytest.raises(InputError) as caught:
        prepare_reference(settings(with_code), None, "cpu", name="mine")
    assert str(caught.value) == f"{with_code}: {REFUSAL}"
    assert not trace.exists() and sys.stdin.read() == "y\n" * 9


@pytest.mark.parametrize("load", [load_policy, load_policy_without_weights])
def test_no_other_stage_runs_it_either(load, with_code, trace):
    with pytest.raises(InputError, match="allow it by trust_remote_code under `source` of the reference: true"):
        load(with_code)
    assert not trace.exists() and sys.stdin.read() == "y\n" * 9


def test_code_of_a_tokenizer_counts_as_well(tiny_folder, tmp_path, trace):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    config = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", {**config, "auto_map": {"AutoTokenizer": ["a.Slow", "me/x--b.Fast"]}})
    with pytest.raises(InputError, match=r"tokenizer_config.json names code of the model's own \(a.py, me/x--b.py\)"):
        load_policy(folder)


# Both kinds of refusal in a process with a cache as the hub's client fills it, and a yes on its standard input.
FROM_HUB = """
import sys
from pathlib import Path
from astarpo.common.errors import InputError
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings

hub = ReferenceSettings(source={"kind": "hub", "id": "me/own"}, chat_template=False, system_prompt=None)
for _ in range(2):
    try:
        prepare_reference(hub, None, "cpu", name="mine")
    except InputError as error:
        print("refused:", error)
    config = Path(sys.argv[1])
    config.write_text(config.read_text().replace("auto_map", "other"))
print(sys.stdin.read().count("y"))
"""


def test_a_model_of_the_hub_is_refused_before_its_weights_are_loaded(with_code, trace, tmp_path):
    """With its code, and without, when its weights are found to be pickled."""
    (with_code / "model.safetensors").unlink()
    (with_code / "pytorch_model.bin").write_bytes(b"pickled")
    commit, cached = "0" * 40, tmp_path / "hub/models--me--own"
    shutil.copytree(with_code, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(commit)
    done = subprocess.run(
        [sys.executable, "-c", FROM_HUB, cached / "snapshots" / commit / "config.json"],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        cwd=ROOT / "workflow_scripts",
        input="y\n" * 9,
        capture_output=True,
        text=True,
    )
    code, pickled = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    assert code == f"refused: me/own: {REFUSAL}"
    assert pickled.startswith(
        "refused: the model of 'me/own' cannot be loaded: it has no safetensors files. Reading pick"
    )
    assert done.stdout.endswith("\n9\n") and not trace.exists()


def test_a_trusted_model_runs_its_code_and_its_manifest_says_so(with_code, trace, tmp_path):
    policy, facts = prepare_reference(settings(with_code, trust_remote_code=True), None, "cpu", name="mine")
    assert trace.read_text() == "ran" and policy.model.own and facts["trust_remote_code"] is True
    prepared = tmp_path / "prepared"
    policy.save(prepared / "model")
    write_json(prepared / "manifest.json", manifest({}, {"model": prepared / "model"}, 0.0, **facts))
    assert trusts_remote_code(prepared / "manifest.json")
    # Its copy has the code as well, and asks for the same permission.
    with pytest.raises(InputError, match="modeling_own.py"):
        load_policy(prepared / "model")
    again = load_policy(prepared / "model", trust_remote_code=True)
    assert again.model.own and again.trust_remote_code
    assert load_policy_without_weights(prepared / "model", trust_remote_code=True).model.own


def test_permission_is_not_given_by_another_manifest_or_by_the_model(with_code, tmp_path, trace):
    write_json(tmp_path / "manifest.json", {"outputs": {"model": "0"}})
    assert not trusts_remote_code(tmp_path / "manifest.json")
    write_json(tmp_path / "manifest.json", {"outputs": {"model": "0"}, "trust_remote_code": "true"})
    assert not trusts_remote_code(tmp_path / "manifest.json")
    config = read_json(with_code / "config.json")
    write_json(with_code / "config.json", {**config, "trust_remote_code": True})
    with pytest.raises(InputError, match="was not run"):
        load_policy(with_code)
    assert not trace.exists()


def test_the_setting_is_off_by_default_and_of_one_reference():
    local, hub = {"kind": "local", "path": "m"}, {"kind": "hub", "id": "me/own"}
    references = changed()["references"]
    entry = {key: references["tiny"][key] for key in ("max_prompt_tokens",)}

    def configured(source: dict[str, Any]) -> dict[str, Any]:
        return changed(
            references={**references, "own": {**entry, "source": source}, "other": {**entry, "source": local}}
        )

    config = load_config(configured({**local, "trust_remote_code": True}))
    assert config.references["own"].source.trust_remote_code and not config.references["other"].source.trust_remote_code
    assert "references.own.source.trust_remote_code = True: needs references.own.source.revision" in message(
        configured({**hub, "trust_remote_code": True})
    )
    load_config(configured({**hub, "trust_remote_code": True, "revision": "0123abc"}))
    with pytest.raises(ValidationError, match="unknown key"):
        ReferenceSettings(source={**references["tiny"]["source"], "trust_remote_code": True})


def test_the_code_is_part_of_the_models_content(with_code, tiny_folder, tmp_path):
    (with_code / "helper.py").write_text("x = 1")
    (with_code / "README.md").write_text("")
    assert {"modeling_own.py", "helper.py"} == {path.name for path in files_of(with_code) if path.suffix == ".py"}
    before = content_of(with_code, tmp_path / "h")
    (with_code / "helper.py").write_text("x = 2")
    assert content_of(with_code, tmp_path / "h") != before
    plain = shutil.copytree(tiny_folder, tmp_path / "plain")
    (plain / "convert.py").write_text("")
    assert content_of(plain, tmp_path / "h") == content_of(tiny_folder, tmp_path / "h")


@pytest.mark.parametrize("auto_map", [None, "x", [], [None], {}, {"AutoConfig": None}, {"AutoConfig": [None, 1]}, 7])
def test_an_auto_map_without_code_is_none(auto_map):
    assert code_files({"auto_map": auto_map}) == []


# Pickled weights.


class Explodes:
    """What a pickle can do when it is read."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (Path(os.environ["TRACE"]), "ran")


PICKLES = {
    "pytorch_model.bin": "its weights are pickled, pytorch_model.bin.",
    "pytorch_model-00001-of-00002.bin": "its weights are pickled, pytorch_model-00001-of-00002.bin.",
    "model.pt": "its weights are pickled, model.pt.",
    "consolidated.00.pth": "its weights are pickled, consolidated.00.pth.",
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickled_weights_are_refused_in_one_line(name, tiny_folder, tmp_path, trace):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save(Explodes(), folder / name)
    torch.save({}, folder / "zzz.pt")
    for load in (load_policy, load_policy_without_weights):
        with pytest.raises(InputError) as caught:
            load(folder)
        said = str(caught.value)
        assert said.startswith(
            f"{folder}: {PICKLES[name]} Reading pickled weights can run any code. Convert them where"
        )
        assert "\n" not in said and not trace.exists()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"adapter_config.json": "{}", "adapter_model.bin": "x"}, "adapters are pickled, adapter_model.bin"),
        (
            {"model.safetensors.index.json": {"weight_map": {"w": "evil.bin"}}},
            "names weights that are not safetensors, evil",
        ),
        ({"config.json": {"transformers_weights": "evil.bin"}}, "names weights that are not safetensors, evil.bin"),
        (
            {"config.json": {"transformers_weights": "evil.bin.index.json"}},
            "names weights that are not safetensors, evil.bin.index.json",
        ),
    ],
)
def test_pickles_that_another_file_leads_to_are_refused(files, expected, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    for name, content in files.items():
        earlier = read_json(folder / name) if (folder / name).exists() else {}
        (folder / name).write_text(content if isinstance(content, str) else json.dumps({**earlier, **content}))
    with pytest.raises(InputError, match=expected):
        load_policy(folder)


def test_safetensors_are_taken_whatever_lies_beside_them(tiny_folder, tmp_path, trace):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin"):
        torch.save(Explodes(), folder / name)
    (folder / "adapter_model.bin").write_bytes(b"")
    shutil.copy(folder / "model.safetensors", folder / "adapter_model.safetensors")
    write_json(
        folder / "config.json", {**read_json(folder / "config.json"), "transformers_weights": "model.safetensors"}
    )
    check_safe(folder, False)
    assert [path.name for path in weight_files(folder)] == ["model.safetensors"]
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").unlink()
    load_policy(folder)
    assert not trace.exists()


def test_the_words_on_how_to_convert_are_right(tiny_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_folder, tmp_path / "it's here, converted")
    (folder / "model.safetensors").unlink()
    torch.save(load_policy(tiny_folder).model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(InputError) as caught:
        load_policy(folder)
    said, _, command = str(caught.value).partition(" The command: ")
    new = "it's here, converted-safetensors"
    assert said.endswith(f"source: {{kind: local, path: {new}}}.")
    python, option, code = shlex.split(command)  # as a shell takes it
    assert (python, option) == ("python", "-c")
    monkeypatch.chdir(tmp_path)
    exec(code)
    before, now = load_policy(tiny_folder).model.state_dict(), load_policy(new).model.state_dict()
    assert all(torch.equal(before[name], now[name]) for name in before)


# No call leaves it to transformers whether to ask.


def calls() -> Iterator[Any]:
    for path in sorted([*ROOT.glob("workflow_scripts/**/*.py"), *ROOT.glob("bench/*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name == "LLM" or (name.startswith("Auto") and name.endswith((".from_pretrained", ".from_config"))):
                yield pytest.param(node, id=f"{path.name}:{node.lineno}")


@pytest.mark.parametrize("call", list(calls()))
def test_every_call_says_whether_code_is_trusted(call):
    assert "trust_remote_code" in [keyword.arg for keyword in call.keywords]


def test_the_calls_were_found():
    assert len(list(calls())) >= 9
