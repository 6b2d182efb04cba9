"""Where a simulated step is thought to run: a device's rules, a precision, an attention kernel.

Where a measure computes for real: the CPU or a GPU, and in which precision.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pks4.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Target:
    """A device's rules, the dtype that autocast lowers to ("float32": none), and a kernel."""

    name: str
    rules: str  # "cpu" | "cuda"
    dtype: str
    kernel: str  # of pks4.simulate.attention_kernels; for layers that ask for fused attention

    def evidence(self) -> dict[str, str]:
        """What a record says of it, but for the kernels that ran."""
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
def standing_on(target: Target, model: "nn.Module", clip: "Tensor") -> Iterator["Tensor"]:
    """While open, `model` (built on meta) stands on the target; gives the clip that does too.

    Scans take the backend that "auto" is there, installed here or not.
    """
    from pks4.scan.backends import assumed
    from pks4.simulate.cuda_rules import cuda_rules
    from pks4.simulate.fake_device import pretended

    with ExitStack() as stack:
        stack.enter_context(assumed(target.rules))
        if target.rules == "cuda":
            stack.enter_context(cuda_rules())
        yield stack.enter_context(pretended(model, clip, target.rules, target.dtype))


DEVICES = ("cpu", "cuda")
DTYPES = {"float32": "fp32", "bfloat16": "bf16"}


def target_of(settings: Mapping[str, Any]) -> Target:
    """The simulated counterpart of what a measure's device, dtype and kernel settings ask for.

    An empty kernel is the device's own. Raises UserError for a name that is unknown, and for a GPU
    that is not there.
    """
    device, dtype = settings["device"], settings["dtype"]
    check_device(device)
    if dtype not in DTYPES:
        raise UserError(unknown_name("dtype", dtype, DTYPES))
    return target(f"{device}-{DTYPES[dtype]}", settings["kernel"])


def check_device(name: str, here: bool = True) -> None:
    """Raise UserError for an unknown device or, `here`, one that PyTorch has not on this host."""
    if name not in DEVICES:
        raise UserError(unknown_name("device", name, DEVICES))
    if here and name == "cuda":
        import torch

        if not torch.cuda.is_available():
            built = torch.version.cuda
            why = f"is built for CUDA {built} but sees no GPU" if built else "is built without CUDA"
            raise UserError(f"device 'cuda': PyTorch {torch.__version__} {why}; take device 'cpu'")


def precision(where: Target) -> "torch.autocast":
    """Autocast as a target has it, for one forward; weights stay in float32."""
    import torch

    lower = where.dtype != "float32"
    return torch.autocast(where.rules, torch.bfloat16 if lower else None, enabled=lower)
