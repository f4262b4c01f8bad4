"""Comparison of answers with the gold answer, by kind and element by element."""

from __future__ import annotations

import re
from dataclasses import replace

from astarpo.rewards.brackets import split
from astarpo.rewards.magnitude import too_large
from astarpo.rewards.parsing import parse
from astarpo.rewards.quantities import same_quantity
from astarpo.rewards.readings import Reading
from astarpo.rewards.values import left_to_math_verify, near, same_value

MOST_UNORDERED = 60  # values; longer lists are compared in order


def same(gold: Reading, answer: Reading) -> bool:
    """Whether two readings are equal.

    An equation that gives a name a value counts as that value if the other reading is a value. Units count if both
    readings have one. Several values match in any order, each once.

    Args:
        gold: the gold answer.
        answer: the answer of a response.
    """
    if "approx" in (gold.kind, answer.kind):
        return _same_approximation(gold, answer)
    if "equation" in (gold.kind, answer.kind):
        return _same_equation(gold, answer)
    if gold.name and answer.name and gold.name != answer.name:
        return False
    if "set" in (gold.kind, answer.kind):
        return _same_set(gold, answer)
    if gold.kind == answer.kind:
        return _COMPARISONS[gold.kind](gold, answer)
    return _same_in_other_kinds(gold, answer, {gold.kind, answer.kind})


def _same_in_other_kinds(gold: Reading, answer: Reading, kinds: set[str]) -> bool:
    """Compare the few pairs of kinds that can be equal."""
    if kinds == {"ratio", "value"}:
        return _same_ratio(gold, answer)
    if kinds == {"matrix", "value"}:  # a sum of matrices
        value = gold if gold.kind == "value" else answer
        return r"\begin" in value.text and left_to_math_verify(parse(gold.text), parse(answer.text))
    if kinds == {"tuple", "relation"}:
        interval, relation = (gold, answer) if gold.kind == "tuple" else (answer, gold)
        return _same_interval(interval, parse(interval.text), parse(relation.text))
    if "list" in kinds and len(gold.elements) + len(answer.elements) == 1:  # the set of one value
        (element,) = gold.elements or answer.elements
        return same(element, answer) if gold.elements else same(gold, element)
    if kinds == {"list", "value"}:  # 100,200 is a list if the gold answer is one
        return gold.kind == "list" and answer.mark == "," and _same_list(gold, answer)
    if kinds == {"tuple", "list"}:
        tupled, listed = (gold, answer) if gold.kind == "tuple" else (answer, gold)
        names = [element.name for element in listed.elements if element.kind == "equation"]
        # x=1, y=2 is (1,2).
        in_order = len(names) == len(listed.elements) and names == sorted(set(names))
        return tupled.mark == "()" and in_order and _same_in_order(gold, answer)
    return False


def _same_interval(interval: Reading, right: object, relation: object) -> bool:
    symbols = {symbol.name for symbol in getattr(relation, "free_symbols", ())}
    if len(symbols) != 1 or (interval.name and symbols != {interval.name.lstrip("\\")}):
        return False
    return left_to_math_verify(right, relation)


def _same_list(gold: Reading, answer: Reading) -> bool:
    if len(set(gold.elements)) == len(gold.elements):  # duplicates count once, unless the gold answer has some
        answer = replace(
            answer,
            elements=tuple({re.sub(r"\s", "", element.text): element for element in answer.elements}.values()),
        )
    if len(gold.elements) != len(answer.elements):
        return False
    named = [any(element.kind == "equation" for element in reading.elements) for reading in (gold, answer)]
    if named[0] != named[1] or len(gold.elements) > MOST_UNORDERED:
        return _same_in_order(gold, answer)
    unmatched = list(answer.elements)
    for element in gold.elements:
        place = next((index for index, other in enumerate(unmatched) if same(element, other)), None)
        if place is None:
            return False
        del unmatched[place]
    return True


def _same_in_order(gold: Reading, answer: Reading) -> bool:
    return len(gold.elements) == len(answer.elements) and all(map(same, gold.elements, answer.elements))


def _same_tuple(gold: Reading, answer: Reading) -> bool:
    return gold.mark == answer.mark and _same_in_order(gold, answer)


def _same_text(gold: Reading, answer: Reading) -> bool:
    return gold.text == answer.text and gold.mark == answer.mark


def _same_words(gold: Reading, answer: Reading) -> bool:
    return _words(gold.text) == _words(answer.text)


def _words(text: str) -> list[str]:
    plain = re.sub(r"\\text|[{}]", " ", text).replace("'", "").lower()
    words = re.findall(r"[^\W_]+", plain)
    return words[1:] if len(words) > 1 and words[0] in ("the", "a", "an") else words


def _same_ratio(gold: Reading, answer: Reading) -> bool:
    """Whether two ratios, or a ratio and a value, are equal: 2:3 is 4:6 and 2/3."""
    if gold.kind == answer.kind:
        if len(gold.elements) != len(answer.elements):
            return False
        first, second = gold.elements, answer.elements
        return all(
            same_value(f"({a.text})\\cdot ({d.text})", f"({c.text})\\cdot ({b.text})")
            for a, b, c, d in zip(first, first[1:], second, second[1:], strict=False)
        )
    ratio, other = (gold, answer) if gold.kind == "ratio" else (answer, gold)
    if other.kind != "value" or len(ratio.elements) != 2:
        return False
    return same_value(f"\\frac{{{ratio.elements[0].text}}}{{{ratio.elements[1].text}}}", other.text)


def _same_relation(gold: Reading, answer: Reading) -> bool:
    return _same_text(gold, answer) or left_to_math_verify(parse(gold.text), parse(answer.text))


def _same_set(gold: Reading, answer: Reading) -> bool:
    if {gold.kind, answer.kind} - {"set", "tuple", "list", "relation"}:
        return False
    if gold.kind == answer.kind and re.sub(r"\s", "", gold.text) == re.sub(r"\s", "", answer.text):
        return True
    if any(reading.kind == "list" and not reading.text.startswith(r"\{") for reading in (gold, answer)):
        return False
    first, second = parse(gold.text), parse(answer.text)
    return first is not None and second is not None and left_to_math_verify(first, second)


# Equations


def _same_equation(gold: Reading, answer: Reading) -> bool:
    if gold.kind == answer.kind:
        if re.sub(r"\s", "", gold.text) == re.sub(r"\s", "", answer.text):
            return True
        if gold.name and gold.name == answer.name:
            return same(gold.elements[1], answer.elements[1])
        return not (gold.mark or answer.mark) and _proportional(gold, answer)
    equation, other = (gold, answer) if gold.kind == "equation" else (answer, gold)
    if other.kind == "list" and equation.elements[1].kind == "tuple":  # (x,y)=(1,2) and x=1, y=2
        if equation.name != f"({','.join(element.name for element in other.elements)})":
            return False
        return _same_in_order(equation.elements[1], other)
    if other.kind in ("list", "tuple") and equation.elements[1].kind != other.kind:
        return False
    # A gold answer x+y=5 is a line, not 5; a response m+n=25 is 25.
    sides = equation.elements
    if equation.mark and not _is_consistent(equation):
        return False
    is_line = equation is gold and len(split(equation.name, "[-+]")) > 1
    if is_line or not (equation.name or _is_true(*sides)):
        return False
    return same(sides[1], answer) if equation is gold else same(gold, sides[1])


def _is_consistent(chain: Reading) -> bool:
    """Whether all numbers in a chain of equations are equal: x=2+3=5 is 5, x=6=5 has no value."""
    between = split(chain.text, r"=+")[1 if chain.name else 0 : -1]
    values = [Reading("value", side) for side in between]
    return all(same(value, chain.elements[1]) for value in values if _is_number(value))


def _is_number(reading: Reading) -> bool:
    number = parse(reading.text)
    return number is not None and not getattr(number, "free_symbols", True)


def _is_true(left: Reading, right: Reading) -> bool:
    """Whether an equation of numbers holds: 2+3=5 is 5, 2+3=6 has no value."""
    return _is_number(left) and same(left, right)


def _proportional(gold: Reading, answer: Reading) -> bool:
    """Whether two equations are equal up to a factor: lhs - rhs is a constant multiple of the other's."""
    texts = [f"({left.text})-({right.text})" for left, right in (gold.elements, answer.elements)]
    first, second = map(parse, texts)
    if first is None or second is None or not getattr(first, "free_symbols", None):
        return False
    if first.free_symbols != second.free_symbols:
        return False
    return _constant_ratio(first, second)


def _constant_ratio(first: object, second: object) -> bool:
    from sympy import Expr, simplify

    if not (isinstance(first, Expr) and isinstance(second, Expr)) or too_large(first) or too_large(second):
        return False
    if simplify(second) == 0 or simplify(first) == 0:
        return False
    ratio = simplify(first / second)
    return not ratio.free_symbols and bool(ratio.is_finite) and ratio != 0


# Values


def _same_approximation(gold: Reading, answer: Reading) -> bool:
    r"""``\frac12 \approx 0.5`` is the first value, and also the second if they are close."""
    for reading, other, swapped in ((gold, answer, False), (answer, gold, True)):
        if reading.kind != "approx":
            continue
        exact, rounded = reading.elements
        if same(other, exact) if swapped else same(exact, other):
            return True
        if _about(exact.text, rounded.text) and (same(other, rounded) if swapped else same(rounded, other)):
            return True
    return False


def _about(first: str, second: str) -> bool:
    from sympy import Expr

    a, b = parse(first.rpartition("=")[2]), parse(second.rpartition("=")[2])
    if not isinstance(a, Expr) or not isinstance(b, Expr) or a.free_symbols | b.free_symbols:
        return False
    return not (too_large(a) or too_large(b)) and near(a.evalf(15), b.evalf(15), 0.02)


def _same_values(gold: Reading, answer: Reading) -> bool:
    return same_quantity(gold.text, answer.text)


_COMPARISONS = {
    "value": _same_values,
    "words": _same_words,
    "list": _same_list,
    "tuple": _same_tuple,
    "matrix": _same_in_order,
    "relation": _same_relation,
    "base": _same_text,
    "time": _same_text,
    "ratio": _same_ratio,
}
