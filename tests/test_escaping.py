"""Texts of people and models are displayed literally in every table and page, never as markup."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from answers_case import policy, write_answers

from astarpo import tables
from astarpo.common.files import write_text
from astarpo.common.frames import csv_text
from astarpo.tables.contamination import contamination_page
from astarpo.tables.examples import Example, Passage, Section, examples_page
from astarpo.tables.ranking import Mark
from astarpo.tables.rendering import latex_comment, printable
from astarpo.tables.shown import Cell, ShownTable

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><h1>x",
    "a & b &lt; c &amp;",
    "snake_case *bold* `code` ~~struck~~",
    "100 % of 3 | 4 || 5",
    r"\input{secret} \\ $x^2_i$ {#1}",
    "ends with a backslash \\",
    "two\nlines\r\nand more",
    "a lone \ud800 surrogate and \udfff",
    "[a link](http://localhost) ![x][y] [z]: w",
    "[0.5em] * starts like an argument",
    "*{} so does this",
    "\x00\x1b[31m control",
    "{{ name }} {% raw %} << name >> <% x %>",
    "'single' \"double\"",
]
MARKS = [Mark(0), Mark(1), Mark(2, "="), Mark(0, "?")]


def table_of(text: str) -> ShownTable:
    """The text as the title, a head of two lines, and a cell with each mark."""
    cells = [Cell(text, text, mark) for mark in MARKS]
    return ShownTable.of(text, [(text, text), *[("b", "")] * 4], [[text, *cells], ["x", *[""] * 4]])


def one_line(text: str) -> str:
    """As formats without line breaks show it: any white space is a blank."""
    return " ".join(printable(text).split())


class Page(HTMLParser):
    """The tags of a page, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = [""]
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.texts.append("")

    def handle_endtag(self, tag):
        self.texts.append("")

    def handle_data(self, data):
        self.texts[-1] += data


def has(page: Page, text: str, times: int) -> bool:
    """Whether the text stands alone between two tags so many times (a mark or an interval may follow it)."""
    shown = [one_line(one) for one in page.texts]
    return sum(one.startswith(one_line(text)) for one in shown) >= times


@pytest.mark.parametrize("text", HOSTILE)
def test_tables_in_html(text, tmp_path):
    page = tables.tables_page(text, [table_of(text)])
    plain = tables.tables_page("t", [table_of("t")])
    assert Page(page).tags == Page(plain).tags
    # The title of the page twice, of the table, two lines of a head, and five cells.
    assert has(Page(page), text, 10)
    write_text(tmp_path / "page.html", page)


@pytest.mark.parametrize("text", HOSTILE)
def test_examples_in_html(text, tmp_path):
    passage, long = Passage(text), Passage(text, 9, text)
    example = Example("right", "correct", 3, passage, long, passage, passage)
    page = examples_page([Section(text, text, text, [example])])
    plain_passage = Passage("t")
    plain = Example("right", "correct", 3, plain_passage, Passage("t", 9, "t"), plain_passage, plain_passage)
    assert Page(page).tags == Page(examples_page([Section("t", "t", "t", [plain])])).tags
    assert has(Page(page), text, 7)
    # White space of a response is kept, as it is part of the answer.
    assert printable(text).replace("\r\n", "\n") in [one.replace("\r\n", "\n") for one in Page(page).texts]
    write_text(tmp_path / "page.html", page)


@pytest.mark.parametrize("text", HOSTILE)
def test_contamination_in_html(text, tmp_path):
    pair = {"kind": "near", "overlap": 0.7, "dataset_problem": text, "benchmark_problem": text}
    counts = dict.fromkeys(("benchmark_problems", "benchmark_exact", "benchmark_exact_or_near", "ngram", "pairs"), 1)
    entry = {"dataset": text, "benchmark": text, "threshold": 0.7, **counts, "listed": [pair]}
    page = contamination_page([entry])
    calm = {**entry, "dataset": "t", "benchmark": "t"}
    calm["listed"] = [{**pair, "dataset_problem": "t", "benchmark_problem": "t"}]
    assert Page(page).tags == Page(contamination_page([calm])).tags
    assert has(Page(page), text, 5)
    write_text(tmp_path / "page.html", page)


def markdown_cells(line: str) -> list[str]:
    """The cells of a row of a Markdown table, read as GitHub does: backslashes, then entities."""
    assert line.startswith("| ") and line.endswith(" |")
    cells = re.findall(r"((?:[^|\\]|\\.)*)\|", line[1:])
    return [html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell)).strip() for cell in cells]


def without_marks(line: str) -> str:
    """Take away what the template puts around the best and the second, and their signs."""
    tokens = re.findall(r"\\.|\*\*|</?u>|<br>|.", line)
    return "".join(token for token in tokens if token not in ("**", "<u>", "</u>", "<br>"))


@pytest.mark.parametrize("text", HOSTILE)
def test_tables_in_markdown(text, tmp_path):
    made = tables.markdown_tables([table_of(text), table_of(text)])
    write_text(tmp_path / "table.md", made)
    lines = made.split("\n")
    assert len(lines) == len(tables.markdown_tables([table_of("t"), table_of("t")]).split("\n"))
    head, _, row = lines[2:5]
    expected = one_line(text)
    name, *cells = markdown_cells(without_marks(row))
    assert " ".join(name.split()) == expected
    assert [" ".join(cell.split()) for cell in cells] == [
        " ".join(filter(None, (expected, mark.sign, expected))) for mark in MARKS
    ]
    assert len(markdown_cells(head)) == 5
    assert "<script" not in made and not re.search(r"(?<!\\)\](?=[(\[:])", made)


# What LaTeX reads as itself, and the commands that stand for what it does not.
LATEX_COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    "{[}": "[",
    "{*}": "*",
    **{f"\\{sign}": sign for sign in "{}$&#_%"},
}


def read_latex(text: str) -> str:
    """What LaTeX prints for a text; anything that it would take for markup is an error."""
    printed = ""
    while text:
        for command, sign in LATEX_COMMANDS.items():
            if text.startswith(command):
                printed, text = printed + sign, text.removeprefix(command)
                break
        else:
            assert text[0] not in "\\{}$&#_%~^", f"{text[:20]!r} is markup"
            printed, text = printed + text[0], text[1:]
    return " ".join(printed.split())


@pytest.fixture
def summary_of(tmp_path):
    """The summary of one run of one seed whose name, and whose benchmark, is some text."""

    def make(text: str) -> pd.DataFrame:
        policies = [policy("tiny"), policy("go", 0, "run")]
        entries = [{"policy": name, **write_answers(tmp_path, name, [1.0, 0.0])} for name in ("tiny", "go")]
        summary = tables.summarize_scores(policies, tables.score_policies(policies, entries))
        text = printable(text)  # a column of Arrow cannot hold others
        return summary.assign(
            policy=summary["policy"].replace({"run": text, "go": f"{text}.seed-0"}),
            run=summary["run"].replace({"run": text}),
            benchmark=text,
        )

    return make


@pytest.mark.parametrize("text", HOSTILE)
def test_the_main_table_in_latex(text, summary_of, tmp_path):
    summary = summary_of(text)
    made = tables.latex_table(summary)
    write_text(tmp_path / "main.tex", made)
    lines = made.splitlines()
    calm = tables.latex_table(summary_of("t")).splitlines()
    assert len(lines) == len(calm)
    spans = lines[4]
    assert spans.startswith(r" & \multicolumn{3}{c}{") and spans.endswith(r"} \\")
    assert read_latex(spans.removeprefix(r" & \multicolumn{3}{c}{").removesuffix(r"} \\")) == one_line(text)
    start = calm.index(r"\midrule") + 1
    run, seeds = lines[start + 1 : start + 3]
    names = [re.split(r"(?<!\\) & ", line)[0] for line in (run, seeds)]
    assert [read_latex(name) for name in names] == [one_line(text), f"{one_line(text)}, seed 0"]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 3 for line in (run, seeds))
    assert not re.match(r"\s*[\[*]", names[0])  # it would belong to the line break of the row above


@pytest.mark.parametrize("text", [*HOSTILE, "line\u2028separator\x0bof another kind"])
def test_a_note_in_latex_stays_in_its_comment(text):
    assert len(latex_comment(f"note on {text}").splitlines()) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_the_main_table_as_csv(text, summary_of, tmp_path):
    (main,) = tables.main_tables(summary_of(text))
    write_text(tmp_path / "main.csv", csv_text(main.plain()))
    read = pd.read_csv(tmp_path / "main.csv", dtype=str, keep_default_na=False)
    assert [" ".join(name.split()) for name in read["policy"]][1] == one_line(text)
    assert [read.columns[0], len(read.columns)] == ["policy", 4]
