"""Results as a web page, for the report: nothing to load, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from astarpo.tables.text import TextTable

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2em; }
h1 { font-size: 1.3em; } h2 { font-size: 1em; font-weight: 600; margin: 2em 0 .5em; }
table { border-collapse: collapse; }
th, td { padding: .3em .9em; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid #222; vertical-align: bottom; font-weight: 600; }
td { border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
th.text, td.text { text-align: left; white-space: pre-wrap; vertical-align: top; max-width: 36em; }
summary { cursor: pointer; margin: 1.2em 0 .4em; font-weight: 600; }
"""


def page(title: str, body: str, style: str = STYLE) -> str:
    """Make a whole web page.

    Args:
        title: plain text.
        body: HTML.
        style: CSS.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def tables_page(title: str, tables: Sequence[TextTable]) -> str:
    """Make a page of tables.

    Args:
        title: plain text.
        tables: as `text.main_tables` makes them.
    """
    return page(title, "\n".join(map(table, tables)))


def table(shown: TextTable) -> str:
    """Make the HTML of a table with its title."""
    head = "".join(f"<th>{escape(cell).replace('&lt;br&gt;', '<br>')}</th>" for cell in shown.head)
    rows = "\n".join(f"<tr>{''.join(f'<td>{_marked(cell)}</td>' for cell in line)}</tr>" for line in shown.body)
    return f"<h2>{escape(shown.title)}</h2>\n<table>\n<tr>{head}</tr>\n{rows}\n</table>"


def _marked(cell: str) -> str:
    """Escape a cell, but for the marks of the best and of the second."""
    text = escape(cell)
    for tag in ("b", "u"):
        text = text.replace(f"&lt;{tag}&gt;", f"<{tag}>").replace(f"&lt;/{tag}&gt;", f"</{tag}>")
    return text
