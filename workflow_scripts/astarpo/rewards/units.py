r"""Units after a value: what is a unit, what changes the value, and when two units differ.

A word after a number is a unit (``13 cm``, ``13 \text{ apples}``), but a letter is not: ``5t`` is a product. Numerals
scale (``13 million``), and words that could change the meaning (``13 is wrong``, ``13 dozen``) leave no value.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from astarpo.rewards.numerals import NO_UNITS

_SCALES = {
    "thousand": 3,
    "million": 6,
    "millions": 6,
    "billion": 9,
    "billions": 9,
    "trillion": 12,
    "trillions": 12,
}
# Words that change the value or meaning of a number.
_TURNING_WORDS = """
is are was not no isnt arent wrong false incorrect or and but if unless when where for all any each except than
to through until from with without plus minus times over more less fewer least most about approximately maybe
half halves quarter quarters third thirds fourth fourths fifth fifths sixth sixths sevenths eighth eighths
ninths tenth tenths twelfths sixteenths hundredth hundredths thousandth thousandths millionths hundred hundreds
thousands dozen dozens score pair pairs gross squared cubed factorial percent negative mod modulo base answer
equal equals only otherwise impossible undefined
"""
# With those of the number verifiers, and abbreviated numerals.
_TURNING = frozenset(_TURNING_WORDS.split()) | NO_UNITS
_ABBREVIATIONS = frozenset(("k", "M", "MM", "B", "T", "bn", "mn"))
# Units that sympy lacks or names differently.
_SPELLINGS = """
inch: in; foot: ft; yard: yd yds; mile: mi; mile/hour: mph; kilometer/hour: kmh kph; pound: lb lbs; ounce: oz ounces
kilometer: km; decimeter: dm; centimeter: cm; millimeter: mm; nanometer: nm; kilogram: kg; gram: gm gms; milligram: mg
milliliter: ml; centimeter^3: cc; gallon: gal gallons; acre: acre acres; hour: hr hrs; minute: min mins
second: sec secs; millisecond: ms; nanosecond: ns; year: yr yrs; week: week weeks; month: month months
cent: cent cents; dollar: dollar dollars usd; euro: euro euros eur; yuan: yuan; rupee: rupees rs
degree: degree degrees deg; radian: rad radians; steradian: sr; fahrenheit: fahrenheit; celsius: celsius
joule: joules; kilojoule: kj; erg: erg ergs; electronvolt: ev; kiloelectronvolt: kev; megaelectronvolt: mev
watt: watts; kilowatt: kw; milliwatt: mw; hertz: hz; megahertz: mhz; gigahertz: ghz; pascal: pa; kilopascal: kpa
atmosphere: atm; mole: mol moles; astronomical_unit: au; lightyear: ly; parsec: pc; kiloparsec: kpc; megaparsec: mpc
"""
_UNITS = {
    spelling: name.strip()
    for name, spellings in (entry.split(":") for entry in re.split("[;\n]", _SPELLINGS) if entry)
    for spelling in spellings.split()
}
_LETTERS = {
    "m": "meter",
    "s": "second",
    "g": "gram",
    "h": "hour",
    "l": "liter",
    "L": "liter",
    "N": "newton",
    "J": "joule",
    "W": "watt",
    "V": "volt",
    "A": "ampere",
    "K": "kelvin",
    "C": "coulomb",
    "F": "farad",
}


class Measured(NamedTuple):
    """A value without its unit, the power of ten of its numeral, and the unit, "" if there is none."""

    value: str
    power: int
    unit: str


_POWER = r"(?:\s*\^\s*(?:\{\s*-?[0-9]\s*\}|-?[0-9]))?"
_TEXT_UNIT = re.compile(
    rf"(?P<value>.*?[^\s\\/])\s*(?P<unit>(?<![\^_{{])(?:\s*(?:/\s*|\\cdot\s*)?\\text\{{[^{{}}]*\}}{_POWER})+)\s*$",
    re.DOTALL,
)
_FRACTION_UNIT = re.compile(
    rf"(?P<value>.*[0-9}})])\s*(?:\\cdot\s*)?\\frac\{{(?P<top>(?:\\text\{{[^{{}}]*\}}{_POWER}\s*)+)\}}\{{(?P<bottom>(?:\\text\{{[^{{}}]*\}}{_POWER}\s*)+)\}}$"
)
_BARE_UNIT = re.compile(
    rf"(?P<value>.*(?:[0-9}})\]]|\\pi\b))(?P<gap>\s*)(?P<unit>(?:[^\W\d_]+\.?{_POWER}(?:\s*/\s*|\s+|$)){{1,5}})$"
)
_DEGREE = re.compile(
    r"\s*\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})\s*(?P<scale>(?:\\text\{\s*)?[CF]\b\}?)?\s*$|\\degree(?![A-Za-z])\s*$"
)
_MONEY = re.compile(
    r"^(?P<sign>[-+]?)\s*(?:\\\$|[\u00a3\u00a5\u20a9\u20ac\u20b9\u20bd])\s*(?=[-+.0-9\\(])|\s*(?:\\\$|[\u00a3\u00a5\u20ac\u20b9\u20bd])\s*$"
)
_SIGNS = {"$": "dollar", "\u20ac": "euro", "\u00a3": "pound_sterling", "\u00a5": "yen"}


def measured(text: str, letters: bool = False) -> Measured | None:
    r"""Separate a value from its unit.

    Args:
        text: normalised LaTeX.
        letters: whether a single letter may be a unit, as in ``13 m``.

    Returns:
        The value and its unit; None if words after the value change its meaning.
    """
    money = _MONEY.search(text)
    if money is not None:
        rest = (money["sign"] or "") + text[money.end() :] if money.start() == 0 else text[: money.start()]
        inner = measured(rest, letters) if rest != text else None
        sign = _SIGNS.get(money.group().strip().lstrip("-+").strip()[-1:], "money")
        return None if inner is None else inner._replace(unit=inner.unit or sign)
    degree = _DEGREE.search(text)
    if degree is not None and degree.start() > 0:
        scale = re.search("[CF]", degree["scale"] or "")
        name = "degree" if scale is None else {"C": "celsius", "F": "fahrenheit"}[scale.group()]
        return Measured(text[: degree.start()], 0, name)
    return _with_words(text, letters)


def _with_words(text: str, letters: bool) -> Measured | None:
    fraction = _FRACTION_UNIT.match(text)
    if fraction is not None:
        return Measured(fraction["value"], 0, f"{_plain(fraction['top'])}/{_plain(fraction['bottom'])}")
    match = _TEXT_UNIT.match(text) or _bare(text, letters)
    if match is None:
        return Measured(text, 0, "")
    words = re.findall(r"[^\W\d_]+", _plain(match["unit"]).replace("'", ""))
    if not words:
        return Measured(match["value"], 0, "")
    power = 0
    if words[0].lower() in _SCALES:
        power, words = _SCALES[words[0].lower()], words[1:]
    turning = any(word.lower() in _TURNING or word.lower() in _SCALES for word in words)
    if turning or (words[:1] and words[0] in _ABBREVIATIONS) or len(words) > 6:
        return None
    unit = _plain(match["unit"])
    return Measured(match["value"], power, unit.partition(" ")[2].strip() if power else unit)


def _bare(text: str, letters: bool) -> re.Match[str] | None:
    r"""Match words without ``\text{}``: known units, or pronounceable words after a blank."""
    match = _BARE_UNIT.match(text) if len(text) < 500 else None
    if match is None or "\\" in match["unit"]:
        return None
    words = re.findall(r"[^\W\d_]+", match["unit"])
    named = [_known(word) is not None and (letters or place > 0 or len(word) > 1) for place, word in enumerate(words)]
    if all(named):
        return match
    spoken = all(known or _is_pronounceable(word) for word, known in zip(words, named, strict=True))
    return match if match["gap"] and spoken else None


def _is_pronounceable(word: str) -> bool:
    """Whether letters form a word, not a product of variables as in 13 abc."""
    vowels = "[eiou]" if len(word) == 3 else "[aeiouy\u00c0-\u024f]"
    return len(word) > 2 and re.search(vowels, word.lower()) is not None


def _plain(unit: str) -> str:
    return re.sub(r"\\text|\\cdot|[{}\\]", " ", unit).strip(" .")


def differ(first: str, second: str) -> bool:
    """Whether two known units differ: cm and m, but not cm and centimeters, nor cm and apples."""
    if not first or not second:
        return False
    one, other = _canonical(first), _canonical(second)
    return one is not None and other is not None and one != other


@lru_cache(maxsize=512)
def _canonical(unit: str) -> tuple[str, ...] | None:
    """The units in a text with their powers, sorted; None if a word is not a known unit."""
    text = re.sub(r"\bper\b", "/", unit.lower() if len(unit) > 1 else unit)
    text = re.sub(r"\b(?:square|sq)\.?\s+([a-z]+)", r"\1^2", text)
    text = re.sub(r"\b(?:cubic|cu)\.?\s+([a-z]+)", r"\1^3", text)
    text = re.sub(r"([a-z]+)\s+squared", r"\1^2", text)
    factors, below = [], False
    for word, power, slash in re.findall(r"([^\W\d_]+)(?:\s*\^\s*(-?[0-9]))?|(/)", text):
        if slash:
            below = True
            continue
        name = _known(word)
        if name is None:
            return None
        for factor, inverse in ((factor, i > 0) for i, factor in enumerate(name.split("/"))):
            base, _, unit_power = factor.partition("^")
            exponent = int(power or 1) * int(unit_power or 1) * (-1 if below != inverse else 1)
            factors.append(f"{base}^{exponent}")
    return tuple(sorted(factors)) or None


@lru_cache(maxsize=512)
def _known(word: str) -> str | None:
    if word in _LETTERS:
        return _LETTERS[word]
    low = word.lower().replace("metre", "meter").replace("litre", "liter")
    if low in _UNITS:
        return _UNITS[low]
    if len(low) < 3:
        return None
    from sympy.physics import units
    from sympy.physics.units import Quantity

    unit = getattr(units, low, None)
    return str(unit.name) if isinstance(unit, Quantity) else None
