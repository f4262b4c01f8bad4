r"""Whether an answer says what the gold answer says: kind by kind, part by part."""

from __future__ import annotations

import re
from dataclasses import replace

from astarpo.rewards.brackets import split
from astarpo.rewards.magnitude import too_large
from astarpo.rewards.parsing import parse
from astarpo.rewards.quantities import same_quantity
from astarpo.rewards.readings import Reading
from astarpo.rewards.values import left_to_math_verify, near, same_value

MOST_UNORDERED = 60  # values that are matched in any order


def same(gold: Reading, answer: Reading) -> bool:
    """Compare two readings.

    An equation that gives a name its value stands for the value where the other side is a value. Units count
    where both have one. Several values match in any order, each once.

    Args:
        gold: what is right.
        answer: what was given.
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
    """The few pairs of kinds that can say the same."""
    if kinds == {"ratio", "value"}:
        return _same_ratio(gold, answer)
    if kinds == {"matrix", "value"}:  # a sum of matrices
        value = gold if gold.kind == "value" else answer
        return r"\begin" in value.text and left_to_math_verify(parse(gold.text), parse(answer.text))
    if kinds == {"tuple", "relation"}:
        interval, relation = (gold, answer) if gold.kind == "tuple" else (answer, gold)
        return _same_interval(interval, parse(interval.text), parse(relation.text))
    if "list" in kinds and len(gold.parts) + len(answer.parts) == 1:  # the set of one value
        (one,) = gold.parts or answer.parts
        return same(one, answer) if gold.parts else same(gold, one)
    if kinds == {"list", "value"}:  # 100,200 is the list where the gold answer is one
        return gold.kind == "list" and answer.mark == "," and _same_list(gold, answer)
    if kinds == {"tuple", "list"}:
        tupled, listed = (gold, answer) if gold.kind == "tuple" else (answer, gold)
        names = [part.name for part in listed.parts if part.kind == "equation"]
        # x=1, y=2 is (1,2).
        in_order = len(names) == len(listed.parts) and names == sorted(set(names))
        return tupled.mark == "()" and in_order and _same_in_order(gold, answer)
    return False


def _same_interval(interval: Reading, right: object, relation: object) -> bool:
    symbols = {one.name for one in getattr(relation, "free_symbols", ())}
    if len(symbols) != 1 or (interval.name and symbols != {interval.name.lstrip("\\")}):
        return False
    return left_to_math_verify(right, relation)


def _same_list(gold: Reading, answer: Reading) -> bool:
    if len(set(gold.parts)) == len(gold.parts):  # said twice is said once, unless the gold answer does
        answer = replace(
            answer,
            parts=tuple({re.sub(r"\s", "", part.text): part for part in answer.parts}.values()),
        )
    if len(gold.parts) != len(answer.parts):
        return False
    named = [any(part.kind == "equation" for part in reading.parts) for reading in (gold, answer)]
    if named[0] != named[1] or len(gold.parts) > MOST_UNORDERED:
        return _same_in_order(gold, answer)
    left = list(answer.parts)
    for part in gold.parts:
        place = next((number for number, one in enumerate(left) if same(part, one)), None)
        if place is None:
            return False
        del left[place]
    return True


def _same_in_order(gold: Reading, answer: Reading) -> bool:
    return len(gold.parts) == len(answer.parts) and all(map(same, gold.parts, answer.parts))


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
    """2:3 is 4:6, and where only one is written so, the quotient."""
    if gold.kind == answer.kind:
        if len(gold.parts) != len(answer.parts):
            return False
        first, second = gold.parts, answer.parts
        return all(
            same_value(f"({a.text})\\cdot ({d.text})", f"({c.text})\\cdot ({b.text})")
            for a, b, c, d in zip(first, first[1:], second, second[1:], strict=False)
        )
    ratio, other = (gold, answer) if gold.kind == "ratio" else (answer, gold)
    if other.kind != "value" or len(ratio.parts) != 2:
        return False
    return same_value(f"\\frac{{{ratio.parts[0].text}}}{{{ratio.parts[1].text}}}", other.text)


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
            return same(gold.parts[1], answer.parts[1])
        return not (gold.mark or answer.mark) and _proportional(gold, answer)
    equation, other = (gold, answer) if gold.kind == "equation" else (answer, gold)
    if other.kind == "list" and equation.parts[1].kind == "tuple":  # (x,y)=(1,2) and x=1, y=2
        if equation.name != f"({','.join(part.name for part in other.parts)})":
            return False
        return _same_in_order(equation.parts[1], other)
    if other.kind in ("list", "tuple") and equation.parts[1].kind != other.kind:
        return False
    # A gold answer x+y=5 is a line and not 5, while m+n=25 answers 25.
    sides = equation.parts
    if equation.mark and not _is_consistent(equation):
        return False
    a_line = equation is gold and len(split(equation.name, "[-+]")) > 1
    if a_line or not (equation.name or _is_true(*sides)):
        return False
    return same(sides[1], answer) if equation is gold else same(gold, sides[1])


def _is_consistent(chain: Reading) -> bool:
    """Whether the numbers of a chain of equations are equal: x=2+3=5 says 5, and x=6=5 nothing."""
    between = split(chain.text, r"=+")[1 if chain.name else 0 : -1]
    values = [Reading("value", side) for side in between]
    return all(same(one, chain.parts[1]) for one in values if _is_number(one))


def _is_number(reading: Reading) -> bool:
    number = parse(reading.text)
    return number is not None and not getattr(number, "free_symbols", True)


def _is_true(left: Reading, right: Reading) -> bool:
    """2+3=5 is 5, and 2+3=6 nothing."""
    return _is_number(left) and same(left, right)


def _proportional(gold: Reading, answer: Reading) -> bool:
    """Whether two equations are the same up to a factor: lhs - rhs of one is a constant times that of the other."""
    texts = [f"({left.text})-({right.text})" for left, right in (gold.parts, answer.parts)]
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
    r"""``\frac12 \approx 0.5`` says the first, and the second as well if they are about equal."""
    for reading, other, swapped in ((gold, answer, False), (answer, gold, True)):
        if reading.kind != "approx":
            continue
        exact, rounded = reading.parts
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
