"""Frames to an H.264 mp4; the same frames give the same bytes in one environment.

To this end x264 runs without B-frames and macroblock tree, in one thread, with closed GOPs of fixed
length, and RGB becomes YUV in integers here, not in swscale. The bytes still depend on the versions
of FFmpeg and x264, so the hash of the frames before encoding (`frames_sha256`) is the authority and
the hash of the file is advisory.
"""

import hashlib
import io

import av
import numpy as np
from numpy.typing import NDArray

GOP = 12
_X264 = f"bframes=0:mbtree=0:keyint={GOP}:min-keyint={GOP}:scenecut=0:open-gop=0:threads=1"
_BLOCK = 32  # frames converted at once, which bounds the memory of a long clip
_OPTIONS = {"preset": "veryfast", "crf": "18", "x264-params": _X264}

# BT.601, limited range, scaled by 256: rows Y, U, V; columns R, G, B.
_BT601 = np.array([[66, 129, 25], [-38, -74, 112], [112, -94, -18]], dtype=np.int32)


def frames_sha256(frames: NDArray[np.uint8]) -> str:
    """The hash of the frames' bytes, (t, h, w, 3) RGB in that order."""
    return hashlib.sha256(np.ascontiguousarray(frames)).hexdigest()


def encode(frames: NDArray[np.uint8], fps: int) -> bytes:
    """An mp4 file with the frames (t, h, w, 3), h and w even, as closed-GOP H.264."""
    count, height, width, _ = frames.shape
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for start in range(0, count, _BLOCK):
            for planes in rgb_to_yuv420(frames[start : start + _BLOCK]):
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def rgb_to_yuv420(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB (t, h, w, 3) to planar YUV 4:2:0, (t, 3h/2, w), BT.601 limited range, in integers.

    Chroma is the mean of each 2 x 2 block, rounded half up.
    """
    count, height, width, _ = frames.shape
    rgb = frames.astype(np.int32)
    luma = ((rgb @ _BT601[0] + 128) >> 8) + 16  # (t, h, w)
    block = rgb.reshape(count, height // 2, 2, width // 2, 2, 3).sum(axis=(2, 4))
    chroma = ((block @ _BT601[1:].T + 512) >> 10) + 128  # (t, h/2, w/2, 2)
    planes = [luma, chroma[..., 0], chroma[..., 1]]
    flat = np.concatenate([plane.reshape(count, -1) for plane in planes], axis=1)
    return flat.astype(np.uint8).reshape(count, height * 3 // 2, width)
