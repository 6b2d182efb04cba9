"""The features of a cell's frozen part: read from a file, or why they are computed in every epoch.

They are stored for clips that look the same in every epoch, in one process, while there is room for
them (`pks4.train.feature_files`). Cells with the same frozen part and clips share a file.
"""

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pks4.bench.measure.parts.data_sources import Data, Embedded
from pks4.bench.measure.parts.image_models import kernel_on
from pks4.bench.measure.parts.input import MeasureInput, build
from pks4.bench.records.environment import cpu_name

if TYPE_CHECKING:
    from pks4.train.batches import InMemory, Source
    from pks4.train.checkpoint import History
    from pks4.train.engine import Forward
    from pks4.train.recipe import Recipe

NO_ROOM = "no room, see PKS4_FEATURES_GIB"


class Clips(NamedTuple):
    """Where the clips of a split come from, and how the model computes from a batch of them."""

    source: "Source"
    forward: "Forward"
    workers: int


class Features:
    """The features of a cell's model, which is on its device and has its image weights.

    `seconds` is the time that was spent on computing or reading them, outside of epochs.
    """

    def __init__(self, inputs: MeasureInput, model: Any, recipe: "Recipe", data: Data) -> None:
        from pks4.train.features import frozen_part

        self.inputs, self.recipe, self.data = inputs, recipe, data
        self.part = frozen_part(model)
        self.why_in_batches = self._why_in_batches()
        self.stored: dict[str, InMemory | None] = {}
        self.seconds = 0.0

    def of(self, split: str, source: "Source") -> Clips:
        """The clips of a split as the model takes them: features where it can."""
        from pks4.train.engine import on_pixels
        from pks4.train.features import by_clip, on_features

        if self.why_in_batches:
            return Clips(source, on_pixels, self.recipe.workers)
        if self._caches() and split not in self.stored:
            before = time.perf_counter()
            self.stored[split] = self._read(split, source)
            self.seconds += time.perf_counter() - before
        stored = self.stored.get(split)
        if stored is None:
            return Clips(source, by_clip, self.recipe.workers)
        return Clips(stored, on_features, 0)  # no worker decodes

    def evidence(self) -> str:
        """What ran, for a record."""
        if self.why_in_batches:
            return f"computed each epoch: {self.why_in_batches}"
        if not self._caches():
            return "computed each epoch: feature_cache is false"
        kept = [stored.video.nbytes for stored in self.stored.values() if stored is not None]
        lacking = [split for split, stored in self.stored.items() if stored is None]
        texts = [f"cached, {sum(kept)} bytes"] if kept else []
        texts += [f"{', '.join(lacking)} computed each epoch: {NO_ROOM}"] if lacking else []
        return "; ".join(texts)

    def macs(self, history: "History", clip_macs: int) -> int:
        """MACs of the training as computed: those of a stored clip's features count once."""
        from pks4.simulate.count_macs import count_on_meta

        whole, stored = clip_macs * history.clips, self.stored.get("train")
        if stored is None:
            return whole
        part = build(self.inputs.cell, "meta", num_classes=len(self.data.classes)).frozen_part
        clip = self.inputs.clip("meta", batch=1)
        features_macs = count_on_meta(part.features, clip, backward=False)
        return whole - features_macs * (history.clips - len(stored))

    def _why_in_batches(self) -> str:
        """Why the model computes from whole batches of clips, frozen part and all; or nothing."""
        processes = self.inputs.settings["processes"]
        reasons = {
            "no frozen part in front": self.part is None,
            "clips are sampled anew": not isinstance(self.data, Embedded),
            "augmentation": self.recipe.augments,
            f"{processes} processes": processes > 1,
        }
        return next((why for why, holds in reasons.items() if holds), "")

    def _caches(self) -> bool:
        """The setting; runs from before it existed resume without a cache."""
        return bool(self.inputs.settings.get("feature_cache", False))

    def _read(self, split: str, source: "Source") -> "InMemory | None":
        from pks4.data.dataset import cache_root
        from pks4.train.engine import precision
        from pks4.train.feature_files import FeatureFiles, limit_bytes
        from pks4.train.features import of_source

        def progress(done: int) -> None:
            self.inputs.progress(done, len(source), f"features of {split}")

        files = FeatureFiles(cache_root() / "features", limit_bytes())
        with precision(self.recipe):
            return files.get(
                self._key(split),
                len(source),
                lambda: of_source(self.part, source, self.recipe.device, progress),
            )

    def _key(self, split: str) -> dict[str, Any]:
        """All that the features depend on, up to the last bit."""
        import torch

        from pks4.weights.image_files import weights_digest

        recipe, data = self.recipe, self.data.evidence()
        on_gpu, weights = recipe.device == "cuda", weights_digest(self.part.state_dict())
        return {
            "part": [type(self.part).__qualname__, self.part.facts(), weights],
            "clips": [data["data"], split, self.inputs.cell.frames, data["reader"]],
            "precision": recipe.precision,
            "processor": torch.cuda.get_device_name() if on_gpu else cpu_name(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "kernel": kernel_on(recipe.device, recipe.precision, self.inputs.settings),
            "torch": torch.__version__,
        }
