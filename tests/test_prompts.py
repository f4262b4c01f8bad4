"""Prompts: one rendering, one encoding, nothing cut, no second BOS."""

import pytest

from astarpo.data.prompts import PromptSettings, appended_tokens, encode_prompts, render

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_render_leaves_other_braces_alone():
    assert render("Q: {problem} {}", r"\frac{1}{2} {problem}") == r"Q: \frac{1}{2} {problem} {}"


def test_too_long_is_left_out_and_named(tiny_policy):
    found = encode_prompts(
        tiny_policy.tokenizer,
        ["a", "b", "c"],
        ["12", "12345", "1"],
        PromptSettings(chat_template=False, system_prompt=None, max_prompt_tokens=2),
    )
    assert found.prompt_ids == ["a", "c"] and found.too_long == ["b"]
    assert [len(tokens) for tokens in found.token_ids] == [2, 1]


@pytest.fixture
def chatty(tiny_policy):
    tokenizer = tiny_policy.tokenizer
    tokenizer.chat_template = TEMPLATE
    yield tokenizer
    tokenizer.chat_template = None


def test_chat_template_and_system_prompt(chatty):
    found = encode_prompts(
        chatty, ["a"], ["1+1"], PromptSettings(chat_template=True, system_prompt="Think.", max_prompt_tokens=99)
    )
    assert chatty.decode(found.token_ids[0]) == "<system>Think.<user>1+1<assistant>"
    found = encode_prompts(
        chatty, ["a"], ["1+1"], PromptSettings(chat_template=True, system_prompt=None, max_prompt_tokens=99)
    )
    assert chatty.decode(found.token_ids[0]) == "<user>1+1<assistant>"


def test_the_length_is_counted_in_tokens_of_the_whole_chat(chatty):
    # apply_chat_template(tokenize=True) returns a mapping, whose length is no number of tokens.
    found = encode_prompts(
        chatty, ["a"], ["1+1"], PromptSettings(chat_template=True, system_prompt=None, max_prompt_tokens=8)
    )
    assert found.too_long == ["a"]


def test_bos_comes_once():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "<unk>": 2}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", unk_token="<unk>")
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0]['content'] }}"
    chat = encode_prompts(
        tokenizer, ["a"], ["a"], PromptSettings(chat_template=True, system_prompt=None, max_prompt_tokens=9)
    )
    plain = encode_prompts(
        tokenizer, ["a"], ["a"], PromptSettings(chat_template=False, system_prompt=None, max_prompt_tokens=9)
    )
    assert chat.token_ids == [[0, 1]] == plain.token_ids


@pytest.mark.parametrize("ends", [["</s>"], ["</s>", "<sep>"]])
def test_what_a_tokenizer_puts_behind_a_text_is_left_off_prompts(ends):
    made = appending(*ends)
    assert made("a a")["input_ids"] == [0, 1, 1, *made.convert_tokens_to_ids(ends)]
    assert made.convert_ids_to_tokens(appended_tokens(made)) == ends
    found = encode_prompts(
        made, ["p", "q"], ["a a", "a a a"], PromptSettings(chat_template=False, system_prompt=None, max_prompt_tokens=3)
    )
    assert found.token_ids == [[0, 1, 1]] and found.too_long == ["q"]


def test_an_end_token_that_the_prompt_itself_ends_with_stays():
    found = encode_prompts(
        appending("</s>"),
        ["p"],
        ["a </s>"],
        PromptSettings(chat_template=False, system_prompt=None, max_prompt_tokens=9),
    )
    assert found.token_ids == [[0, 1, 3]]


def test_most_tokenizers_put_nothing_behind_a_text(tiny_policy):
    assert appended_tokens(tiny_policy.tokenizer) == []
    assert appended_tokens(appending()) == []


def appending(*ends):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {"<s>": 0, "a": 1, "<unk>": 2, "</s>": 3, "<sep>": 4}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(
        " ".join(["<s> $A", *ends]), special_tokens=[(word, words[word]) for word in ("<s>", *ends)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
