"""Chat templates: whether one works with the configuration, and how it ends an assistant's turn."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from astarpo.common.errors import InputError

# Words that do not occur in any template.
SYSTEM, USER, ANSWER, NEXT = "Qsystemq", "Quserq", "Qanswerq", "Qnextq"


def check_chat_template(tokenizer: PreTrainedTokenizerBase, system_prompt: str | None) -> None:
    """Refuse a chat template that omits the messages it is given.

    Args:
        tokenizer: with or without a template.
        system_prompt: the reference's system prompt, if any.

    Raises:
        InputError: there is no template, it cannot be rendered, it refuses a system message, or it omits the
            system's or the user's message.
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
    way_out = "remove system_prompt from the reference's entry, and put its text into the data sets' template"
    text = _rendered(
        tokenizer, [system, user], "system_prompt: the tokenizer's chat template refuses a system message", way_out
    )
    for content, name in ((SYSTEM, "system"), (USER, "user")):
        if content not in text:
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
    except Exception as error:  # from jinja2, raised by the template, or by one of its expressions
        message = " ".join((str(error).strip() or type(error).__name__).split())
        raise InputError(f"{problem} ({message}): {way_out}") from error


def turn_end_token(tokenizer: PreTrainedTokenizerBase, known: list[int]) -> int | None:
    """Find the token that the chat template writes at the end of an assistant's turn, such as ``<|im_end|>``.

    Args:
        tokenizer: with a template accepted by `check_chat_template`.
        known: end tokens of generation config and tokenizer. Any other token counts only if the template writes it
            both at the end of the chat and before the next turn; otherwise it may begin a turn.

    Returns:
        The id of a special token, or None.
    """
    chat = [{"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}]
    last = _first_token(tokenizer, _text_after_answer(tokenizer, chat))
    follow_up = [*chat, {"role": "user", "content": NEXT}]
    before_next = _first_token(tokenizer, _text_after_answer(tokenizer, follow_up))
    special = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    if last == before_next and last in special:
        return last
    return next((token for token in (last, before_next) if token in known), None)


def _text_after_answer(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    """Return what a template writes after the assistant's message; empty if it rejects assistant messages."""
    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False))
    except Exception:
        return ""
    return text.partition(ANSWER)[2]


def _first_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    ids = tokenizer(text.lstrip(), add_special_tokens=False)["input_ids"]
    return int(ids[0]) if ids else None
