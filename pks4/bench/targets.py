"""Where a simulated step is thought to run: a device's rules, a precision, an attention kernel."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pks4.errors import UserError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Target:
    """A device's rules, the dtype that autocast lowers to ("float32": none), and a kernel."""

    name: str
    rules: str  # "cpu" | "cuda"
    dtype: str
    kernel: str  # of pks4.bench.kernels; for layers that ask for fused attention

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
    from pks4.bench.cuda_rules import cuda_rules
    from pks4.bench.fakes import pretended
    from pks4.scan.backends import assumed

    with ExitStack() as stack:
        stack.enter_context(assumed(target.rules))
        if target.rules == "cuda":
            stack.enter_context(cuda_rules())
        yield stack.enter_context(pretended(model, clip, target.rules, target.dtype))
