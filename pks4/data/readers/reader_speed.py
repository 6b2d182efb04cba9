"""Time that each reader takes for a clip: some frames of a video of 300.

The video is rendered here (closed-GOP H.264, a key frame every 12, 320 x 240, a panning texture),
so every reader is exact on it.  Readers alternate within each round, so that a slow phase of the
machine slows all of them; the result is the median over rounds.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pks4.data.errors import VideoError
from pks4.data.kinetic_digits.encode import GOP, encode
from pks4.data.readers import READERS, read_frames, reader_info

NUM_FRAMES, HEIGHT, WIDTH = 300, 240, 320
WANTED = (8, 16, 32)


def measure(rounds: int = 9, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Seconds per clip by reader and number of frames, with versions; `absent` says why not."""
    readers, absent = {}, {}
    for name in READERS:
        try:
            readers[name] = reader_info(name)
        except VideoError as error:
            absent[name] = str(error)
    cells = [(name, count) for count in WANTED for name in readers]
    seconds: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        path.write_bytes(encode(_panning(), 30))
        for round_ in range(rounds + 1):  # the first round warms up and is not counted
            for name, count in cells:
                indices = [(2 * k + 1) * NUM_FRAMES // (2 * count) for k in range(count)]
                start = time.perf_counter()
                read_frames(path, indices, name)
                if round_:
                    seconds[name, count].append(time.perf_counter() - start)
            if progress is not None:
                progress(round_ + 1, rounds + 1)
    rows = [{"reader": name, "frames": count, "median_seconds": median(taken), "seconds": taken}
            for (name, count), taken in seconds.items()]  # fmt: skip
    video = {"num_frames": NUM_FRAMES, "height": HEIGHT, "width": WIDTH, "gop": GOP}
    return {"video": video, "readers": readers, "absent": absent, "rows": rows}


def _panning() -> np.ndarray:
    """Frames (t, h, w, 3) of a coarse random texture that moves by two pixels a frame."""
    coarse = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    picture = coarse.repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([np.roll(picture, 2 * t, axis=1) for t in range(NUM_FRAMES)])
