"""Chat templates that cannot say what they are given are refused; how a turn ends is read from the template."""

import model_case
import pytest

from astarpo.common.errors import InputError
from astarpo.model.chat_template import check_chat_template, turn_end_token
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings

RAISES = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
)
DROPS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
MERGES = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}[INST] {{ system if loop.first }}{{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
)
SPECIAL = ("<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|bot|>")


def made(template):
    return model_case.tokenizer(*SPECIAL, template=template)


@pytest.mark.parametrize("template", [model_case.CHATML, MERGES])
def test_templates_that_say_both_messages_pass(template):
    check_chat_template(made(template), "Think.")
    check_chat_template(made(template), None)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (RAISES, r"refuses a system message \(System role not supported\): remove system_prompt"),
        (DROPS, r"system_prompt = 'Think\.'.* leaves the system message out: remove"),
        ("{{ messages[0]['content'] }}", "leaves the user message out"),
    ],
)
def test_templates_that_refuse_or_drop_a_message_are_refused_with_a_system_prompt(template, said):
    with pytest.raises(InputError, match=said):
        check_chat_template(made(template), "Think.")
    check_chat_template(made(template), None)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, r"no chat template: set chat_template: false .* or put the model's chat_template\.jinja"),
        ("{{ messages[0]['content'", "chat template fails"),
        ("{{ raise_exception('not for chats') }}", r"chat template fails \(not for chats\): set"),
        ("Hello.", "leaves the user's message out"),
    ],
)
def test_templates_of_no_use_are_refused_in_any_case(template, said):
    with pytest.raises(InputError, match=said):
        check_chat_template(made(template), None)


NEXT_ONLY = (  # ends a turn only where another one follows
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' and not loop.last %}{{ eos_token }}{% endif %}{% endfor %}"
)
ALWAYS_PROMPTS = (  # no end at all, and the next turn is begun whether asked for or not
    "{% for m in messages %}{{ '<|user|>' if m['role'] == 'user' else '<|bot|>' }}{{ m['content'] }}{% endfor %}<|bot|>"
)
PLAIN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n\n{% endfor %}"


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (model_case.CHATML, "<|im_end|>"),
        (RAISES, "<end_of_turn>"),
        (DROPS, "<|endoftext|>"),
        (MERGES, "<|endoftext|>"),
        (NEXT_ONLY, "<|endoftext|>"),
        (ALWAYS_PROMPTS, None),
        (PLAIN, None),
    ],
)
def test_the_token_that_ends_a_turn_is_read_from_the_template(template, end):
    tokenizer = made(template)
    found = turn_end_token(tokenizer, [tokenizer.eos_token_id])
    assert found == (None if end is None else tokenizer.convert_tokens_to_ids(end))


@pytest.mark.parametrize("template", [None, RAISES, DROPS])
def test_preparing_a_reference_refuses_before_the_weights_are_read(tmp_path, template):
    tokenizer = made(template)
    path = model_case.folder(tmp_path / "m", model_case.llama(len(tokenizer)), tokenizer)
    (tmp_path / "m/model.safetensors").unlink()
    prompting = {"chat_template": True, "system_prompt": "Think."}
    settings = {
        "source": {"kind": "local", "path": path},
        "warm_start": None,
        **prompting,
    }
    with pytest.raises(InputError, match="chat template"):
        prepare_reference(ReferenceSettings(**settings), None, "cpu")
