"""Results as tables of texts: as Markdown, and as LaTeX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from astarpo.tables.ranking import TIED, UNTOLD, Key, Mark
from astarpo.tables.results import Column, Results, Row, asked, interval, percent, table_note

FEW_SEEDS = 5  # fewer are listed one by one
NOTE = "runs are means over their seeds"
RANKING = "best run bold, second underlined"
SIGNS = {
    TIED: "not different from the best after Holm's correction for the number of pairs of runs",
    UNTOLD: "cannot be told from the best: too few seeds or problems",
}
NO_MARK = Mark(0)


@dataclass(frozen=True)
class TextTable:
    """A table of texts; ``<br>`` in its head breaks the line."""

    title: str
    head: list[str]
    body: list[list[str]]


def markdown_table(tables: Sequence[TextTable]) -> str:
    """Spell tables in Markdown.

    Args:
        tables: as `main_tables` makes them.

    Returns:
        The first with its title below, the others with theirs above.
    """
    main, *rest = tables
    text = _markdown(main.head, main.body) + f"\n{main.title}.\n"
    for table in rest:
        text += f"\n{table.title}:\n\n" + _markdown(table.head, table.body)
    return text


def main_tables(
    summary_rows: Sequence[Row],
    cost_rows: Sequence[Row] = (),
    differences: Sequence[Row] = (),
    marks: Mapping[Key, Mark] | None = None,
) -> list[TextTable]:
    """Lay out the main results as texts.

    Args:
        summary_rows: with the columns of `columns.SUMMARY`.
        cost_rows: with the columns of `columns.COST`; time, memory and KL are shown if given.
        differences: with the columns of `columns.DIFFERENCES`; those of runs to their reference are a second table.
        marks: of `ranking.rank_runs`: the best run bold, the second underlined, ``=`` and ``?`` as `SIGNS` says.

    Returns:
        A row a reference and a run (mean over seeds with its interval), and under a run of fewer than five seeds the
        value of each; a column a benchmark and metric. Then the changes, if there are any.
    """
    results = Results(summary_rows)
    columns = results.columns()
    scores = [f"{column.benchmark}<br>{column.label}" for column in columns]
    head = ["policy", *scores, *_cost_labels(cost_rows)]
    body = [
        [
            name,
            *(" ".join(filter(None, (_dressed(number, mark), more))) for number, more, mark in cells),
        ]
        for name, cells in _main_rows(results, columns, cost_rows, marks or {})
    ]
    title = f"Percent right [{table_note(summary_rows)}]; {NOTE}{_legend(marks)}"
    tables = [TextTable(title, head, body)]
    if differences:
        tables.append(_changes(results, columns, scores, differences))
    return tables


def _legend(marks: Mapping[Key, Mark] | None) -> str:
    if not marks:
        return ""
    used = {mark.sign for mark in marks.values()}
    return "; ".join(["", RANKING, *(f"{sign} {text}" for sign, text in SIGNS.items() if sign in used)])


def _changes(
    results: Results, columns: Sequence[Column], labels: Sequence[str], differences: Sequence[Row]
) -> TextTable:
    """What every run has more than its reference."""
    by_key = {(row["policy_a"], row["policy_b"], *asked(row)): row for row in differences}
    body, untold = [], False
    for run in (policy for policy in results.policies() if results.seeds(policy)):
        found = [by_key.get((results.reference(run), run, *column.key)) for column in columns]
        untold |= any(row is not None and row["verdict"] == "cannot_tell" for row in found)
        body.append([run, *map(_change_cell, found)])
    title = (
        "Change to the reference in points [95 % interval over problems and seeds, each by itself]; tied: not "
        "different after Holm's correction for the number of pairs with a reference"
    )
    if untold:
        title += "; cannot tell: too few seeds or problems (of one seed the interval is over problems)"
    return TextTable(title, ["policy", *labels], body)


def _dressed(number: str, mark: Mark) -> str:
    tag = {1: "b", 2: "u"}.get(mark.place)
    shown = f"<{tag}>{number}</{tag}>" if tag else number
    return f"{shown} {mark.sign}" if mark.sign else shown


def _main_rows(
    results: Results,
    columns: Sequence[Column],
    cost_rows: Sequence[Row],
    marks: Mapping[Key, Mark],
) -> Iterable[tuple[str, list[tuple[str, str, Mark]]]]:
    """Rows of the main table: a name, and for each column a number, its interval and its mark."""
    for policy in results.policies():
        rows = [results.cell(policy, column) for column in columns]
        cells = [
            (percent(row["value"]), interval(row), marks.get((policy, *column.key), NO_MARK))
            if row
            else ("", "", NO_MARK)
            for row, column in zip(rows, columns, strict=True)
        ]
        yield policy, cells + [(cost, "", NO_MARK) for cost in _cost_cells(cost_rows, policy)]
        seeds = results.seeds(policy)
        if 0 < len(seeds) < FEW_SEEDS:
            cells = []
            for column in columns:
                found = filter(None, (results.cell(seed, column) for seed in seeds))
                cells.append((" / ".join(percent(row["value"]) for row in found), "", NO_MARK))
            numbers = ", ".join(seed.rsplit(".seed-", 1)[-1] for seed in seeds)
            name = f"{policy}, seed{'s' if len(seeds) > 1 else ''} {numbers}"
            yield name, cells + [("", "", NO_MARK) for _ in _cost_labels(cost_rows)]


def _cost_labels(cost_rows: Sequence[Row]) -> list[str]:
    return ["time, min", "memory, GiB", "KL a token"] if cost_rows else []


def _cost_cells(cost_rows: Sequence[Row], run: str) -> list[str]:
    """Time of both stages, peak memory and KL of a run, each the mean over its seeds."""
    own = [row for row in cost_rows if row["run"] == run]
    if not own:
        return [""] * len(_cost_labels(cost_rows))
    seconds = [(row["stage1_seconds"] or 0.0) + row["stage2_seconds"] for row in own]
    kl = [row["kl_per_token"] for row in own if row["kl_per_token"] is not None]
    return [
        f"{sum(seconds) / len(own) / 60:.1f}",
        f"{sum(row['peak_memory_bytes'] for row in own) / len(own) / 2**30:.2f}",
        f"{sum(kl) / len(kl):.3g}" if kl else "",
    ]


def _change_cell(row: Row | None) -> str:
    """A difference, reference less run, as the change from reference to run."""
    if row is None:
        return ""
    low, value, high = (-100 * row[name] for name in ("ci_high", "value", "ci_low"))
    words = {"tied": " tied", "cannot_tell": " cannot tell"}.get(row["verdict"], "")
    return f"{round(value, 1) + 0.0:+.1f} [{low:+.1f}, {high:+.1f}]{words}"


def _markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    text = "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *body))
    return text.replace("<b>", "**").replace("</b>", "**")


def latex_table(
    summary_rows: Sequence[Row],
    cost_rows: Sequence[Row] = (),
    marks: Mapping[Key, Mark] | None = None,
) -> str:
    """Make the table of main results in LaTeX, with the rows and columns of `main_tables`.

    Args:
        summary_rows: with the columns of `columns.SUMMARY`.
        cost_rows: with the columns of `columns.COST`, or none.
        marks: as for `main_tables`.

    Returns:
        A ``tabular``; it needs the package ``booktabs``.
    """
    results = Results(summary_rows)
    columns = results.columns()
    labels = [*(column.label for column in columns), *_cost_labels(cost_rows)]
    spans, rules, first = [], [], 2
    groups = [*(column.benchmark for column in columns), *["cost"] * len(_cost_labels(cost_rows))]
    for name, width in Counter(groups).items():  # columns of a benchmark are neighbours
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{_escaped(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    lines = [
        f"% percent right, {table_note(summary_rows)}; {NOTE}{_legend(marks)}",
        r"% needs booktabs, and \resizebox or sidewaystable where it is too wide",
        rf"\begin{{tabular}}{{l{'r' * len(labels)}}}",
        r"\toprule",
        rf" & {' & '.join(spans)} \\",
        " ".join(rules),
        rf"policy & {' & '.join(map(_escaped, labels))} \\",
        r"\midrule",
    ]
    for name, cells in _main_rows(results, columns, cost_rows, marks or {}):
        shown = [_latex_cell(*cell) for cell in cells]
        lines.append(rf"{_escaped(name)} & {' & '.join(shown)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_cell(number: str, more: str, mark: Mark) -> str:
    command = {1: r"\textbf", 2: r"\underline"}.get(mark.place)
    shown = f"{command}{{{number}}}" if command else number
    shown += f"$^{{{mark.sign}}}$" if mark.sign else ""
    return rf"{shown} {{\scriptsize {more}}}" if more else shown


def _escaped(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")
