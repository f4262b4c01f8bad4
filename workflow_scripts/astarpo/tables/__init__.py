"""Tables of results: their inputs, the checks of those inputs, and how the tables are shown."""

from astarpo.tables.checks import check_manifest, check_results
from astarpo.tables.comparisons import differences
from astarpo.tables.crossings import crossing_table, race_table
from astarpo.tables.endings import endings_table
from astarpo.tables.evaluations import read_answers, score_policies, summarize_scores
from astarpo.tables.main import latex_table, main_tables
from astarpo.tables.paper import ratio_table, read_paper
from astarpo.tables.plan import read_plan
from astarpo.tables.ranking import rank_runs
from astarpo.tables.rendering import markdown_tables, tables_page
from astarpo.tables.shown import ShownTable
from astarpo.tables.terminal import terminal_table
from astarpo.tables.terms import terms_table
from astarpo.tables.trainings import cost_table, curve_table

__all__ = [
    "ShownTable",
    "check_manifest",
    "check_results",
    "cost_table",
    "crossing_table",
    "curve_table",
    "differences",
    "endings_table",
    "latex_table",
    "main_tables",
    "markdown_tables",
    "race_table",
    "rank_runs",
    "ratio_table",
    "read_answers",
    "read_paper",
    "read_plan",
    "score_policies",
    "summarize_scores",
    "tables_page",
    "terminal_table",
    "terms_table",
]
