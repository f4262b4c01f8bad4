"""A second device without hardware: its tensors hold a CPU tensor, and refuse to be mixed with those of the CPU.

What stands in for the GPU is torch's PrivateUse1 device, named ``second``. Its operations are those of the CPU, so
results differ by no more than the order of sums. What the host would have to wait for, or send to a GPU, is counted by
the line of the library that asks for it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

LIBRARY = "workflow_scripts/astarpo/"
ELSEWHERE = "elsewhere"  # such as a backward pass, which runs in a thread of autograd's own
# CUDA reads the number of results of these from the device before it can allocate them.
SIZED_BY_VALUES = {
    "_local_scalar_dense": "item",
    "_unique2": "unique",
    "unique_dim": "unique",
    "unique_consecutive": "unique",
    "nonzero": "nonzero",
    "masked_select": "masked_select",
    "equal": "equal",
    "allclose": "equal",
    "bincount": "bincount",
    "repeat_interleave": "repeat_interleave",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}  # take indices from the CPU, too


@dataclass
class Counts:
    """What happened on the device, by kind and line of the library.

    Attributes:
        waits: how often the host had to wait for a result: numbers, copies to the CPU, sizes that depend on values.
        uploads: copies of CPU tensors to the device, indices included.
        operations: operations on its tensors, which on a GPU are at least as many kernels.
    """

    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    uploads: Counter[tuple[str, str]] = field(default_factory=Counter)
    operations: int = 0

    def clear(self) -> None:
        """Start counting anew."""
        self.waits.clear()
        self.uploads.clear()
        self.operations = 0


class _Module(_DummyBackendModule):
    """What torch asks ``torch.second`` for; there is no generator, because nothing here draws on the device."""

    def is_available(self) -> bool:
        return bool(_ACTIVE)

    def device_count(self) -> int:
        return len(_ACTIVE)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, *_: Any) -> torch.Tensor:
        return torch.zeros(0, dtype=torch.uint8)

    def set_rng_state(self, *_: Any) -> None:
        pass


_ACTIVE: list[Counts] = []
_setup_privateuseone_for_python_backend("second", backend_module=_Module())
SECOND = torch.device("second:0")


class OnSecond(torch.Tensor):
    """A tensor on the second device.

    Attributes:
        inner: the CPU tensor with its numbers.
    """

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnSecond:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=SECOND,
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"OnSecond({self.inner!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> OnSecond:
        copied = OnSecond(self.inner.detach().clone()).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied._is_param = True
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        _count_wait("pickle")
        return self.inner.detach().__reduce_ex__(protocol)  # loading with map_location="cpu" finds a CPU tensor

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    @property
    def data(self) -> OnSecond:
        return self.detach()

    @data.setter
    def data(self, other: OnSecond) -> None:
        if (type(other), other.shape, other.dtype) != (OnSecond, self.shape, self.dtype):
            raise RuntimeError(f"set_data: {other.device} {other.shape} {other.dtype} where {SECOND} was")
        self.inner = other.inner

    def tolist(self) -> Any:
        _count_wait("tolist")
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sees operations that make tensors on the device from none, or from those of the CPU."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


@contextmanager
def second_device() -> Iterator[Counts]:
    """Make the device usable in this block, and count what happens on it."""
    counts, lifted = Counts(), torch._C._only_lift_cpu_tensors()
    # So that torch.tensor(..., device=SECOND) makes a CPU tensor and copies it, as for any device.
    torch._C._set_only_lift_cpu_tensors(True)
    _ACTIVE.append(counts)
    try:
        # In inference mode, torch would not split operations into those that the device has.
        with _Mode(), mock.patch.object(torch, "inference_mode", torch.no_grad):
            yield counts
    finally:
        _ACTIVE.pop()
        torch._C._set_only_lift_cpu_tensors(lifted)


def to_second(model: torch.nn.Module) -> torch.nn.Module:
    """Move a transformers model to the device, in place; tied weights stay tied."""
    model.to(SECOND)
    model.tie_weights()  # torch replaces parameters by those of another class one at a time
    return model


def _run(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an operation on the tensors inside, as the device would, or refuse it."""
    name = operation._schema.name.removeprefix("aten::")
    tensors = list(_tensors([*args, *kwargs.values()]))
    there = [one for one in tensors if isinstance(one, OnSecond)]
    wanted = kwargs.get("device")
    on_second = bool(there) if wanted is None else torch.device(wanted).type == SECOND.type
    if name == "copy_":
        on_second = isinstance(args[0], OnSecond)
    elif wanted is None and there:
        _check_together(name, args, tensors)
    if there or on_second:
        _count(name, args, on_second)
    inner_kwargs = {key: _inner(value) for key, value in kwargs.items()}
    if wanted is not None and on_second:
        inner_kwargs |= {"device": torch.device("cpu"), "pin_memory": None}
        del inner_kwargs["pin_memory"]
    result = operation(*_inner(args), **inner_kwargs)
    # What was changed in place is returned as it was given.
    return _outer(result, {id(one.inner): one for one in there}) if on_second else result


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)


def _inner(value: Any) -> Any:
    if isinstance(value, OnSecond):
        return value.inner
    return type(value)(map(_inner, value)) if type(value) in (list, tuple) else value


def _outer(value: Any, known: Mapping[int, OnSecond]) -> Any:
    if isinstance(value, torch.Tensor):
        found = known.get(id(value))
        return OnSecond(value) if found is None else found
    return type(value)(_outer(one, known) for one in value) if type(value) in (list, tuple) else value


def _check_together(name: str, args: Sequence[Any], tensors: Sequence[torch.Tensor]) -> None:
    """Refuse CPU tensors beside those of the device, but single numbers, and indices into one of the device."""
    wrong = [one for one in tensors if one.dim() > 0 and not isinstance(one, OnSecond)]
    if name in INDEXING and isinstance(args[0], OnSecond):
        indices = list(_tensors(args[1]))
        wrong = [one for one in wrong if not any(one is index for index in indices)]
    if wrong:
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, but found {SECOND} and cpu, at {_place()}"
        )


def _count(name: str, args: Sequence[Any], on_second: bool) -> None:
    if not _ACTIVE:
        return
    _ACTIVE[-1].operations += 1
    if name in SIZED_BY_VALUES:
        _count_wait(SIZED_BY_VALUES[name])
    elif name in INDEXING:
        indices = list(_tensors(args[1]))
        if any(one.dtype in (torch.bool, torch.uint8) for one in indices):
            _count_wait("boolean index")
        _count_uploads("index", sum(one.device.type == "cpu" for one in indices))
    elif name in ("_to_copy", "copy_"):
        source = args[1] if name == "copy_" else args[0]
        if isinstance(source, OnSecond) and not on_second:
            _count_wait("to cpu")
        elif not isinstance(source, OnSecond) and on_second:
            _count_uploads("to second", 1)


def _count_wait(kind: str) -> None:
    if _ACTIVE:
        _ACTIVE[-1].waits[kind, _place()] += 1


def _count_uploads(kind: str, number: int) -> None:
    if number:
        _ACTIVE[-1].uploads[kind, _place()] += number


def _place() -> str:
    """The innermost line of the library that is running, as ``room/module.py:line``."""
    frame = sys._getframe()
    while frame is not None:
        path = frame.f_code.co_filename
        if LIBRARY in path:
            return f"{path.rsplit(LIBRARY, 1)[1]}:{frame.f_lineno}"
        frame = frame.f_back
    return ELSEWHERE
