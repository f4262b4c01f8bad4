"""From tables to HTML, Markdown and LaTeX by the templates beside this module, which hold all markup.

Names, settings, responses and problems come from people and models. Whatever a template is given is escaped for
its format as it is put in, so that a template cannot forget it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from astarpo.tables.shown import ShownTable

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # control characters, lone surrogates
LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}

# Of templates in LaTeX, where braces are everywhere.
LATEX_SIGNS: dict[str, Any] = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


def printable(text: str) -> str:
    """Replace what no file of UTF-8 text may hold by U+FFFD."""
    return UNPRINTABLE.sub("\ufffd", text)


def escape_html(value: object) -> Markup:
    """Spell a value in HTML, in a text or in an attribute with quotes."""
    return escape(value if isinstance(value, Markup) else printable(str(value)))


def escape_markdown(value: object) -> str:
    r"""Spell a value in one line of Markdown, so that it is read as it stands.

    A bracket after a bracket, as in ``[x](y)``, would make a link; others are left alone.
    """
    text = " ".join(printable(str(value)).split("\n"))
    text = re.sub(r"([\\`*_|~])", r"\\\1", text.replace("\r", " "))
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(value: object) -> str:
    """Spell a value in one line of LaTeX."""
    if isinstance(value, Markup):
        return value
    return "".join(LATEX.get(character, character) for character in re.sub(r"[\r\n]", " ", printable(str(value))))


def latex_row_start(text: str) -> Markup:
    """Spell the first cell of a row: a bracket or a star there would belong to the line break of the row above."""
    return Markup(re.sub(r"^(\s*)([\[*])", r"\1{\2}", escape_latex(text)))


def latex_comment(text: str) -> Markup:
    """Spell a text in a comment of LaTeX, which is one line."""
    return Markup(" ".join(printable(text).splitlines()))


ESCAPES: dict[str, Callable[[object], str]] = {"html": escape_html, "md": escape_markdown, "tex": escape_latex}


def render(template: str, **values: Any) -> str:
    """Fill in a template.

    Args:
        template: its name in `TEMPLATES`, as ``main.tex.j2``; the middle decides how values are escaped.
        values: what the template names.
    """
    return _environment(template.split(".")[-2]).get_template(template).render(**values)


def _environment(kind: str) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=kind == "html",
        finalize=ESCAPES[kind],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(LATEX_SIGNS if kind == "tex" else {}),
    )
    environment.filters |= {"comment": latex_comment, "row_start": latex_row_start}
    return environment


def tables_page(title: str, tables: Sequence[ShownTable]) -> str:
    """Make a web page of tables."""
    return render("tables.html.j2", title=title, tables=tables)


def markdown_tables(tables: Sequence[ShownTable]) -> str:
    """Spell tables in Markdown: the first with its title below, the others with theirs above."""
    return render("tables.md.j2", tables=tables)
