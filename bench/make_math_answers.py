"""Write bench/math_answers.jsonl, all made up: for each gold answer the same text, another spelling and a wrong one.

python bench/make_math_answers.py
"""

from __future__ import annotations

import json
import random
from pathlib import Path

# Gold answer, another spelling of it, a wrong answer; {n}, {m}, {k} are numbers.
FORMS = [
    (r"\frac{{{n}}}{{{m}}}", r"\dfrac{{{n}}}{{{m}}}", r"\frac{{{n}}}{{{k}}}"),
    (r"\frac{{{n}}}{{{m}}}", r"{n}/{m}", r"{m}/{n}"),
    (r"{n}\sqrt{{{m}}}", r"\sqrt{{{m}}}\cdot {n}", r"{m}\sqrt{{{n}}}"),
    (r"\sqrt{{{m}}}", r"{m}^{{1/2}}", r"\sqrt{{{k}}}"),
    (r"({n},{m})", r"\left({n}, {m}\right)", r"({m},{n})"),
    (r"[{n},{k})", r"\left[{n},{k}\right)", r"({n},{k})"),
    (r"{n}\pi", r"\pi \cdot {n}", r"{n}"),
    (r"x^2+{n}x+{m}", r"{m}+{n}x+x^2", r"x^2-{n}x+{m}"),
    (r"{n}x-{m}", r"-{m}+{n}x", r"{n}x+{m}"),
    (r"\frac{{{n}\pi}}{{{m}}}", r"\frac{{{n}}}{{{m}}}\pi", r"\frac{{{m}\pi}}{{{n}}}"),
    (r"{n}^{{{m}}}", r"{{{n}}}^{m}", r"{m}^{{{n}}}"),
    (r"\{{{n},{m}\}}", r"\{{{m},{n}\}}", r"\{{{n},{k}\}}"),
    (r"{n}+{m}i", r"{m}i+{n}", r"{n}-{m}i"),
    (r"\frac{{1}}{{{n}x+{m}}}", r"({n}x+{m})^{{-1}}", r"\frac{{1}}{{{m}x+{n}}}"),
    (r"\log_{{{m}}} {n}", r"\frac{{\ln {n}}}{{\ln {m}}}", r"\log_{{{n}}} {m}"),
    (
        r"\begin{{pmatrix}} {n} \\ {m} \end{{pmatrix}}",
        r"\begin{{pmatrix}}{n}\\{m}\end{{pmatrix}}",
        r"\begin{{pmatrix}} {m} \\ {n} \end{{pmatrix}}",
    ),
]
GOLDS = 400
PRIMES = [n for n in range(2, 100) if all(n % d for d in range(2, n))]


def main() -> None:
    """Write the file."""
    rng, lines = random.Random(7), []
    for _ in range(GOLDS):
        n, m, k = rng.sample(PRIMES, 3)
        form = FORMS[rng.randrange(len(FORMS))]
        gold, same, other = (text.format(n=min(n, k), m=m, k=max(n, k)) for text in form)
        answers = [gold, same, other]
        rng.shuffle(answers)
        lines += [json.dumps({"gold": gold, "answer": answer}) for answer in answers]
    path = Path(__file__).with_name("math_answers.jsonl")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
