"""Some responses of every policy with their grades, as a page: a person should see that rewards are right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from astarpo.common.columns import DATASET, GENERATIONS, GRADED
from astarpo.common.files import read_table
from astarpo.tables.page import STYLE, page

Row = dict[str, Any]
KINDS = ("right", "wrong", "cut at the limit", "not known")
EACH = 3  # of each kind, for each policy, benchmark and protocol
LONGEST = 1500  # characters of a text that are shown

EXAMPLES_STYLE = (
    STYLE
    + """
table { width: 100%; }
td.text { font-family: ui-monospace, monospace; font-size: 13px; overflow-wrap: anywhere; }
td.right { border-left: 6px solid #009e73; } td.wrong { border-left: 6px solid #d55e00; }
td.cut { border-left: 6px solid #e69f00; } td.not { border-left: 6px solid #999; }
.cutout { color: #888; }
"""
)


def choose_examples(graded: str, generations: str, problems: str) -> list[Row]:
    """Pick responses of each kind, the same problems for every policy where that is possible.

    Args:
        graded, generations: parquet files of one policy, benchmark and protocol.
        problems: parquet file of the benchmark.

    Returns:
        No more than `EACH` rows of each of `KINDS`: ``kind, status, prompt, response, gold, answer, n_tokens``.
    """
    problem_of = {row["prompt_id"]: row for row in read_table(problems, DATASET).to_pylist()}
    drawn = {(row["prompt_id"], row["sample_index"]): row for row in read_table(generations, GENERATIONS).to_pylist()}
    grades = sorted(read_table(graded, GRADED).to_pylist(), key=_shuffled)
    chosen: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    for grade in grades:
        response = drawn[grade["prompt_id"], grade["sample_index"]]
        own = chosen[_kind(grade, response)]
        if len(own) < EACH:
            problem = problem_of[grade["prompt_id"]]
            own.append(
                {
                    "kind": _kind(grade, response),
                    "status": grade["status"],
                    "prompt": problem["prompt"],
                    "response": response["response"],
                    "gold": problem["gold"],
                    "answer": grade["answer"],
                    "n_tokens": response["n_tokens"],
                }
            )
    return [row for kind in KINDS for row in chosen[kind]]


def _shuffled(grade: Row) -> bytes:
    """An order that depends on the problem alone, first samples first."""
    digest = hashlib.blake2b(grade["prompt_id"].encode(), digest_size=8).digest()
    return bytes([min(grade["sample_index"], 255)]) + digest


def _kind(grade: Row, response: Row) -> str:
    if grade["reward"] is None:
        return "not known"
    if grade["reward"] == 1.0:
        return "right"
    return "cut at the limit" if response["finish_reason"] == "length" else "wrong"


def examples_page(sections: Iterable[tuple[str, str, str, Sequence[Row]]]) -> str:
    """Make the page.

    Args:
        sections: (policy, benchmark, protocol, what `choose_examples` returned).
    """
    of_policy: dict[str, list[str]] = {}
    for policy, benchmark, protocol, rows in sections:
        of_policy.setdefault(policy, []).append(_section(f"{benchmark}, {protocol}", rows))
    parts = [
        f"<details{'' if number else ' open'}><summary>{escape(policy)}</summary>\n{''.join(own)}</details>"
        for number, (policy, own) in enumerate(of_policy.items())
    ]
    note = (
        f"<p>No more than {EACH} responses of each kind, the first samples of problems in an order by hash. "
        "White space is as it was.</p>"
    )
    return page("Responses and their grades", note + "\n".join(parts), EXAMPLES_STYLE)


def _section(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ("", "prompt", "response", "gold", "answer, as extracted")
    head = "".join(f"<th class=text>{name}</th>" for name in columns)
    body = "\n".join(map(_example, rows))
    return f"<h2>{escape(title)}</h2>\n<table><tr>{head}</tr>\n{body}</table>\n"


def _example(row: Mapping[str, Any]) -> str:
    answer = "<span class=cutout>none</span>" if row["answer"] is None else _shown(row["answer"])
    about = f"<b>{row['kind']}</b><br>{escape(row['status'])}<br>{row['n_tokens']} tokens"
    cells = [_shown(row["prompt"]), _shown(row["response"]), _shown(row["gold"]), answer]
    texts = "".join(f"<td class=text>{cell}</td>" for cell in cells)
    return f'<tr><td class="{row["kind"].split()[0]}">{about}</td>{texts}</tr>'


def _shown(text: str) -> str:
    """Escape a text; of a long one the middle is left out, as answers stand at the end."""
    if len(text) <= LONGEST:
        return escape(text)
    half = LONGEST // 2
    left_out = f"<span class=cutout>\n[{len(text) - 2 * half:,} characters left out]\n</span>"
    return escape(text[:half]) + left_out + escape(text[-half:])
