"""Compare products of a few rows with the weights of a model, as in decoding: as torch makes them, and by oneDNN.

    python bench/products.py --model results/bench/trl/results/references/smollm2/model [--rows 16 64]

oneDNN's weights are laid out for it beforehand. Each product has weights of its own, as in the layers of a model, so
that they come from memory. One thread, fp32, the shortest of five tries of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from trl_limit import shortest, widths

from astarpo.memory.check import shape_of_folder

WEIGHT_BYTES = 128 * 2**20  # of all matrices of a shape: more than a cache holds
Product = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 64], help="rows that are decoded together")
    arguments = parser.parse_args()
    shape = shape_of_folder(arguments.model)
    if shape is None:
        parser.error(f"--model {arguments.model}: the shape of this kind of model is not known; give another one")
    torch.set_num_threads(1)
    print("| product | rows | torch, GFLOP/s | oneDNN, GFLOP/s | times as fast |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (inner, outer) in widths(shape).items():
        weights = [torch.randn(outer, inner) for _ in range(max(1, WEIGHT_BYTES // (4 * inner * outer)))]
        for rows in arguments.rows:
            show(name, torch.randn(rows, inner), weights)


def show(name: str, states_BI: Tensor, weights: Sequence[Tensor]) -> None:
    """Measure both ways, and print a row of the table.

    Args:
        name: of the product.
        states_BI: its other factor.
        weights: matrices [outer, inner].
    """
    rows, inner = states_BI.shape
    flops = 2 * rows * inner * weights[0].shape[0] * len(weights)
    laid_out = [torch.ops.mkldnn._reorder_linear_weight(matrix, rows) for matrix in weights]
    torch.testing.assert_close(by_onednn(states_BI, laid_out[0]), states_BI @ weights[0].T, rtol=1e-4, atol=1e-3)
    speeds = [
        flops / shortest(lambda: [product(states_BI, matrix) for matrix in matrices]) / 1e9  # noqa: B023
        for product, matrices in ((usual, weights), (by_onednn, laid_out))
    ]
    print(f"| {name}, {inner} x {weights[0].shape[0]} | {rows} | {speeds[0]:.0f} | {speeds[1]:.0f} | ", end="")
    print(f"{speeds[1] / speeds[0]:.2f} |", flush=True)


def usual(states_BI: Tensor, weights_OI: Tensor) -> Tensor:
    """Multiply as a linear layer does."""
    return torch.nn.functional.linear(states_BI, weights_OI)


def by_onednn(states_BI: Tensor, laid_out: Tensor) -> Tensor:
    """Multiply with weights that `_reorder_linear_weight` laid out."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states_BI, laid_out, None, "none", [], "")
    return product


if __name__ == "__main__":
    with torch.no_grad():
        main()
