r"""Single numbers as models and data sets write them: with markup, a unit or a multiplier."""

from __future__ import annotations

import itertools
import re
import unicodedata
from fractions import Fraction

from astarpo.rewards.markup import unwrap

LONGEST = 3000  # characters: 1,000 digits on either side of the point, and markup

_CURRENCY = r"(?:(?:US|CA|AU|NZ|HK)?\\?\$|[\u20ac\u00a3\u00a5\u20a9\u20b9\u20bd]|(?:USD|EUR|GBP|Rs\.?)(?![A-Za-z]))"
_DEGREES = r"(?:\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\degree(?![A-Za-z])|\^?\u00b0)(?:\s?[CF]\b)?"
# Commas separate groups of three digits: 1,234 is a number, 12,34 and 2,5 are lists.
DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3}){1,300}(?![0-9])|[0-9]{1,1000})"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?|(?:minus|negative)(?=\s+[0-9.$]))\s*(?:{_CURRENCY}\s*)?(?P<sign2>[-+]?)(?P<digits>{DIGITS}(?:\.[0-9]{{1,1000}})?|\.[0-9]{{1,1000}})"
    r"(?:[eE](?P<e>[-+]?[0-9]{1,3})|\s*(?:\\times|\\cdot|\u00d7|\u00b7)\s*10\s*\^\s*(?:(?P<p>[0-9])|\{(?P<p2>-?[0-9]{1,3})\}))?"
)
_TEXT = r"\\(?:text|textrm|mathrm|mbox|textit|textbf)\s*\{(?P<words>[^{}]*)\}"
_POWER = r"(?:\s?\^\s?\{?[23]\}?|[\u00b2\u00b3])?"
_TAIL_IN_LATEX = re.compile(rf"(?:\\[,;: ]|~|\s)*(?:(?:{_DEGREES}|{_CURRENCY})(?:\\[,;: ]|~|\s)*)?(?:{_TEXT}{_POWER})?")
_TAIL = re.compile(rf"\s*(?:{_DEGREES}|{_CURRENCY})?(?P<words>(?:\s.*)?)")
_WORD = re.compile(rf"[^\W\d_]+(?:[-/][^\W\d_]+)*{_POWER}")
_MOST_WORDS = 5
_ANSWER = re.compile(
    r"\*{0,3}(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|my|our)\s+)?(?:final\s+|correct\s+)?"
    r"(?:answer|ans|result|solution|total)\s{0,4}\*{0,3}\s{0,4}(?:is\s{0,4}:?|:|=)(?:\*{1,3}(?=\s))?\s*",
    re.IGNORECASE,
)
_DRESSED = re.compile(
    r"(?P<number>\$[^$]{1,200}\$|\\\([^()]{1,200}\\\)|(?P<stars>\*{1,3})[^*]{1,200}(?P=stars)|`[^`]{1,200}`"
    r"|\\(?:boxed|fbox|textbf|mathbf|text)\s*\{[^{}]{1,200}\})(?P<rest>\s.*)",
    re.DOTALL,
)

MULTIPLIERS = {
    "dozen": 12,
    "dozens": 12,
    "hundred": 100,
    "hundreds": 100,
    "thousand": 10**3,
    "thousands": 10**3,
    "million": 10**6,
    "millions": 10**6,
    "billion": 10**9,
    "billions": 10**9,
    "trillion": 10**12,
    "trillions": 10**12,
}
# Words that do not occur in units: a text with one of them is not just a number.
_OTHER_WORDS = """
is are was were be been isnt arent wasnt equals equal gives makes means seems looks becomes has have had does did do
should would could might may must can cannot will shall think thinks guess guessing believe suppose assume
est ist sind es son nicht falsch faux pas nein keine mal
no not nor never none neither nope wrong incorrect false bad error errors mistake mistaken nonsense invalid
unsure unclear uncertain unknown undefined unlikely likely probably possibly perhaps maybe
approximately approx about around roughly nearly almost circa least most minimum maximum
and or but yet so because since if unless though although while then else except instead however wait hmm oops sorry
actually rather otherwise versus vs und oder et ou y
plus minus divided multiplied modulo mod remainder negative positive below squared cubed factorial
doubled tripled halved double triple twice thrice half halves third thirds fourth fourths fifth fifths sixth sixths
seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths thousandth thousandths millionth
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety tens infinity
dozen dozens hundred hundreds thousand thousands million millions billion billions trillion trillions quadrillion
quintillion sextillion septillion octillion googol gazillion zillion bazillion bln trn kilo mega giga micro nano
sqrt root power exponent ppm ppb kidding joking joke jk lol hopefully nah psych
couple gross score lakh lakhs crore crores mil mill mln bn mn tn myriad mille mio mrd milliard milliards milliarden
millionen millones tausend hundert dutzend douzaine douzaines docena docenas
"""
NO_UNITS = frozenset(_OTHER_WORDS.split())
_UNITS_OF_A_LETTER = frozenset("mglLhstdCF")  # other letters are variables, or abbreviate a multiplier
_LARGE_IN_CHINESE = frozenset("\u5341\u767e\u5343\u4e07\u842c\u4ebf\u5104\u5146")


def read_number(text: str, in_latex: bool = False) -> Fraction | None:
    r"""Read a text that is one number, exactly.

    Markup is removed (see `markup.unwrap`), and so are a leading "Answer:", currency, degree and percent signs, and
    a unit: at most five words, none of which changes the number or makes a sentence. ``dozen``, ``hundred``, ...,
    ``trillion`` multiply it. ``1.5e3`` and ``1.5\times 10^3`` are 1500.

    Args:
        text: a text that holds nothing but the number.
        in_latex: units must be in ``\text{}``, since bare letters are variables, and percent signs are not allowed.

    Returns:
        The number, None if the text is not exactly one.
    """
    if len(text) > LONGEST:
        return None
    text = _undressed(unwrap(text))
    match = _NUMBER.match(text)
    if match is None or (match["sign"] and match["sign2"]):
        return None
    factor = _factor(text[match.end() :], in_latex)
    if factor is None:
        return None
    exponent = int(match["e"] or match["p"] or match["p2"] or 0)
    number = Fraction(match["digits"].replace(",", "")) * Fraction(10) ** exponent * factor
    negative = match["sign"] not in ("", "+") or match["sign2"] == "-"
    return -number if negative else number


def read_integer(text: str, in_latex: bool = False) -> int | None:
    """Like `read_number`, for integers: 25.0 is one, 25.5 is not."""
    number = read_number(text, in_latex)
    return None if number is None or number.denominator != 1 else int(number)


def announces_answer(text: str) -> bool:
    """Whether a text is only "Answer:" or "Final answer"."""
    return _ANSWER.fullmatch(unwrap(text).rstrip("*: ") + ": ") is not None


def _undressed(text: str) -> str:
    """Remove "Answer:", and markup around the number alone, as in ``**18** eggs``."""
    label = re.match(_TEXT, text)
    if label is not None and announces_answer(label["words"]):
        text = text[label.end() :]
    announced = _ANSWER.match(text)
    text = unwrap(text if announced is None else text[announced.end() :])
    if re.fullmatch(r"\([^()]*\)", text):
        text = text[1:-1].strip()
    dressed = _DRESSED.fullmatch(text)
    return text if dressed is None else unwrap(dressed["number"]) + dressed["rest"]


def _factor(tail: str, in_latex: bool) -> int | None:
    """The multiplier after a number: 1 for nothing or a unit, None for other text."""
    if not in_latex:
        tail = re.sub(rf"(?:\\[,;: ]|~)*{_TEXT}", lambda match: f" {match['words']} ", tail)
        tail = re.sub(r"^\s*\\?%", " percent", tail)
        tail = re.sub(r"\(([^()]*)\)", r"\1", tail)
    match = (_TAIL_IN_LATEX if in_latex else _TAIL).fullmatch(tail)
    if match is None:
        return None
    words = (match["words"] or "").strip().removesuffix(".").split()
    factor = MULTIPLIERS.get(words[0].lower(), 1) if words else 1
    units = words[1:] if factor > 1 else words
    return factor if len(words) <= _MOST_WORDS and _is_unit(units) else None


def _is_unit(words: list[str]) -> bool:
    for word in words:
        letters = re.split(r"[^\w]|\^", word)
        if _WORD.fullmatch(word) is None or any(piece.lower() in NO_UNITS for piece in letters):
            return False
        if len(word) == 1 and word.isascii() and word not in _UNITS_OF_A_LETTER | {"a"}:
            return False
        # Regular expressions count fractions and circled digits as letters.
        if _LARGE_IN_CHINESE & set(word) or any(
            unicodedata.category(character) == "No" for character in word.rstrip("\u00b2\u00b3")
        ):
            return False
    # 18 percent is 18 %, but 18 percent of something is another number.
    return ("percent", "of") not in itertools.pairwise(words)
