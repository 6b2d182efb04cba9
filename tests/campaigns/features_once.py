"""What reading features saves against computing them in every epoch; a campaign, not a test.

    python -m tests.campaigns.features_once

PKS4 on a frozen tiny ViT with patches of 8 pixels, on 8 frames of noise, in batches of 8, on one
thread in float32. Rounds of the three ways alternate, and the least time of each counts. One line
is printed for each place.
"""

import time
from functools import partial

import torch

from pks4.method.video import SCALES, build
from pks4.simulate.attention_kernels import declared_attention
from pks4.simulate.count_macs import count_on_meta
from pks4.train.batches import InMemory
from pks4.train.engine import Options, fit, on_pixels
from pks4.train.features import by_clip, of_source, on_features
from pks4.train.recipe import Recipe

CLIPS, FRAMES, ROUNDS = 16, 8, 5
RECIPE = Recipe(learning_rate=1e-3, epochs=1, batch_size=8)


def quiet(*_):
    """A progress callback that says nothing."""


def seconds(model, source, forward):
    """Seconds of an epoch."""
    started = time.perf_counter()
    fit(model, source, RECIPE, quiet, Options(forward=forward))
    return time.perf_counter() - started


def main():
    """Print the table."""
    torch.set_num_threads(1)
    options = {**SCALES["tiny"], "patch_size": 8, "frames": FRAMES, "num_classes": 18}
    size = options["image_size"]
    video = torch.randint(0, 256, (CLIPS, FRAMES, 3, size, size), dtype=torch.uint8)
    source = InMemory(video, torch.arange(CLIPS) % 18)
    clip = torch.empty(1, FRAMES, 3, size, size, device="meta")
    for place, insert_after in {"top": None, "after block 2 of 4": 1}.items():
        make = partial(build, insert_after=insert_after, **options)
        model = make()
        with declared_attention("flash_cpu"):
            labelled = list(of_source(model.frozen_part, source, "cpu", quiet))
            stored = InMemory(torch.stack([x for x, _ in labelled]), source.label)
            ways = {
                "batch": (source, on_pixels),
                "clip": (source, by_clip),
                "read": (stored, on_features),
            }
            found = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    found[name].append(seconds(model, *way))
        with torch.device("meta"):
            meta = make()
        macs = count_on_meta(meta, clip, backward=True)
        frozen = count_on_meta(meta.frozen_part.features, clip, backward=False)
        least = {name: min(times) for name, times in found.items()}
        read, clip_by_clip = (least[name] / least["batch"] for name in ("read", "clip"))
        print(
            f"{place}: features read, {read:.2f} of an epoch in batches; clip by clip, "
            f"{clip_by_clip:.2f}; of a step's MACs {1 - frozen / macs:.2f} are left; "
            f"{stored.video[0].nbytes / 2**10:.0f} KiB a clip"
        )


if __name__ == "__main__":
    main()
