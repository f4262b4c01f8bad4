"""Count the gold answers of Minerva Math that match another spelling of the same value.

Each gold answer is rewritten by rules that are independent of the verifier: a power of ten for 4.5e33, a fraction
for a decimal, the inverse order of a sum's or an equation's sides, other commands for the same fraction.

ASTARPO_DATA_DIR=... python bench/respellings.py
"""

from __future__ import annotations

import json
import os
import re
import sys
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "workflow_scripts")]

from astarpo.data.boxed import last_boxed  # noqa: E402
from astarpo.rewards.latex import math  # noqa: E402
from astarpo.rewards.verdicts import Response  # noqa: E402

# Spellings that no rule produces.
BY_HAND = {
    "np.arcsin(10/13)": r"\arcsin\frac{10}{13}",
    r"\frac{1}{2a}(\exp{a*t} - \exp{-a*t})": r"\frac{e^{at}-e^{-at}}{2a}",
    r"\frac{1}{2}(\exp{a*t} + \exp{-a*t})": r"\frac{e^{at}+e^{-at}}{2}",
    r"\lambda_{\text {red}} / \sqrt{2}": r"\frac{\lambda_{\text{red}}}{\sqrt{2}}",
    r"\arcsin{1.3 \sin{\theta_w}}": r"\arcsin(1.3\sin(\theta_w))",
    r"1+\sqrt{3} i": r"\sqrt{3}i+1",
    r"-8-8 \sqrt{3} i": r"-8(1+\sqrt{3}i)",
    r"-2+2 \sqrt{3} i": r"2(-1+i\sqrt{3})",
    r"E_{1},E_{2}": "E_2, E_1",
}


def respelled(gold: str) -> str | None:
    """Another spelling of the same value; None if no rule applies."""
    if gold in BY_HAND:
        return BY_HAND[gold]
    scientific = re.fullmatch(r"(-?[0-9.]+)e(-?[0-9]+)", gold)
    if scientific is not None:
        return rf"{scientific[1]} \times 10^{{{int(scientific[2])}}}"
    if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+", gold):
        value = Fraction(gold)
        return f"{value}.0" if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    quotient = re.fullmatch(r"(-?)([0-9]+)\./([0-9]+)", gold)
    if quotient is not None:
        return rf"{quotient[1]}\frac{{{quotient[2]}}}{{{quotient[3]}}}"
    left, equals, right = gold.partition("=")
    if equals:
        return f"{right.strip()} = {left.strip()}"
    other = re.sub(
        r"\s+([-+*/])\s*",
        r"\1",
        gold.replace(r"\frac", r"\dfrac").replace(r"\left", "").replace(r"\right", ""),
    )
    other = re.sub(r"\\dfrac\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))", other)
    return None if other == gold else f"1\\cdot({other})"


def main() -> None:
    """Count and print."""
    folder = Path(os.environ["ASTARPO_DATA_DIR"]) / "minerva_math"
    rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    golds = [last_boxed(row["solution"]) or "" for row in rows]
    spelled = [(gold, respelled(gold)) for gold in golds]
    asked = [(gold, other) for gold, other in spelled if other is not None]
    missed = [
        (gold, other)
        for gold, other in asked
        if math(gold, Response(f"\\boxed{{{other}}}", [], "stop")).status != "correct"
    ]
    print(f"{len(golds)} gold answers, {len(asked)} respelled, {len(missed)} of those not matched:")
    for gold, other in missed:
        print(f"    {gold}    {other}")


if __name__ == "__main__":
    main()
