"""The simulated second device: it refuses what CUDA refuses, counts waits and uploads, and its numbers are right."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from second_device import ELSEWHERE, SECOND, second_device

from astarpo.model.finite import clip_gradients


@pytest.mark.parametrize(
    "mix",
    [
        lambda there, here: there + here,
        lambda there, here: here + there[0, 0],  # a single number of the device, too
        lambda there, here: there @ here.T,
        lambda there, here: torch.cat([there, here]),
        lambda there, here: torch.where(here > 0, there, there),
        lambda there, here: here[there > 0],
        lambda there, here: here.index_put_((torch.tensor([0]),), there[:1]),
        lambda there, here: there.index_put_((torch.tensor([0]),), here[:1]),
        lambda there, here: there.add_(here),
        lambda there, here: torch.nn.functional.linear(there, here),
    ],
)
def test_tensors_of_two_devices_do_not_mix(mix: Callable[..., object]) -> None:
    with second_device(), pytest.raises(RuntimeError, match=r"expected all tensors .* second:0 and cpu"):
        mix(torch.ones(2, 3, device=SECOND), torch.ones(2, 3))


def test_numbers_indices_and_copies_may_come_from_the_cpu() -> None:
    with second_device():
        there, here = torch.arange(6.0, device=SECOND).view(2, 3), torch.full((2, 3), 9.0)
        assert (there + torch.tensor(1.0)).tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        assert there[torch.tensor([1]), 1:].tolist() == [[4.0, 5.0]] == there[[1], 1:].tolist()
        there[0] = here[0]
        here[1] = there[0] + 1.0
        assert there.tolist() == [[9.0] * 3, [3.0, 4.0, 5.0]] and here[1].tolist() == [10.0] * 3


def test_numpy_needs_a_copy_to_the_cpu() -> None:
    with second_device():
        there = torch.ones(2, device=SECOND)
        with pytest.raises((RuntimeError, TypeError), match="numpy"):
            there.numpy()
        assert there.cpu().numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("kind", "wait"),
    [
        ("item", lambda there: there[0].item()),
        ("item", lambda there: float(there[0])),
        ("item", lambda there: int(there[0])),
        ("item", lambda there: bool(there.any())),
        ("tolist", lambda there: there.tolist()),
        ("to cpu", lambda there: there.cpu()),
        ("to cpu", lambda there: there.to("cpu")),
        ("to cpu", lambda there: torch.zeros(4).copy_(there)),
        ("boolean index", lambda there: there[there > 1]),
        ("boolean index", lambda there: there.index_put_((there > 1,), torch.ones(2, device=SECOND))),
        ("nonzero", lambda there: there.nonzero()),
        ("nonzero", lambda there: torch.where(there > 1)),
        ("masked_select", lambda there: there.masked_select(there > 1)),
        ("unique", lambda there: there.unique()),
        ("equal", lambda there: torch.equal(there, there)),
        ("pickle", lambda there: torch.save(there, io.BytesIO())),
    ],
)
def test_each_kind_of_wait_is_counted_once(kind: str, wait: Callable[..., object]) -> None:
    with second_device() as counts:
        there = torch.arange(4.0, device=SECOND)
        counts.clear()
        wait(there)
    assert dict(counts.waits) == {(kind, ELSEWHERE): 1}


def test_what_needs_no_wait_is_not_counted() -> None:
    with second_device() as counts:
        there = torch.arange(4.0, device=SECOND)
        counts.clear()
        index = torch.zeros(2, dtype=torch.long, device=SECOND)
        there[index] + there.masked_scatter(there > 1, there.clone())[1:3].double().sum()
        there.masked_fill_(there > 1, 0.0)
        assert not counts.waits and not counts.uploads and counts.operations > 5


def test_uploads_are_counted_with_indices() -> None:
    with second_device() as counts:
        there = torch.tensor([1.0, 2.0], device=SECOND)
        torch.ones(2).to(SECOND)
        there.copy_(torch.zeros(2))
        assert dict(counts.uploads) == {("to second", ELSEWHERE): 3}
        there[torch.tensor([0])]
        assert counts.uploads["index", ELSEWHERE] == 1 and not counts.waits


def test_a_wait_is_counted_at_the_line_of_the_library() -> None:
    with second_device() as counts:
        weight = torch.nn.Parameter(torch.ones(2, device=SECOND))
        (3.0 * weight).sum().backward()
        counts.clear()
        assert clip_gradients([weight], 1.0) == pytest.approx(18.0**0.5)
        ((kind, place),) = counts.waits
    assert kind == "tolist" and place.startswith("model/finite.py:")


def test_gradients_copies_and_swapped_data() -> None:
    """The ways in which the library gets at a weight: autograd, deepcopy, ``.data`` and a file."""
    with second_device():
        weight = torch.nn.Parameter(torch.tensor([1.0, 2.0], device=SECOND))
        copied = copy.deepcopy(weight)
        assert isinstance(copied, torch.nn.Parameter) and copied.requires_grad
        weight.square().sum().backward()
        assert weight.grad is not None and weight.grad.tolist() == [2.0, 4.0]
        kept = weight.data
        weight.data = torch.tensor([5.0, 6.0], device=SECOND)
        assert (weight * 1).tolist() == [5.0, 6.0] and kept.tolist() == [1.0, 2.0] == copied.tolist()
        with pytest.raises(RuntimeError, match="set_data"):
            weight.data = torch.zeros(2)
        file = io.BytesIO()
        torch.save({"weight": weight}, file)
        file.seek(0)
        assert torch.load(file, map_location="cpu", weights_only=True)["weight"].tolist() == [5.0, 6.0]


def test_outside_the_block_the_device_is_not_there() -> None:
    assert not torch.second.is_available() and torch.accelerator.device_count() == 0
    with second_device():
        assert torch.second.is_available()
    with pytest.raises(NotImplementedError):
        torch.ones(2, device=SECOND)
