"""A model on a device without storage: fake tensors, which know device and dtype, and no values.

Meta tensors follow the kernels of CUDA and know nothing of autocast; fake tensors run the rules of
the device that they say they are on, so that what a real run would keep for backward can be read
off to the byte. Where PyTorch's fake kernels are wrong, `Fakes` mends it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from pks4.errors import unknown_name

aten = torch.ops.aten
_DEVICE = torch.ops.prim.device.default
Look = Callable[[Any, tuple, Any], None]
DTYPES = ("float32", "bfloat16")


@contextmanager
def pretended(
    model: nn.Module, clip: Tensor, rules: str = "cpu", dtype: str = "float32"
) -> Iterator[Tensor]:
    """While open, `model` (built on meta) stands on a fake CPU; gives the clip that stands there.

    With dtype "bfloat16" autocast to it is on, weights stay as they are. `rules` says whose kernels
    a norm follows; for those of CUDA open `cuda_rules` as well. Raises ValueError for a dtype that
    is not in `DTYPES`.
    """
    if dtype not in DTYPES:
        raise ValueError(unknown_name("dtype", dtype, DTYPES))
    mode = Fakes(rules)
    with mode:
        for module in model.modules():
            for name, p in module._parameters.items():
                if p is not None:
                    module._parameters[name] = nn.Parameter(_like(p), p.requires_grad)
            for name, x in module._buffers.items():
                if x is not None:
                    module._buffers[name] = _like(x)
        there = _like(clip)
    with ExitStack() as stack:
        stack.enter_context(mode)
        if dtype != "float32":
            stack.enter_context(torch.autocast("cpu", getattr(torch, dtype)))
        yield there


def _like(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="cpu")


class Fakes(FakeTensorMode):
    """Norms keep their statistics in the dtype of their weights on a CPU, in float32 on CUDA.

    PyTorch's own fake kernels say that of x, which is wrong under autocast.
    """

    NORMS = (aten.native_layer_norm.default, aten.native_batch_norm.default)

    def __init__(self, rules: str) -> None:
        super().__init__()
        self.rules = rules
        self._known: dict[Any, tuple[Any, Any, Any]] = {}
        self._looks: list[Look] = []
        self._inside = False  # an operator, whose own operators are nobody's business

    @contextmanager
    def told(self, look: Look) -> Iterator[None]:
        """While open, `look` is given each operator, its arguments and what it gave."""
        self._looks.append(look)
        try:
            yield
        finally:
            self._looks.remove(look)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            # Asked twice an operator; the answer is at hand.
            return torch.device("meta") if self.in_kernel_invocation else args[0].fake_device
        if self._inside:
            return self._given(func, types, args, kwargs)
        self._inside = True
        try:
            out = self._given(func, types, args, kwargs)
        finally:
            self._inside = False
        for look in self._looks:
            look(func, args, out)
        return out

    def _given(self, func, types, args, kwargs):
        out: Any = self._again(func, types, args, kwargs)
        if func not in self.NORMS:
            return out
        weight = args[2] if func is self.NORMS[0] else args[1]
        dtype = torch.float32 if self.rules == "cuda" or weight is None else weight.dtype
        y, *statistics = out
        same = all(s.dtype == dtype for s in statistics)
        return out if same else (y, *(s.new_empty(s.shape, dtype=dtype) for s in statistics))

    def _again(self, func, types, args, kwargs):
        """What PyTorch's fake tensors give; from its cache, by a key that is made faster."""
        try:
            key = (func, _sign(args), _sign((kwargs or {}).items()))
            known = self._known.get(key)
        except _Unlike:
            return super().__torch_dispatch__(func, types, args, kwargs)
        if known is not None:
            state, entry, own = known
            return self._output_from_cache_entry(state, entry, own, func, args)
        try:
            state = fake_tensor._CacheKeyState(self.shape_env)
            own = self._cache_key(state, func, args, kwargs or {})
        except fake_tensor._BypassDispatchCache:
            own = None  # not for the cache
        out = super().__torch_dispatch__(func, types, args, kwargs)
        entry = self.cache.get(own) if own else None
        if isinstance(entry, fake_tensor._DispatchCacheValidEntry):
            self._known[key] = (state, entry, own)
        return out


class _Unlike(Exception):
    """An argument that says more than its signature."""


def _sign(values: Iterable[Any]) -> tuple:
    """What an operator's result can depend on, of its arguments; raises _Unlike."""
    signs: list[Any] = []
    for x in values:
        kind = type(x)
        if kind is FakeTensor:
            if x.constant is not None:
                raise _Unlike
            signs.append((x.shape, x.stride(), x.storage_offset(), x.dtype, x.requires_grad))
        elif kind is list or kind is tuple:
            signs.append((kind, _sign(x)))
        elif isinstance(x, Tensor):
            raise _Unlike
        else:
            signs.append((kind, x))  # 1, 1.0 and True are equal, their kinds are not
    return tuple(signs)
