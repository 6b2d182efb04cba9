"""How a frame is to be turned and mirrored before it is shown, as its file says."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from pks4.data.readers.packets import opened


class SkewedError(Exception):
    """A display matrix that is not made of quarter turns and mirrors."""


class Orientation(NamedTuple):
    """Rows and columns exchanged, then rows and columns in the order of these steps, 1 or -1."""

    exchanged: bool = False
    down: int = 1
    across: int = 1

    @property
    def is_mirrored(self) -> bool:
        """Whether it is no mere turn."""
        return (self.down * self.across < 0) != self.exchanged

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image (h, w, 3) as it is to be shown, (w, h, 3) where rows and columns change."""
        image = image.transpose(1, 0, 2) if self.exchanged else image
        return image[:: self.down, :: self.across]


def orientation(frame: av.VideoFrame) -> Orientation:
    """What the frame's display matrix says; upright without one.

    The matrix (a b u; c d v; x y w) maps column x and row y to a x + c y and b x + d y. Source:
    ISO/IEC 14496-12, 8.3.2. Raises SkewedError for any other angle.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    a, b, _, c, d = (int(np.sign(v)) for v in np.frombuffer(bytes(data), np.int32)[:5])
    if a and d and not b and not c:
        return Orientation(False, d, a)
    if b and c and not a and not d:
        return Orientation(True, b, c)
    raise SkewedError


def orientation_of_file(path: Path | str) -> Orientation | None:
    """That of a file's first frame; None for any other angle. Raises VideoError."""
    with opened(path) as (container, stream):
        frame = next(container.decode(stream), None)
    try:
        return orientation(frame) if frame else Orientation()
    except SkewedError:
        return None
