"""Results as text: for the terminal, as Markdown, and as LaTeX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
FAMILIES = ("greedy", "avg", "pass", "maj")
FEW_SEEDS = 5  # fewer are listed one by one
NOTE = "runs are means over their seeds"


@dataclass(frozen=True)
class Column:
    """A metric of a benchmark by a protocol; ``label`` tells it from the benchmark's other ones."""

    benchmark: str
    protocol: str
    metric: str
    label: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a row of the summary must have in ``benchmark``, ``protocol`` and ``metric``."""
        return self.benchmark, self.protocol, self.metric


@dataclass(frozen=True)
class TextTable:
    """A table of texts; ``<br>`` in its head breaks the line."""

    title: str
    head: list[str]
    body: list[list[str]]


class Results:
    """The summary table, ready to be asked for single numbers.

    Args:
        rows: with the columns of `columns.SUMMARY`.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._cells = {(row["policy"], *_asked(row)): row for row in rows}
        seeds = [row for row in rows if row["seed"] is not None]
        self._seeds = {row["run"]: list[str]() for row in seeds}
        for row in seeds:
            if row["policy"] not in self._seeds[row["run"]]:
                self._seeds[row["run"]].append(row["policy"])

    def policies(self) -> list[str]:
        """References and runs (as mean over their seeds), in the order of the rows."""
        return list(dict.fromkeys(row["policy"] for row in self.rows if row["seed"] is None))

    def seeds(self, run: str) -> list[str]:
        """The policies that a run's seeds are; none for a reference."""
        return self._seeds.get(run, [])

    def columns(self, families: Sequence[str] = FAMILIES) -> list[Column]:
        """The main metrics of every benchmark, those with their protocol's largest k."""
        largest: dict[tuple[str, str], int] = {}
        for row in self.rows:
            asked = (row["benchmark"], row["protocol"])
            largest[asked] = max(row["k"], largest.get(asked, 0))
        found = dict.fromkeys(
            _asked(row)
            for row in self.rows
            if _family(row["metric"]) in families
            and row["k"] == largest[row["benchmark"], row["protocol"]]
        )
        benchmarks = list(dict.fromkeys(benchmark for benchmark, _ in largest))
        places = {key: (benchmarks.index(key[0]), families.index(_family(key[2]))) for key in found}
        labels = Counter((benchmark, metric) for benchmark, _, metric in found)
        return [
            Column(*key, key[2] if labels[key[0], key[2]] == 1 else f"{key[2]} ({key[1]})")
            for key in sorted(found, key=lambda key: places[key])
        ]

    def cell(self, policy: str, column: Column) -> Row | None:
        """The row of a policy for a column, if it was evaluated so."""
        return self._cells.get((policy, *column.key))

    def change(self, row: Row) -> float | None:
        """Difference to the reference in points; None for a reference."""
        reference = self._cells.get((row["reference"], *_asked(row)))
        if row["run"] is None or reference is None:
            return None
        return 100 * (float(row["value"]) - float(reference["value"]))


def _asked(row: Row) -> tuple[str, str, str]:
    return row["benchmark"], row["protocol"], row["metric"]


def _family(metric: str) -> str:
    return metric.split("@")[0]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(row: Row) -> str:
    return f"[{_percent(row['ci_low'])}, {_percent(row['ci_high'])}]"


def terminal_table(summary_rows: Sequence[Row]) -> str:
    """Show how good every policy is on each benchmark: greedy, avg@k with its interval, pass@k.

    Args:
        summary_rows: with the columns of `columns.SUMMARY`.

    Returns:
        A block a benchmark, a line a policy; in brackets the change to the reference in points.
    """
    results = Results(summary_rows)
    columns = results.columns(("greedy", "avg", "pass"))
    blocks = []
    for benchmark in dict.fromkeys(column.benchmark for column in columns):
        own = [column for column in columns if column.benchmark == benchmark]
        lines = [["", *(column.label for column in own)]]
        for policy in results.policies():
            lines.append([policy, *(_terminal_cell(results, policy, column) for column in own)])
            for seed in results.seeds(policy):
                name = f"  {seed.rsplit('.', 1)[-1].replace('-', ' ')}"
                lines.append([name, *(_terminal_cell(results, seed, column) for column in own)])
        about = [row for row in summary_rows if row["benchmark"] == benchmark]
        title = f"{benchmark}: {about[0]['n_problems']} problems, percent right"
        blocks.append("\n".join([title, *_aligned(_without_empty(lines)), *_null_note(about)]))
    note = "[95 % interval over problems]  (change to the reference in points)"
    return "\n\n".join([*blocks, note])


def _terminal_cell(results: Results, policy: str, column: Column) -> str:
    row = results.cell(policy, column)
    if row is None:
        return ""
    parts = [_percent(row["value"]).rjust(5)]
    if _family(column.metric) == "avg":
        parts.append(_interval(row))
    change = results.change(row)
    if change is not None:
        parts.append(f"({change:+.1f})")
    return " ".join(parts)


def _without_empty(lines: list[list[str]]) -> list[list[str]]:
    """Leave out policies that were not evaluated on this benchmark."""
    return [lines[0], *(line for line in lines[1:] if any(line[1:]))]


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _null_note(rows: Iterable[Row]) -> list[str]:
    worst = max((row["null_share"] for row in rows), default=0.0)
    return [f"grades not known, counted as wrong: up to {worst:.2%}"] if worst > 0 else []


def markdown_table(
    summary_rows: Sequence[Row], cost_rows: Sequence[Row] = (), changes: Sequence[Row] = ()
) -> str:
    """Make the table of main results in Markdown.

    Args:
        summary_rows: with the columns of `columns.SUMMARY`.
        cost_rows: with the columns of `columns.COST`; time, memory and KL are shown if given.
        changes: differences of runs to their reference (`summarize_scores`), for a second table.

    Returns:
        A row a reference and a run (mean over seeds with its interval), and under a run of fewer
        than five seeds the value of each; a column a benchmark and metric.
    """
    main, *rest = main_tables(summary_rows, cost_rows, changes)
    text = _markdown(main.head, main.body) + f"\n{main.title}.\n"
    for table in rest:
        text += f"\n{table.title}:\n\n" + _markdown(table.head, table.body)
    return text


def main_tables(
    summary_rows: Sequence[Row], cost_rows: Sequence[Row] = (), changes: Sequence[Row] = ()
) -> list[TextTable]:
    """Lay out the main results as texts; the arguments are those of `markdown_table`.

    Returns:
        The results, and if there are any the changes to the reference.
    """
    results = Results(summary_rows)
    columns = results.columns()
    scores = [f"{column.benchmark}<br>{column.label}" for column in columns]
    head = ["policy", *scores, *_cost_labels(cost_rows)]
    body = [
        [name, *(" ".join(filter(None, cell)) for cell in cells)]
        for name, cells in _main_rows(results, columns, cost_rows)
    ]
    tables = [TextTable(f"Percent right [95 % interval over problems]; {NOTE}", head, body)]
    if changes:
        by_key = {(row["policy"], *_asked(row)): row for row in changes}
        body = [
            [policy, *(_change_cell(by_key.get((policy, *column.key))) for column in columns)]
            for policy in results.policies()
            if results.seeds(policy)
        ]
        title = (
            "Change to the reference in points, paired by problem; tied where the interval covers 0"
        )
        tables.append(TextTable(title, ["policy", *scores], body))
    return tables


def _main_rows(
    results: Results, columns: Sequence[Column], cost_rows: Sequence[Row]
) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """Rows of the main table: a name, and for each column a number and its interval."""
    for policy in results.policies():
        rows = [results.cell(policy, column) for column in columns]
        cells = [(_percent(row["value"]), _interval(row)) if row else ("", "") for row in rows]
        yield policy, cells + [(cost, "") for cost in _cost_cells(cost_rows, policy)]
        seeds = results.seeds(policy)
        if 0 < len(seeds) < FEW_SEEDS:
            cells = []
            for column in columns:
                found = filter(None, (results.cell(seed, column) for seed in seeds))
                cells.append((" / ".join(_percent(row["value"]) for row in found), ""))
            numbers = ", ".join(seed.rsplit(".seed-", 1)[-1] for seed in seeds)
            name = f"{policy}, seed{'s' if len(seeds) > 1 else ''} {numbers}"
            yield name, cells + [("", "") for _ in _cost_labels(cost_rows)]


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
    if row is None:
        return ""
    tied = " tied" if row["ci_low"] <= 0 <= row["ci_high"] else ""
    interval = f"[{100 * row['ci_low']:+.1f}, {100 * row['ci_high']:+.1f}]"
    return f"{100 * row['value']:+.1f} {interval}{tied}"


def _markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *body))


def latex_table(summary_rows: Sequence[Row], cost_rows: Sequence[Row] = ()) -> str:
    """Make the table of main results in LaTeX, with the rows and columns of `markdown_table`.

    Args:
        summary_rows: with the columns of `columns.SUMMARY`.
        cost_rows: with the columns of `columns.COST`, or none.

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
        f"% percent right with 95 % intervals over problems; {NOTE}",
        r"% needs booktabs, and \resizebox or sidewaystable where it is too wide",
        rf"\begin{{tabular}}{{l{'r' * len(labels)}}}",
        r"\toprule",
        rf" & {' & '.join(spans)} \\",
        " ".join(rules),
        rf"policy & {' & '.join(map(_escaped, labels))} \\",
        r"\midrule",
    ]
    for name, cells in _main_rows(results, columns, cost_rows):
        shown = [rf"{number} {{\scriptsize {more}}}" if more else number for number, more in cells]
        lines.append(rf"{_escaped(name)} & {' & '.join(shown)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")
