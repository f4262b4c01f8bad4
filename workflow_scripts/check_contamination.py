"""Report which problems a training set shares with a benchmark, exactly or nearly."""

from __future__ import annotations

from pathlib import Path

from astarpo.common import cli
from astarpo.common.columns import DATASET
from astarpo.common.files import read_table, write_json
from astarpo.common.provenance import provenance


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--dataset", required=True, help="parquet file of training prompts")
    parser.add_argument("--benchmark", required=True, help="parquet file of the benchmark")
    parser.add_argument("--out", required=True, help="JSON: counts, and the pairs")
    arguments = parser.parse_args()
    from astarpo.data.contamination import report
    from astarpo.data.settings import Contamination

    settings = Contamination.from_json(arguments.settings)
    inputs = {"dataset": arguments.dataset, "benchmark": arguments.benchmark}
    made_from = provenance(__file__, arguments.settings, inputs)
    dataset, benchmark = (read_table(path, DATASET).to_pylist() for path in inputs.values())
    shared = report(dataset, benchmark, settings)
    names = {name: Path(path).stem for name, path in inputs.items()}
    write_json(arguments.out, {**names, **shared, "provenance": made_from})
    print(
        f"{shared['benchmark_exact']} of {shared['benchmark_problems']} problems of {names['benchmark']} are in "
        f"{names['dataset']}, {shared['benchmark_exact_or_near']} with near duplicates"
    )


if __name__ == "__main__":
    cli.run(main)
