"""The end of a response: a base model that is not stopped goes on with another question."""

from __future__ import annotations

import re

# End-of-text tokens; the decoder omits those that the tokenizer knows as special.
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

    That is everything after an end-of-text token (``<|endoftext|>``, ``</s>``), and everything from the first question
    after an answer: a line that begins with ``Question:``, ``Q:``, ``Problem 3:`` or ``Human:``, or a heading like
    these. A question before any answer is part of the response.

    Args:
        text: the response.
        announced: matches an answer, as the verifier expects it: `AFTER_HASHES`, `IN_BOX` or `ANYWHERE`.

    Returns:
        The remaining text, in time linear in its length.
    """
    end = _END.search(text)
    if end is not None:
        text = text[: end.start()]
    answer = announced.search(text)
    following = None if answer is None else _NEXT.search(text, answer.end())
    return text if following is None else text[: following.start()]
