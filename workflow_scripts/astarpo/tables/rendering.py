"""Rendering of tables as HTML, Markdown and LaTeX by the templates beside this module, which hold all markup.

Names, settings, responses and problems come from people and models. Every value is escaped for its format when it is
inserted, so no template can forget to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

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


class Delimiters(TypedDict, total=False):
    """The marks of template code, by their names in jinja2."""

    block_start_string: str
    block_end_string: str
    variable_start_string: str
    variable_end_string: str
    comment_start_string: str
    comment_end_string: str


# LaTeX uses braces everywhere.
LATEX_DELIMITERS: Delimiters = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


def printable(text: str) -> str:
    """Replace characters that a UTF-8 text file must not contain by U+FFFD."""
    return UNPRINTABLE.sub("\ufffd", text)


def escape_html(value: object) -> Markup:
    """Escape a value for HTML text or a quoted attribute."""
    return escape(value if isinstance(value, Markup) else printable(str(value)))


def escape_markdown(value: object) -> str:
    r"""Escape a value for one line of Markdown, so that it is displayed literally.

    Of brackets, only pairs that would make a link, as in ``[x](y)``, are escaped.
    """
    text = " ".join(printable(str(value)).split("\n"))
    text = re.sub(r"([\\`*_|~])", r"\\\1", text.replace("\r", " "))
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(value: object) -> str:
    """Escape a value for one line of LaTeX."""
    if isinstance(value, Markup):
        return value
    return "".join(LATEX.get(character, character) for character in re.sub(r"[\r\n]", " ", printable(str(value))))


def latex_row_start(text: str) -> Markup:
    """Escape the first cell of a row, where a bracket or star would belong to the line break of the row above."""
    return Markup(re.sub(r"^(\s*)([\[*])", r"\1{\2}", escape_latex(text)))


def latex_comment(text: str) -> Markup:
    """Put a text on one line, for a LaTeX comment."""
    return Markup(" ".join(printable(text).splitlines()))


ESCAPES: dict[str, Callable[[object], str]] = {"html": escape_html, "md": escape_markdown, "tex": escape_latex}


def render(template: str, **values: object) -> str:
    """Fill in a template.

    Args:
        template: its name in `TEMPLATES`, as ``main.tex.j2``; the middle part selects the escaping.
        values: the variables of the template.
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
        **(LATEX_DELIMITERS if kind == "tex" else Delimiters()),
    )
    environment.filters |= {"comment": latex_comment, "row_start": latex_row_start}
    return environment


def tables_page(title: str, tables: Sequence[ShownTable]) -> str:
    """Render tables as a web page."""
    return render("tables.html.j2", title=title, tables=tables)


def markdown_tables(tables: Sequence[ShownTable]) -> str:
    """Render tables as Markdown, each below its title."""
    return render("tables.md.j2", tables=tables)
