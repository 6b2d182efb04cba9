"""A model on fake tensors, which have a device and a dtype but no values and no memory.

Meta tensors follow the kernels of CUDA and ignore autocast. Fake tensors follow the rules of their
device, so that the bytes that a real run keeps for backward can be counted exactly. `FakeTensors`
corrects PyTorch's fake kernels where they are wrong.
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
Observe = Callable[[Any, tuple, Any], None]  # operator, arguments, result
DTYPES = ("float32", "bfloat16")


@contextmanager
def on_fake_device(
    model: nn.Module, clip: Tensor, rules: str = "cpu", dtype: str = "float32"
) -> Iterator[Tensor]:
    """Replace the parameters and buffers of a meta model by fake CPU tensors; yield a fake clip.

    With dtype "bfloat16" autocast to it is on; weights keep their dtype. `rules` ("cpu" or "cuda")
    says whose kernels a norm follows; for CUDA open `cuda_rules` as well. Raises ValueError for a
    dtype that is not in `DTYPES`.
    """
    if dtype not in DTYPES:
        raise ValueError(unknown_name("dtype", dtype, DTYPES))
    mode = FakeTensors(rules)
    with mode:
        for module in model.modules():
            for name, p in module._parameters.items():
                if p is not None:
                    module._parameters[name] = nn.Parameter(_like(p), p.requires_grad)
            for name, x in module._buffers.items():
                if x is not None:
                    module._buffers[name] = _like(x)
        fake_clip = _like(clip)
    with ExitStack() as stack:
        stack.enter_context(mode)
        if dtype != "float32":
            stack.enter_context(torch.autocast("cpu", getattr(torch, dtype)))
        yield fake_clip


def _like(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="cpu")


class FakeTensors(FakeTensorMode):
    """Fake tensors whose norms keep statistics in the right dtype, with observers and a fast cache.

    A norm keeps its statistics in the dtype of its weights on a CPU, in float32 on CUDA. PyTorch's
    fake kernels take the dtype of x, which is wrong under autocast.
    """

    NORMS = (aten.native_layer_norm.default, aten.native_batch_norm.default)

    def __init__(self, rules: str) -> None:
        super().__init__()
        self.rules = rules
        self._known: dict[Any, tuple[Any, Any, Any]] = {}
        self._observers: list[Observe] = []
        self._inside = False  # an operator; the operators that it calls are not reported

    @contextmanager
    def observed_by(self, observe: Observe) -> Iterator[None]:
        """While open, call `observe` with each operator, its arguments and its result."""
        self._observers.append(observe)
        try:
            yield
        finally:
            self._observers.remove(observe)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            # PyTorch asks this twice per operator; answer without a dispatch.
            return torch.device("meta") if self.in_kernel_invocation else args[0].fake_device
        if self._inside:
            return self._corrected(func, types, args, kwargs)
        self._inside = True
        try:
            out = self._corrected(func, types, args, kwargs)
        finally:
            self._inside = False
        for observe in self._observers:
            observe(func, args, out)
        return out

    def _corrected(self, func, types, args, kwargs):
        out: Any = self._cached(func, types, args, kwargs)
        if func not in self.NORMS:
            return out
        weight = args[2] if func is self.NORMS[0] else args[1]
        dtype = torch.float32 if self.rules == "cuda" or weight is None else weight.dtype
        y, *statistics = out
        same = all(s.dtype == dtype for s in statistics)
        return out if same else (y, *(s.new_empty(s.shape, dtype=dtype) for s in statistics))

    def _cached(self, func, types, args, kwargs):
        """The result of PyTorch's fake kernel, from its cache by a key that is faster to make."""
        try:
            key = (func, _signature(args), _signature((kwargs or {}).items()))
            known = self._known.get(key)
        except _NoSignature:
            return super().__torch_dispatch__(func, types, args, kwargs)
        if known is not None:
            state, entry, torch_key = known
            return self._output_from_cache_entry(state, entry, torch_key, func, args)
        try:
            state = fake_tensor._CacheKeyState(self.shape_env)
            torch_key = self._cache_key(state, func, args, kwargs or {})
        except fake_tensor._BypassDispatchCache:
            torch_key = None  # not for the cache
        out = super().__torch_dispatch__(func, types, args, kwargs)
        entry = self.cache.get(torch_key) if torch_key else None
        if isinstance(entry, fake_tensor._DispatchCacheValidEntry):
            self._known[key] = (state, entry, torch_key)
        return out


class _NoSignature(Exception):
    """The result depends on more of an argument than its signature holds."""


def _signature(values: Iterable[Any]) -> tuple:
    """All of the arguments that an operator's result can depend on; raises _NoSignature."""
    signs: list[Any] = []
    for x in values:
        kind = type(x)
        if kind is FakeTensor:
            if x.constant is not None:
                raise _NoSignature
            signs.append((x.shape, x.stride(), x.storage_offset(), x.dtype, x.requires_grad))
        elif kind is list or kind is tuple:
            signs.append((kind, _signature(x)))
        elif isinstance(x, Tensor):
            raise _NoSignature
        else:
            signs.append((kind, x))  # 1, 1.0 and True are equal, their kinds are not
    return tuple(signs)
