"""Tables of results: what they are made of, what they may be made of, and how they are shown."""

from astarpo.tables.checks import check_manifest, check_results
from astarpo.tables.comparisons import differences
from astarpo.tables.evaluations import read_answers, score_policies, summarize_scores
from astarpo.tables.page import tables_page
from astarpo.tables.paper import ratio_table, read_paper
from astarpo.tables.ranking import rank_runs
from astarpo.tables.terminal import terminal_table
from astarpo.tables.terms import race_table, terms_table
from astarpo.tables.text import TextTable, latex_table, main_tables, markdown_table
from astarpo.tables.trainings import cost_row, curve_rows
from astarpo.tables.writing import csv_text, plain_csv, write_both

__all__ = [
    "TextTable",
    "check_manifest",
    "check_results",
    "cost_row",
    "csv_text",
    "curve_rows",
    "differences",
    "latex_table",
    "main_tables",
    "markdown_table",
    "plain_csv",
    "race_table",
    "rank_runs",
    "ratio_table",
    "read_answers",
    "read_paper",
    "score_policies",
    "summarize_scores",
    "tables_page",
    "terminal_table",
    "terms_table",
    "write_both",
]
