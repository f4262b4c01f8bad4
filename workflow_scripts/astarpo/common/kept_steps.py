"""The columns of the table of kept steps, which a figure reads as well."""

from __future__ import annotations

import pyarrow as pa

# A row for each metric of a point on a run's curve: of one seed, or of all seeds that have the point (seed null). The
# ``point`` is "reference" (step 0, once for each run), "kept", "exported", or "not reached", which has no scores.
# Tokens and seconds are sums over the steps so far, without stage 1, as in the table of curves; of several seeds, their
# means. ``step`` is null where seeds exported different steps.
KEPT_STEPS = pa.schema(
    [
        ("run", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("policy", pa.string()),
        ("point", pa.string()),
        ("step", pa.int64()),
        ("generated_tokens", pa.float64()),
        ("trained_tokens", pa.float64()),
        ("seconds", pa.float64()),
        ("benchmark", pa.string()),
        ("protocol", pa.string()),
        ("metric", pa.string()),
        ("k", pa.int64()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("n_problems", pa.int64()),
        ("n_seeds", pa.int64()),
        ("interval_over", pa.string()),
    ]
)
