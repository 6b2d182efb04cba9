"""Where a step runs: a target that is simulated, or a device that computes.

A `Target` is a device's rules, a precision and an attention kernel. `target_of` gives the target
that equals the device settings of a measure that computes.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pks4.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Target:
    """A device's rules, the dtype of autocast ("float32": no autocast), and a kernel."""

    name: str
    rules: str  # "cpu" | "cuda"
    dtype: str
    kernel: str  # of pks4.simulate.attention_kernels; for layers that ask for fused attention

    def evidence(self) -> dict[str, str]:
        """Its entries in a record's evidence; the kernels that ran are added by the measure."""
        precision = self.dtype if self.dtype == "float32" else f"autocast to {self.dtype}"
        return {
            "how": "simulated",
            "target": self.name,
            "device": f"{self.rules} (fake tensors)",
            "dtype": precision,
        }


TARGETS = {
    t.name: t
    for t in (
        Target("cpu-fp32", "cpu", "float32", "flash_cpu"),
        Target("cpu-bf16", "cpu", "bfloat16", "flash_cpu"),
        Target("cuda-fp32", "cuda", "float32", "efficient"),
        Target("cuda-bf16", "cuda", "bfloat16", "flash"),
    )
}


def target(name: str, kernel: str = "") -> Target:
    """The target of this name, with another attention kernel if one is named.

    Raises UserError for an unknown name.
    """
    if name not in TARGETS:
        raise UserError(unknown_name("target", name, TARGETS))
    known = TARGETS[name]
    return Target(known.name, known.rules, known.dtype, kernel) if kernel else known


@contextmanager
def on_target(target: Target, model: "nn.Module", inputs: Any) -> Iterator[Any]:
    """Put a meta model on the target, with fake tensors; yield fakes of its inputs.

    Scans take the backend that "auto" means on that device, installed on this machine or not.
    """
    from pks4.scan.backends import assuming_device
    from pks4.simulate.cuda_rules import cuda_rules
    from pks4.simulate.fake_device import on_fake_device

    with ExitStack() as stack:
        stack.enter_context(assuming_device(target.rules))
        if target.rules == "cuda":
            stack.enter_context(cuda_rules())
        yield stack.enter_context(on_fake_device(model, inputs, target.rules, target.dtype))


DEVICES = ("cpu", "cuda")
DTYPES = {"float32": "fp32", "bfloat16": "bf16"}


def target_of(settings: Mapping[str, Any]) -> Target:
    """The target that equals a measure's settings device, dtype and kernel.

    An empty kernel means the device's default. Raises UserError for an unknown name, and for a GPU
    where there is none.
    """
    device, dtype = settings["device"], settings["dtype"]
    check_device(device)
    if dtype not in DTYPES:
        raise UserError(unknown_name("dtype", dtype, DTYPES))
    return target(f"{device}-{DTYPES[dtype]}", settings["kernel"])


def check_device(name: str, here: bool = True) -> None:
    """Raise UserError for an unknown device or, with `here`, one that is missing on this host."""
    if name not in DEVICES:
        raise UserError(unknown_name("device", name, DEVICES))
    if here and name == "cuda":
        import torch

        if not torch.cuda.is_available():
            built = torch.version.cuda
            why = f"is built for CUDA {built} but sees no GPU" if built else "is built without CUDA"
            raise UserError(f"device 'cuda': PyTorch {torch.__version__} {why}; take device 'cpu'")


def precision(where: Target) -> "torch.autocast":
    """The target's autocast, for one forward; weights stay in float32."""
    import torch

    lower = where.dtype != "float32"
    return torch.autocast(where.rules, torch.bfloat16 if lower else None, enabled=lower)
