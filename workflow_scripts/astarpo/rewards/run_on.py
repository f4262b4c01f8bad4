"""Where a response ends: a base model that was not stopped goes on with a question of its own making."""

from __future__ import annotations

import re

# Tokens that end a text, spelled out; the decoder leaves them out where the tokenizer knows them as special.
_END = re.compile(
    r"<\|(?:endoftext|end_of_text|eot_id|eom_id|im_end|end|return|eos|EOT|END_OF_TURN_TOKEN)\|>"
    r"|<\uff5cend\u2581of\u2581sentence\uff5c>|<end_of_turn>|<eos>|</s>"
)
# The next turn of a conversation, or the next question of a list of examples.
_NEXT = re.compile(
    r"<\|(?:im_start|start_header_id|user)\|>|<start_of_turn>|\[INST\]|<s>"
    r"|\n[^\S\n]{0,8}[#>*_-]{0,4}[^\S\n]{0,2}(?:question|problem|q|human|user|instruction|example|exercise)"
    r"[^\S\n]{0,2}(?:[0-9]{1,4})?[^\S\n]{0,2}\*{0,2}[^\S\n]{0,2}:"
    r"|\n#{1,6}[^\S\n]{1,2}(?:question|problem|exercise|example)\b",
    re.IGNORECASE,
)
AFTER_HASHES = re.compile(r"(?<!#)#{4,}+[^\n]{0,80}?[0-9]")
IN_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])")
ANYWHERE = re.compile(
    rf"{AFTER_HASHES.pattern}|{IN_BOX.pattern}|\banswer\s{{0,4}}(?:is\b|:)[^\n]{{0,40}}?[0-9]",
    re.IGNORECASE,
)


def without_run_on(text: str, announced: re.Pattern[str]) -> str:
    r"""Cut off what is not part of the response.

    That is everything behind a token that ends a text (``<|endoftext|>``, ``</s>``), and everything from the first
    question on that follows an answer: a line that begins with ``Question:``, ``Q:``, ``Problem 3:``, ``Human:``,
    or such a heading. A question before any answer is part of the response.

    Args:
        text: the response.
        announced: what says that an answer was given; the verifier knows: `AFTER_HASHES`, `IN_BOX`, `ANYWHERE`.

    Returns:
        The text up to there. Found in time linear in its length.
    """
    end = _END.search(text)
    if end is not None:
        text = text[: end.start()]
    answer = announced.search(text)
    following = None if answer is None else _NEXT.search(text, answer.end())
    return text if following is None else text[: following.start()]
