"""What ends a response: every source counts, both engines and the masks use it, and it is taught and written down."""

import json

import model_case
import pytest
import torch
import training_case

from astarpo.common.columns import DATASET
from astarpo.common.errors import InputError
from astarpo.common.files import write_table
from astarpo.model.end_tokens import describe_end_tokens, end_token_ids, tokenizer_end
from astarpo.model.loading import load_policy, load_policy_without_weights
from astarpo.model.world import World
from astarpo.sampling import Request
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings
from astarpo.stage_one.warm_start import encode_solutions
from astarpo.training.job import make_engine

CHAT = {"chat_template": True, "system_prompt": None}
STEPS = {
    "steps": 1,
    "batch_size": 2,
    "lr": 1e-9,
    "lr_schedule": "constant",
    "lr_warmup_steps": 0,
    "adam_betas": [0.9, 0.95],
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "seed": 0,
}


@pytest.fixture
def made():
    return model_case.tokenizer("<|im_start|>", "<|im_end|>", template=model_case.CHATML)


@pytest.fixture
def source(tmp_path, made):
    """A model whose three sources of end tokens disagree, as those of many published ones do."""
    path = model_case.folder(tmp_path / "source", model_case.llama(len(made)), made, eos_token_id=[7])
    return {"kind": "local", "path": path}


def ids(made, *tokens):
    return [made.convert_tokens_to_ids(token) for token in tokens]


def test_generation_config_and_tokenizer_are_taken_together(source, made):
    policy = load_policy(source["path"])
    assert policy.end_token_ids == [7, 1] == load_policy_without_weights(source["path"]).end_token_ids
    policy.model.generation_config.eos_token_id = None
    assert end_token_ids(policy.model, policy.tokenizer) == [1]
    assert end_token_ids(policy.model, policy.tokenizer, first=9) == [9, 1]
    policy.tokenizer.eos_token = None
    policy.model.generation_config.eos_token_id = [8, 8, 7]
    assert end_token_ids(policy.model, policy.tokenizer, first=7) == [7, 8]


def test_a_model_whose_responses_would_never_end_is_refused(source, made):
    policy = load_policy(source["path"])
    size = len(made)
    policy.model.generation_config.eos_token_id = [size, size - 1]
    assert end_token_ids(policy.model, policy.tokenizer) == [size - 1, 1]
    assert f"; ignored, because beyond the vocabulary: {size}" in describe_end_tokens(
        policy.model, policy.tokenizer, [size - 1, 1]
    )
    policy.tokenizer.eos_token = None
    policy.model.generation_config.eos_token_id = size
    with pytest.raises(InputError, match=rf"\({size} is beyond its {size} tokens\).*never end"):
        end_token_ids(policy.model, policy.tokenizer)
    policy.model.generation_config.eos_token_id = None
    with pytest.raises(InputError, match="has no end token, so its"):
        end_token_ids(policy.model, policy.tokenizer)


def test_an_end_token_that_the_tokenizer_takes_for_an_unknown_word_is_none():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    made = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")
    assert tokenizer_end(made) is None
    made._special_tokens_map["eos_token"] = "</s>"  # as a tokenizer_config.json can name one
    assert made.eos_token_id == 0 and tokenizer_end(made) is None
    made.eos_token = "<unk>"
    assert tokenizer_end(made) == 0


def test_preparing_says_what_ends_a_response_and_writes_it_down(source, made, tmp_path, capsys):
    policy, facts = prepare_reference(ReferenceSettings(source=source, warm_start=None), None, "cpu")
    assert "a response ends with 1 '<|endoftext|>', 7 '&'" in capsys.readouterr().out
    assert facts["end_token_ids"] == [1, 7]
    policy.save(tmp_path / "out")
    written = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert written["eos_token_id"] == [1, 7] == load_policy(tmp_path / "out").end_token_ids


def test_texts_that_end_a_response_come_first_and_last(source, made, tmp_path):
    settings = ReferenceSettings(source=source, warm_start=None, end_texts=["+", "&"])
    policy, facts = prepare_reference(settings, None, "cpu")
    (plus,) = made("+", add_special_tokens=False)["input_ids"]
    assert facts["end_token_ids"] == [plus, 7, 1] and ids(made, "&") == [7]
    policy.save(tmp_path / "out")
    assert load_policy(tmp_path / "out").end_token_ids == [plus, 7, 1]
    assert encode_solutions(policy, ["1"]) == [[*made("1")["input_ids"], plus]]


def test_a_text_of_several_tokens_ends_nothing(source):
    with pytest.raises(InputError, match=r"end_texts: '12' must be one token of the tokenizer, but is 2: \['1', '2'\]"):
        prepare_reference(ReferenceSettings(source=source, warm_start=None, end_texts=["12"]), None, "cpu")


def engine_of(folder):
    """The engine of a training as a run makes it, with no end tokens but the model's own."""
    engine, _ = make_engine(folder, training_case.SETTINGS, training_case.MACHINE, World(), 0)
    return engine


def test_the_end_of_a_chat_turn_comes_first_and_lasts(source, made, tmp_path, capsys):
    settings = {"source": source, "warm_start": None, **CHAT}
    policy, _ = prepare_reference(ReferenceSettings(**settings), None, "cpu")
    (end,) = ids(made, "<|im_end|>")
    assert policy.end_token_ids == [end, 7, 1]
    assert f"{end} '<|im_end|>'" in capsys.readouterr().out
    policy.save(tmp_path / "out")
    trained = engine_of(tmp_path / "out").policy
    trained.save(tmp_path / "trained")
    assert set(load_policy(tmp_path / "trained").end_token_ids) == {end, 1, 7}
    assert load_policy_without_weights(tmp_path / "trained").end_token_ids[0] == end
    assert encode_solutions(policy, ["1"]) == [[*made("1")["input_ids"], end]]


def test_the_masks_of_training_end_at_each_of_them(source, tmp_path):
    settings = {"source": source, "warm_start": None, **CHAT}
    policy, _ = prepare_reference(ReferenceSettings(**settings), None, "cpu")
    policy.save(tmp_path / "out")
    engine = engine_of(tmp_path / "out")
    assert len(engine.policy.end_token_ids) == 3
    for end in engine.policy.end_token_ids:
        (part,) = engine.micro_batches([[4]], [[5, end, 5, 5]], [0])
        assert part.batch.mask_BT.tolist() == [[True, True]]


def draw(policy):
    sampler = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, 8)
    requests = [Request("p", index, index, [5]) for index in range(8)]
    return sampler.sample(requests, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=40))


@pytest.mark.parametrize("end", [1, 7, 260])
def test_sampling_ends_with_whichever_comes(source, made, tmp_path, end):
    settings = {"source": source, "warm_start": None, **CHAT}
    policy, _ = prepare_reference(ReferenceSettings(**settings), None, "cpu")
    assert end in policy.end_token_ids
    # Nothing else can be drawn than this end token and one other.
    others = [token for token in range(len(made)) if token not in (end, 5)]

    class Only(torch.nn.Module):
        def __init__(self, head):
            super().__init__()
            self.head, self.weight = head, head.weight

        def forward(self, hidden):
            return self.head(hidden).index_fill(-1, torch.tensor(others), float("-inf"))

    policy.model.lm_head = Only(policy.model.lm_head)
    drawn = draw(policy)
    assert {one.finish_reason for one in drawn} == {"stop"}
    assert all(one.token_ids[-1] == end and end not in one.token_ids[:-1] for one in drawn)


@pytest.mark.parametrize(("chat", "token"), [(True, "<|im_end|>"), (False, "<|endoftext|>")])
def test_a_warm_start_teaches_the_end_of_the_turn_or_else_the_tokenizers(source, made, tmp_path, chat, token):
    rows = [
        {
            "prompt_id": f"p{i}",
            "problem": f"{i}",
            "prompt": f"{i}",
            "gold": "2",
            "verifier": "integer",
            "worked_solution": "9",
            "source_index": i,
        }
        for i in range(4)
    ]
    write_table(tmp_path / "d.parquet", rows, DATASET)
    prompting = {"chat_template": chat, "system_prompt": None, "max_prompt_tokens": 40}
    steps = {**STEPS, "steps": 40, "lr": 3e-2}
    settings = {"source": source, "warm_start": steps, **prompting, "torch_threads": 1}
    policy, facts = prepare_reference(ReferenceSettings(**settings), str(tmp_path / "d.parquet"), "cpu")
    assert facts["warm_start_loss"] < 0.1
    chatml = ids(made, "<|im_start|>")[0]
    prompt = "<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n" if chat else "1"
    tokens = made(prompt, add_special_tokens=False)["input_ids"]
    assert (chatml in tokens) == chat
    with torch.no_grad():
        first = policy.model(torch.tensor([tokens])).logits[0, -1].argmax()
        second = policy.model(torch.tensor([[*tokens, int(first)]])).logits[0, -1].argmax()
    assert made.convert_ids_to_tokens([int(first), int(second)]) == ["9", token]


def test_solutions_beyond_the_models_positions_are_left_out_and_counted(source, tmp_path, capsys):
    rows = [
        {
            "prompt_id": f"p{i}",
            "problem": f"{i}",
            "prompt": f"{i}",
            "gold": "2",
            "verifier": "integer",
            "worked_solution": "2" * length,
            "source_index": i,
        }
        for i, length in enumerate([1, 62, 63, 1])
    ]
    write_table(tmp_path / "d.parquet", rows, DATASET)
    prompting = {"chat_template": False, "system_prompt": None, "max_prompt_tokens": 4}
    settings = {"source": source, "warm_start": STEPS, **prompting, "torch_threads": 1}
    _, facts = prepare_reference(ReferenceSettings(**settings), str(tmp_path / "d.parquet"), "cpu")
    assert facts["warm_start_solutions_too_long"] == 1 and facts["warm_start_prompts"] == 3
    assert "1 worked solutions, with their prompts, have" in capsys.readouterr().out
