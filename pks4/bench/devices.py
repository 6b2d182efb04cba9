"""Where a measure computes for real: the CPU or a GPU, and in which precision."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pks4.bench.targets import Target, target
from pks4.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch

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
