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
from torch.utils._pytree import tree_map_only

from pks4.errors import unknown_name

aten = torch.ops.aten
_DEVICE = torch.ops.prim.device.default
Observe = Callable[[Any, tuple, Any], None]  # operator, arguments, result
DTYPES = ("float32", "bfloat16")


@contextmanager
def on_fake_device(
    model: nn.Module, inputs: Any, rules: str = "cpu", dtype: str = "float32"
) -> Iterator[Any]:
    """Replace the tensors of a meta model by fake CPU tensors; yield fakes of its inputs.

    These are a clip, or tensors in any structure. The model's are parameters, buffers and plain
    attributes. Tensors that are tied, or share a storage, share it as fakes too. At the end the
    model has its own tensors again. With dtype "bfloat16" autocast to it is on; weights keep their
    dtype. `rules` ("cpu" or "cuda") says whose kernels a norm follows; for CUDA open `cuda_rules`
    as well. Raises ValueError for a dtype that is not in `DTYPES`.
    """
    if dtype not in DTYPES:
        raise ValueError(unknown_name("dtype", dtype, DTYPES))
    mode = FakeTensors(rules)
    with ExitStack() as stack:
        stack.enter_context(_fakes_in(model, mode))
        stack.enter_context(mode)
        fake_inputs = tree_map_only(Tensor, _fake_input, inputs)
        if dtype != "float32":
            stack.enter_context(torch.autocast("cpu", getattr(torch, dtype)))
        yield fake_inputs


def _fake_input(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="cpu", requires_grad=x.requires_grad)


@contextmanager
def _fakes_in(model: nn.Module, mode: FakeTensorMode) -> Iterator[None]:
    """While open, every tensor of the model is a fake one."""
    places = [place for module in model.modules() for place in tensors_in(module)]
    storages: dict[int, Tensor] = {}
    fakes: dict[int, Tensor] = {}
    try:
        with mode:
            for tensors, name, x in places:
                if id(x) not in fakes:
                    fakes[id(x)] = twin_of(x, storages, "cpu")
                tensors[name] = fakes[id(x)]
        yield
    finally:
        for tensors, name, x in places:
            tensors[name] = x


def tensors_in(module: nn.Module) -> list[tuple[dict[str, Any], str, Tensor]]:
    """The tensors that a module itself holds, each with the dictionary and the name it is under."""
    held = (module._parameters, module._buffers, vars(module))
    return [
        (tensors, name, x)
        for tensors in held
        for name, x in tensors.items()
        if isinstance(x, Tensor)
    ]


def twin_of(x: Tensor, storages: dict[int, Tensor], device: str) -> Tensor:
    """A tensor like this one, without its values: a parameter where it is one.

    `storages` holds the twin of each storage that was seen, so that twins share what tensors share.
    """
    storage = x.untyped_storage()
    if storage._cdata not in storages:
        size = storage.nbytes() // x.element_size()
        storages[storage._cdata] = torch.empty(size, dtype=x.dtype, device=device)
    base = storages[storage._cdata]
    same = base if base.dtype == x.dtype else base.view(x.dtype)
    twin = same.as_strided(x.shape, x.stride(), x.storage_offset()).detach()
    return nn.Parameter(twin, x.requires_grad) if isinstance(x, nn.Parameter) else twin


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
