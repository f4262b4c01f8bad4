"""Estimate V* of each prompt from the reference policy's graded samples."""

from __future__ import annotations

import numpy as np

from astarpo.common import cli
from astarpo.common.columns import VALUES
from astarpo.common.files import write_table
from astarpo.common.provenance import provenance
from astarpo.stage_one.command import add_sample_options, sample_inputs
from astarpo.stage_one.counts import count_correct
from astarpo.stage_one.surprisals import read_samples, sums_by_prompt
from astarpo.stage_one.values import ESTIMATORS, standard_error


def main() -> None:
    parser = cli.parser(__doc__)
    add_sample_options(parser)
    parser.add_argument("--out", required=True, help="parquet file, one row per prompt")
    arguments = parser.parse_args()
    from astarpo.stage_one.settings import ValueSettings

    settings = ValueSettings.from_json(arguments.settings)
    made_from = provenance(__file__, arguments.settings, sample_inputs(arguments))
    prompt_ids, n, n_correct = count_correct(arguments.graded, settings.n, settings.first_sample)
    samples = read_samples(arguments.graded, arguments.generations, settings.n, prompt_ids, settings.first_sample)
    no_sums = np.full(len(n), np.nan)
    surprisal_sum, surprisal_of_correct = (no_sums, no_sums) if samples is None else sums_by_prompt(samples, len(n))
    estimator, beta1 = settings.estimator, settings.beta1
    columns = {
        "prompt_id": prompt_ids,
        "n": n,
        "n_correct": n_correct,
        "pass_rate": np.divide(n_correct, n, out=np.full(len(n), np.nan), where=n > 0),
        "v_star": ESTIMATORS[estimator](n_correct, n, beta1),
        "v_star_se": standard_error(estimator, n_correct, n, beta1),
        "surprisal_sum": surprisal_sum,
        "surprisal_of_correct": surprisal_of_correct,
    }

    import pyarrow as pa

    arrays = [pa.array(column, from_pandas=True) for column in columns.values()]  # NaN becomes null
    table = pa.table(dict(zip(columns, arrays, strict=True)))
    write_table(arguments.out, table, VALUES, {"provenance": made_from})
    v_star, unknown = columns["v_star"], int((n == 0).sum())
    print(f"V* of {len(n)} prompts: mean {np.nanmean(v_star):.3f}; unknown (no grade): {unknown}")


if __name__ == "__main__":
    cli.run(main)
