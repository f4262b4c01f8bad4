"""The results as plain text for the terminal."""

from __future__ import annotations

import pandas as pd

from astarpo.evaluation.scores import family
from astarpo.tables.results import Column, Results, interval, percent, table_note


def terminal_table(summary: pd.DataFrame) -> str:
    """Show the scores of every policy on each benchmark: greedy, avg@k with its interval, pass@k.

    Args:
        summary: with the columns of `columns.SUMMARY`.

    Returns:
        One block per benchmark, one line per policy; in brackets the change to the reference in points.
    """
    results = Results(summary)
    columns = results.columns(("greedy", "avg", "pass"))
    blocks = []
    for benchmark in dict.fromkeys(column.benchmark for column in columns):
        shown = [column for column in columns if column.benchmark == benchmark]
        lines = [["", *(column.label for column in shown)]]
        for policy in results.policies():
            lines.append([policy, *(_terminal_cell(results, policy, column) for column in shown)])
            for seed in results.seeds(policy):
                name = f"  {seed.rsplit('.', 1)[-1].replace('-', ' ')}"
                lines.append([name, *(_terminal_cell(results, seed, column) for column in shown)])
        about = summary[summary["benchmark"] == benchmark]
        n_problems = about["n_problems"].iloc[0]
        title = f"{benchmark}: {n_problems} problem{'' if n_problems == 1 else 's'}, percent right"
        blocks.append("\n".join([title, *_aligned(_without_empty(lines)), *_null_note(about)]))
    note = f"[{table_note(summary)}]  (change to the reference in points)"
    return "\n\n".join([*blocks, note])


def _terminal_cell(results: Results, policy: str, column: Column) -> str:
    score = results.score(policy, column)
    if score is None:
        return ""
    texts = [percent(score.value).rjust(5)]
    if family(column.metric) == "avg":
        texts.append(interval(score))
    change = results.change(policy, column)
    if change is not None:
        texts.append(f"({change:+.1f})")
    return " ".join(texts)


def _without_empty(lines: list[list[str]]) -> list[list[str]]:
    """Leave out policies that were not evaluated on this benchmark."""
    return [lines[0], *(line for line in lines[1:] if any(line[1:]))]


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _null_note(rows: pd.DataFrame) -> list[str]:
    worst = rows["null_share"].max()
    return [f"grades not known, counted as wrong: up to {worst:.2%}"] if worst > 0 else []
