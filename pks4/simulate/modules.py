"""Which module runs now, and to which stage of the contestant it belongs."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pks4.macs import BACKBONE

if TYPE_CHECKING:
    from torch import nn

Stages = Mapping[str, Sequence[str]]  # stage -> parts of module names, as `STAGES` of a file


class CurrentModule:
    """While open, `module` is the class of the innermost running module and `stage` its stage.

    The outermost module that has a part of `stages` in its name sets the stage for all modules
    inside it. Without `stages` the top-level children are the stages. A plain function, such as a
    model's `from_features`, has one stage.
    """

    def __init__(self, model: "nn.Module | Callable[..., Any]", stages: Stages | None) -> None:
        self.model, self.stages = model, stages
        self._root = "model" if stages is None else BACKBONE
        self._running = [(type(model).__name__, self._root)]
        self._handles: list[Any] = []

    @property
    def module(self) -> str:
        """Class of the innermost running module."""
        return self._running[-1][0]

    @property
    def stage(self) -> str:
        """Stage of the innermost running module."""
        return self._running[-1][1]

    def __enter__(self) -> "CurrentModule":
        for name, module in getattr(self.model, "named_modules", list)():
            if name:
                stage = self._stage_of(name)
                self._handles += [
                    module.register_forward_pre_hook(
                        lambda m, i, stage=stage: self._into(m, stage)
                    ),
                    module.register_forward_hook(self._out, always_call=True),
                ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _stage_of(self, name: str) -> str:
        parts = name.split(".")
        if self.stages is None:
            return parts[0]
        named = (s for s, prefixes in self.stages.items() if not set(prefixes).isdisjoint(parts))
        return next(named, self._root)

    def _into(self, module: "nn.Module", stage: str) -> None:
        outer = self.stage
        self._running.append((type(module).__name__, stage if outer == self._root else outer))

    def _out(self, *_: object) -> None:
        self._running.pop()
