"""Chat templates: whether one can be used as the configuration asks, and how it ends an assistant's turn."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from astarpo.common.errors import InputError

# Words that no template writes by itself.
SYSTEM, USER, ANSWER, NEXT = "Qsystemq", "Quserq", "Qanswerq", "Qnextq"


def check_chat_template(tokenizer: PreTrainedTokenizerBase, system_prompt: str | None) -> None:
    """Refuse a chat template that does not say what it is given.

    Args:
        tokenizer: with or without a template.
        system_prompt: the reference's; None if it has none.

    Raises:
        InputError: there is no template, it cannot be rendered, it refuses a system message, or it leaves the
            system's or the user's message out.
    """
    if not tokenizer.chat_template:
        raise InputError(
            "chat_template: true, but the tokenizer has no chat template: set chat_template: false in the "
            "reference's entry, or put the model's chat_template.jinja beside its tokenizer"
        )
    user = {"role": "user", "content": USER}
    system = {"role": "system", "content": SYSTEM}
    text = _rendered(tokenizer, [user], "chat_template: true, but the tokenizer's chat template fails")
    if USER not in text:
        raise InputError(
            "chat_template: true, but the tokenizer's chat template leaves the user's message out: set "
            "chat_template: false in the reference's entry"
        )
    if system_prompt is None:
        return
    way_out = "leave system_prompt out of the reference's entry, and say it in the data sets' template"
    text = _rendered(
        tokenizer, [system, user], "system_prompt: the tokenizer's chat template refuses a system message", way_out
    )
    for said, name in ((SYSTEM, "system"), (USER, "user")):
        if said not in text:
            raise InputError(
                f"system_prompt = {system_prompt!r}: with a system message, the tokenizer's chat template leaves the "
                f"{name} message out: {way_out}"
            )


def _rendered(
    tokenizer: PreTrainedTokenizerBase,
    messages: list[dict[str, str]],
    problem: str,
    way_out: str = "set chat_template: false in the reference's entry",
) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # jinja2's, the template's own, or whatever its expressions raise
        said = " ".join((str(error).strip() or type(error).__name__).split())
        raise InputError(f"{problem} ({said}): {way_out}") from error


def turn_end_token(tokenizer: PreTrainedTokenizerBase, known: list[int]) -> int | None:
    """Find the token that the chat template writes at the end of an assistant's turn, as ``<|im_end|>``.

    Args:
        tokenizer: with a template that `check_chat_template` let pass.
        known: end tokens of generation config and tokenizer. Another token is believed only if the template writes it
            both at the end of the chat and before the next turn; else it may be how some turn begins.

    Returns:
        The id of a special token; None where the template writes none.
    """
    talk = [{"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}]
    last = _first_token(tokenizer, _behind_answer(tokenizer, talk))
    follow_up = [*talk, {"role": "user", "content": NEXT}]
    before_next = _first_token(tokenizer, _behind_answer(tokenizer, follow_up))
    special = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    if last == before_next and last in special:
        return last
    return next((token for token in (last, before_next) if token in known), None)


def _behind_answer(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    """What a template writes behind the assistant's message; nothing if it takes no such message."""
    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False))
    except Exception:
        return ""
    return text.partition(ANSWER)[2]


def _first_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    ids = tokenizer(text.lstrip(), add_special_tokens=False)["input_ids"]
    return int(ids[0]) if ids else None
