"""How the files of the readers' matrix are encoded and muxed, by PyAV.

Each codec is encoded once a variant, into a Matroska file of its own; all other files are that one
muxed again, so that nothing but the trait differs. `reader_traits` says how.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

CODECS = {"h264": "libx264", "hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9",
          "av1": "libsvtav1", "mpeg4": "mpeg4", "mjpeg": "mjpeg"}  # fmt: skip
CONTAINERS = ("mp4", "mov", "mkv", "webm", "avi", "ts")
FRAMES, RATE, SIZE = 40, 25, (64, 96)
X264 = "keyint=12:min-keyint=12:scenecut=0:threads=1:log-level=none"
X265 = "keyint=12:min-keyint=12:scenecut=0:pools=none:frame-threads=1:log-level=none"
VPX = {"g": "12", "deadline": "good", "cpu-used": "4", "threads": "1", "b": "1000000"}
PLAIN = {
    "h264": {"x264-params": f"{X264}:bframes=0"},
    "hevc": {"x265-params": f"{X265}:bframes=0:open-gop=0"},
    "vp8": VPX | {"auto-alt-ref": "0", "lag-in-frames": "0"},
    "vp9": VPX | {"auto-alt-ref": "0", "lag-in-frames": "0"},
    "av1": {"preset": "12", "g": "12", "svtav1-params": "lp=1:pred-struct=1"},
    "mpeg4": {"g": "12", "b": "2000000"},
    "mjpeg": {"q": "3"},
}
VARIANTS = {  # variant of the encoding: codec: options
    "plain": PLAIN,
    "B-frames": {
        "h264": {"x264-params": f"{X264}:bframes=3:b-adapt=0:open-gop=0"},
        "hevc": {"x265-params": f"{X265}:bframes=3:b-adapt=0:open-gop=0"},
        "av1": {"preset": "12", "g": "12", "svtav1-params": "lp=1:pred-struct=2"},
        "mpeg4": PLAIN["mpeg4"] | {"bf": "2", "flags": "+cgop", "sc_threshold": "1000000000"},
    },
    "open GOP": {
        "h264": {"x264-params": f"{X264}:bframes=3:b-adapt=0:open-gop=1"},
        "hevc": {"x265-params": f"{X265}:bframes=3:b-adapt=0:open-gop=1"},
        "av1": {"preset": "12", "g": "12", "svtav1-params": "lp=1:pred-struct=2:irefresh-type=1"},
        "mpeg4": {"g": "12", "b": "2000000", "bf": "2"},
    },
    "hidden frames": {
        "vp8": VPX | {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "12", "arnr-maxframes": "5"},
        "vp9": VPX | {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "12", "arnr-maxframes": "5"},
    },
    "interlaced": {
        "h264": {"x264-params": f"{X264}:bframes=2:tff=1"},
        "hevc": {"x265-params": f"{X265}:interlace=tff"},
        "mpeg4": {"g": "12", "b": "2000000", "flags": "+ildct+ilme", "top": "1"},
    },
    "10 bit": {codec: PLAIN[codec] for codec in ("h264", "hevc", "av1")}
    | {"vp9": PLAIN["vp9"] | {"profile": "2"}},
    "odd sizes": PLAIN,
    "variable rate": PLAIN | {"h264": {"x264-params": f"{X264}:bframes=3:open-gop=0"}},
}  # fmt: skip


def picture(k: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frame k (h, w, 3): a colour of its own, and a grey texture that moves."""
    texture = np.random.default_rng(0).integers(0, 256, (size[0] // 4 + 1, size[1] // 4 + 1, 1))
    texture = texture.repeat(4, 0).repeat(4, 1).repeat(3, 2)[: size[0], : size[1]].astype(np.uint8)
    frame = np.roll(texture, (k, 2 * k), axis=(0, 1))
    frame[:, : size[1] // 2] = 20 + 5 * k, 120, 230 - 5 * k
    return frame


def encode(path: Path, codec: str, variant: str, size: tuple[int, int] = SIZE) -> Path:
    """A variant of a codec in Matroska, 25 frames a second. Raises FFmpegError, KeyError."""
    options = VARIANTS[variant][codec]
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    if variant == "10 bit":
        pixels = "yuv420p10le"
    if variant == "odd sizes":
        size = (51, 67)
        if codec in ("h264", "hevc"):
            pixels = "yuv444p"
        elif codec == "mjpeg":
            pixels = "yuvj444p"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream(CODECS[codec], rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.thread_count = 1
        for k in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(k, size), format="rgb24")
            frame = frame.reformat(format=pixels)
            frame.pts = k * (k + 7) // 4 if variant == "variable rate" else k
            frame.time_base = Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def bases(folder: Path, codecs: Iterable[str]) -> dict[tuple[str, str], Path]:
    """All variants of all codecs that the encoders here make, by codec and variant."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    found = {}
    for codec in codecs:
        for variant, options in VARIANTS.items():
            path = folder / f"{codec} {variant}.mkv".replace(" ", "_")
            if codec not in options:
                continue
            try:
                found[codec, variant] = path if path.exists() else encode(path, codec, variant)
            except (av.error.FFmpegError, ValueError):
                path.unlink(missing_ok=True)
            finally:  # SVT-AV1 gives its caller real-time priority where that is root
                os.sched_setscheduler(0, policy, priority)
    return found


@dataclass
class Track:
    """A stream to be muxed: its file, a change of its packets, of the new stream, and a filter."""

    base: Path
    change: Callable[[list[av.Packet]], list[av.Packet]] = list
    stream: Callable[[av.VideoStream], None] = lambda stream: None
    bitstream: str | None = None


@dataclass
class Muxed:
    """How a file is put together: tracks, the muxer's options, sound, a last change of bytes."""

    tracks: list[Track]
    options: dict[str, str] = field(default_factory=dict)
    sound: str = ""  # "first", "last" or none
    patch: Callable[[bytes], bytes] = bytes


def mux(path: Path, how: Muxed) -> None:
    """Write the file. Raises FFmpegError or ValueError where the container does not take it."""
    suffix = path.suffix[1:]
    formats = {"mkv": "matroska", "ts": "mpegts"}
    with av.open(str(path), "w", format=formats.get(suffix, suffix), options=how.options) as out:
        sound = _sound(out, suffix) if how.sound == "first" else None
        pending = []
        for track in how.tracks:
            with av.open(str(track.base)) as source:
                template = source.streams.video[0]
                decoder_only = template.codec_context.codec.canonical_name == "av1"
                stream = out.add_stream_from_template(template, opaque=decoder_only)
                stream.time_base = Fraction(1, RATE) if suffix == "avi" else template.time_base
                track.stream(stream)
                packets = _timed([p for p in source.demux(template) if p.size])
                for name in filter(None, (track.bitstream, _needed(template, suffix))):
                    bits = BitStreamFilterContext(name, template, stream)
                    packets = [p for one in [*packets, None] for p in bits.filter(one)]
                    for packet in packets:
                        packet.time_base = template.time_base
                for packet in track.change(packets):
                    packet.stream = stream
                    pending.append(packet)
        if how.sound == "last":
            sound = _sound(out, suffix)
        out.start_encoding()
        if sound is not None:
            for frame in (*_silence(sound), None):
                out.mux(sound.encode(frame))
        for packet in sorted(pending, key=lambda p: p.dts * p.time_base):
            out.mux_one(packet)
    path.write_bytes(how.patch(path.read_bytes()))


def _needed(stream: av.VideoStream, suffix: str) -> str | None:
    """The filter that a container needs and does not apply by itself."""
    codec = stream.codec_context.codec.canonical_name
    return {("h264", "avi"): "h264_mp4toannexb", ("mpeg4", "ts"): "dump_extra"}.get((codec, suffix))


def _timed(packets: list[av.Packet]) -> list[av.Packet]:
    """Packets with times to decode them, which Matroska does not keep."""
    shown = sorted(p.pts for p in packets)
    delay = max(time - p.pts for time, p in zip(shown, packets, strict=True))
    for time, packet in zip(shown, packets, strict=True):
        packet.dts = time - delay
    return packets


def _sound(out: av.container.OutputContainer, suffix: str) -> av.AudioStream:
    codec = {"webm": "libopus", "avi": "libmp3lame", "mkv": "libopus"}.get(suffix, "aac")
    return out.add_stream(codec, rate=48000)


def _silence(stream: av.AudioStream) -> list[av.AudioFrame]:
    """Silence as long as the video."""
    silence = np.zeros((1, 48000 * FRAMES // RATE), np.float32)
    sound = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
    sound.sample_rate = 48000
    return av.AudioResampler(stream.format, stream.layout, 48000, 960).resample(sound)
