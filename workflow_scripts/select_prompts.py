"""Select prompts to train on, by how often the reference policy solved them."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.columns import SELECTIONS
from astarpo.common.errors import InputError
from astarpo.common.files import write_table
from astarpo.common.provenance import provenance
from astarpo.stage_one.counts import count_correct
from astarpo.stage_one.selections import RULES


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--graded", required=True, nargs="+", help="parquet files of graded blocks")
    parser.add_argument("--out", required=True, help="parquet file, one row per prompt")
    arguments = parser.parse_args()
    from astarpo.stage_one.settings import SelectionSettings

    settings = SelectionSettings.from_json(arguments.settings)
    made_from = provenance(__file__, arguments.settings, cli.numbered("graded", arguments.graded))
    prompt_ids, n, n_correct = count_correct(arguments.graded, settings.n, settings.first_sample)
    keep = RULES[settings.rule](n_correct, n)
    if not keep.any():
        raise InputError(
            f"the rule {settings.rule!r} keeps none of {len(prompt_ids)} prompts: the reference is too weak "
            "(or too strong) for this data set; give it a longer warm start, other prompts or more samples"
        )
    rows = [
        {
            "prompt_id": prompt_id,
            "n": int(n[i]),
            "n_correct": int(n_correct[i]),
            "keep": bool(keep[i]),
        }
        for i, prompt_id in enumerate(prompt_ids)
    ]
    write_table(arguments.out, rows, SELECTIONS, {"provenance": made_from})
    print(f"{int(keep.sum())} of {len(rows)} prompts kept by the rule {settings.rule!r}")


if __name__ == "__main__":
    cli.run(main)
