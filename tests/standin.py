"""A stand-in for a CUDA GPU where there is none: it computes on the CPU, and refuses what a GPU refuses.

What lies on "cuda" and what on the CPU is kept apart, by the memory that a tensor looks at. Refused are operations on
both (but for those that CUDA allows, see `StandIn`), NumPy on the GPU's memory, random generators of the other device;
and, while a CUDA graph is recorded, the usual calls that wait for the GPU. It says nothing of kernels, of their
rounding, or of speed: for that there is `pytest -m cuda` on a GPU.

    with stand_in(): ...                                      within one process
    PYTHONPATH=tests/site python -m ralkit reproduce ...      with those that it starts
"""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CPU, CUDA, META = torch.device("cpu"), torch.device("cuda", 0), torch.device("meta")
# Functions that take tensors of both devices; a scalar, a tensor without dimensions, may be the CPU's in most others.
COPIES = {Tensor.copy_, Tensor.data.__set__, torch._has_compatible_shallow_copy_type}
JOINS = {torch.cat, torch.stack}
NUMPY = {Tensor.numpy, Tensor.__array__}
WAITS = {  # for results, or the sizes of results, that only the GPU knows
    Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.nonzero,
    torch.nonzero, Tensor.masked_select, torch.masked_select, Tensor.bincount, torch.bincount,
    Tensor.equal, torch.equal,
}  # fmt: skip


class Recording(TorchDispatchMode):
    """What a CUDA graph is, without a GPU: calls run again on the very same memory, and nothing but calls of torch."""

    def __init__(self):
        super().__init__()
        self.calls, self.replays = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        assert not isinstance(result, int | float | bool), f"{func} hands a number to Python"
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self):
        """At the first call there is nothing left to do: unlike a CUDA graph, recording has done it."""
        if not self.replays:
            self.replays = 1
            return
        with torch._C.DisableTorchFunction():  # where everything lies is known
            for func, args, kwargs, result in self.calls:
                again = func(*args, **kwargs)
                for old, new in zip(*map(tree_leaves, (result, again)), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():  # neither a view nor in place
                        old.copy_(new)


class Generator(torch.Generator):
    """A generator of the CPU's numbers that says which device it is for."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls)

    def __init__(self, device="cpu"):
        self.of = torch.device(device)

    device = property(lambda self: self.of)


class StandIn(TorchFunctionMode):
    """Every call of torch from Python passes here."""

    def __init__(self):
        super().__init__()
        self.there: dict[int, StorageWeakRef] = {}  # memory of the GPU; a weak reference keeps its address from others
        self.hurried = False  # what waits for the GPU is refused

    def owns(self, x: Tensor) -> bool:
        """Whether x lies on the GPU."""
        if x.device != CPU:
            return False
        ref = self.there.get(x.untyped_storage()._cdata)
        return ref is not None and not ref.expired()

    def take(self, x: Tensor) -> Tensor:
        """x lies on the GPU from now on."""
        if x.device == CPU and not self.owns(x):
            if len(self.there) % 4096 == 4095:
                self.there = {at: ref for at, ref in self.there.items() if not ref.expired()}
            self.there[x.untyped_storage()._cdata] = StorageWeakRef(x.untyped_storage())
        return x

    def refuse(self, why: str, func, tensors: list[Tensor]) -> None:
        """Raise the error of a GPU, and say which tensor is where."""
        where = ", ".join(f"{'cuda' if self.owns(x) else x.device}{tuple(x.shape)}" for x in tensors)
        raise RuntimeError(f"stand-in for a GPU: {why}: {getattr(func, '__name__', func)} of {where}")

    def to(self, x: Tensor, device: torch.device, copy: bool = False, **options) -> Tensor:
        """Tensor.to."""
        if device == META:
            return x.to(META, **options)
        y = x.to(copy=copy, **options)
        if (device.type == "cuda") == self.owns(x):
            return self.take(y) if self.owns(x) else y
        if self.hurried:
            self.refuse("waits for a copy", Tensor.to, [x])
        y = y.clone() if y.untyped_storage()._cdata == x.untyped_storage()._cdata else y
        return self.take(y) if device.type == "cuda" else y

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return CUDA if self.owns(args[0]) else func(*args)
        if func == Tensor.is_cuda.__get__:
            return self.owns(args[0])
        if func in (Tensor.cpu, Tensor.cuda):
            return self.to(args[0], CPU if func is Tensor.cpu else CUDA)
        if func is Tensor.to:
            x, *rest = args
            if rest and isinstance(rest[0], Tensor):  # the type and the device of another
                rest = [CUDA if self.owns(rest[0]) else rest[0].device, rest[0].dtype, *rest[1:]]
            copy = kwargs.pop("copy", False)
            device, dtype, _, layout = torch._C._nn._parse_to(*rest, **kwargs)
            options = {"dtype": dtype or x.dtype, "memory_format": layout or torch.preserve_format}
            return self.to(x, device or (CUDA if self.owns(x) else x.device), copy, **options)

        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        owned = [self.owns(x) for x in tensors]
        there = any(owned)
        if there and func in NUMPY:
            raise TypeError("stand-in for a GPU: NumPy can't read its memory; use .cpu() first")
        if there and func in WAITS and self.hurried:
            self.refuse("waits for a result", func, tensors)
        if func in COPIES:
            there = owned[0]
            if self.hurried and any(o != there for o in owned):
                self.refuse("waits for a copy", func, tensors)
        elif func in (Tensor.__getitem__, Tensor.__setitem__):
            self.index(func, *args)
            there = self.owns(args[0])
        elif there and not all(o or (x.ndim == 0 and func not in JOINS) for x, o in zip(tensors, owned, strict=True)):
            self.refuse("tensors of both devices", func, tensors)
        if kwargs.get("device") is not None:
            there = torch.device(kwargs["device"]).type == "cuda"
            kwargs["device"] = CPU if there else kwargs["device"]
        dice = kwargs.get("generator")
        if dice is not None and (getattr(dice, "of", CPU).type == "cuda") != there:
            self.refuse("a random generator of the other device", func, tensors)
        result = func(*args, **kwargs)
        if there:
            for x in tree_leaves(result):
                if isinstance(x, Tensor):
                    self.take(x)
        return result

    def index(self, func, x: Tensor, places, *value) -> None:
        """Tensors of the CPU may say where in the GPU's memory, not the reverse; what is put there has to be there."""
        tensors = [i for i in (places if isinstance(places, tuple) else (places,)) if isinstance(i, Tensor)]
        there = self.owns(x)
        if self.hurried and any(i.dtype == torch.bool for i in tensors):
            self.refuse("waits for a result", func, tensors)
        if not there and any(map(self.owns, tensors)):
            self.refuse("places on the GPU in memory of the CPU", func, [x, *tensors])
        if tensors and any(isinstance(v, Tensor) and v.ndim and self.owns(v) != there for v in value):
            self.refuse("tensors of both devices", func, [x, *value])


@contextlib.contextmanager
def stand_in() -> Iterator[StandIn]:
    """torch has one GPU, so it says, of 16 GiB."""
    from ralkit.graphs import RECORDERS  # torch alone is patched before

    mode, autocast = StandIn(), torch.autocast

    def record(f, device):
        mode.hurried, before = True, mode.hurried
        try:
            with Recording() as recording:
                f()
        finally:
            mode.hurried = before
        return recording.replay

    silent = ("set_rng_state", "manual_seed", "manual_seed_all", "set_device", "synchronize")
    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda *_: "a stand-in for a GPU",
        "get_device_properties": lambda *_: SimpleNamespace(total_memory=2**34),
        "mem_get_info": lambda *_: (2**34, 2**34),
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
        **{name: lambda *_, **__: None for name in silent},
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.multiple(torch.cuda, **cuda))
        rough = lambda _, *dtype, **options: autocast("cpu", *dtype, **options)  # noqa: E731
        stack.enter_context(patch.multiple(torch, Generator=Generator, autocast=rough))
        stack.enter_context(patch.dict(RECORDERS, cuda=record))
        yield stack.enter_context(mode)
