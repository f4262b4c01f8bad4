"""The command line of grade_samples and grade_answers."""

from __future__ import annotations

from astarpo.common import cli


def grade_responses(script: str, description: str | None, merge_answers: bool) -> None:
    """Grade samples or answers: a verdict, a reward and the extracted answer for each response.

    Args:
        script: the calling script's ``__file__``.
        description: its docstring.
        merge_answers: also number the classes of equivalent answers.
    """
    parser = cli.parser(description)
    parser.add_argument("--generations", required=True, help="parquet file, one row per response")
    parser.add_argument("--problems", required=True, help="parquet file with the gold answers")
    parser.add_argument("--verifier", nargs="+", default=[], help="Python files of the problems' own verifier")
    parser.add_argument("--workers", type=int, default=1, help="worker processes for slow verifiers")
    parser.add_argument("--out", required=True, help="parquet file, one row per grade")
    arguments = parser.parse_args()
    from astarpo.common.columns import GRADED, GRADED_ANSWERS
    from astarpo.common.files import write_table
    from astarpo.common.provenance import provenance
    from astarpo.common.stopping import stopped_by_signals
    from astarpo.rewards.settings import GradingSettings
    from astarpo.rewards.stage import add_answer_classes, grade_table

    settings = GradingSettings.from_json(arguments.settings)
    inputs = {"generations": arguments.generations, "problems": arguments.problems}
    inputs |= cli.one_or_numbered("verifier", arguments.verifier)
    origin = provenance(script, arguments.settings, inputs)
    with stopped_by_signals(lambda: f"no grade of {arguments.generations} is kept; run the same command again"):
        rows, counts = grade_table(arguments.generations, arguments.problems, settings, arguments.workers)
        if merge_answers:
            add_answer_classes(rows, arguments.problems, settings, arguments.workers)
    schema = GRADED_ANSWERS if merge_answers else GRADED
    write_table(arguments.out, rows, schema, {"provenance": origin, "statuses": counts})
    print(
        "statuses:",
        ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none",
    )
