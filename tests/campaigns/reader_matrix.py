"""Every reader on every file of a matrix: the frames that FFmpeg shows, or the right refusal.

    python -m tests.campaigns.reader_matrix [--codecs h264,...] [--containers mp4,...] > table.md

`reader_files` makes the files: codecs x containers x traits. The truth of a file is one decoding
from its start by PyAV, each picture turned as its display matrix says. A reader is right if it
gives those frames, all at once and one at a time, and counts as many, as does `data index`; or if
it refuses with a kind that fits the trait and a remedy. A cut file must be refused. Progress, and
each wrong file, go to standard error.
"""

import argparse
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from shutil import which

import av
import numpy as np

from pks4.bench.records.environment import commit
from pks4.data.errors import VideoError
from pks4.data.index.parts.build import count_packets
from pks4.data.readers import READERS, count_frames, read_frames, reader_info
from tests.campaigns.reader_files import CODECS, CONTAINERS
from tests.campaigns.reader_traits import TRAITS, Made, made

CUT = "cut at 60 %"
RIGHT = {"exact", "refused", "untold"}
NEAR = 3.0  # mean grey levels that another conversion of colours may differ by
DAMAGED = {"truncated", "decode", "open", "no_frames"}
OTHER = {"inexact", "open"}  # of a reader that leaves a kind of file to pyav
RIGHT_KINDS = {  # of a refusal, by trait; of all other traits, pyav must refuse none
    CUT: {"truncated", "open"},
    "hole": DAMAGED | {"no_video"},
    "sound only": {"no_video"},
    "zero length": {"open", "no_frames", "no_video"},
    "trimmed": {"decode"},
}
REMEDY = re.compile(r"restore|correct|use reader|give|encode|install|keep one")


@dataclass
class Judged:
    """What a reader made of a file: exact, refused, or what is wrong."""

    made: Made
    reader: str
    verdict: str
    detail: str = ""


@dataclass
class Truth:
    """The frames of one decoding from the start, whether it reached the end; those undamaged."""

    frames: list[np.ndarray]
    complete: bool
    undamaged: list[np.ndarray]

    def fits(self, got: np.ndarray, k: int, exact: bool) -> bool:
        """Whether this is frame k, by its pixels or, for other arithmetic of colours, nearly."""
        known = self.frames if k < len(self.frames) or self.complete else self.undamaged
        if k >= len(known) or got.shape != known[k].shape:
            return False
        if exact:
            return np.array_equal(got, known[k])
        return float(np.abs(got.astype(int) - known[k]).mean()) <= NEAR


def truth(file: Made) -> Truth:
    """What FFmpeg shows of a file."""
    undamaged = _decoded(file.whole)[0] if file.trait == "hole" else []
    return Truth(*_decoded(file.path), undamaged)


@lru_cache(64)
def _decoded(path: Path) -> tuple[list[np.ndarray], bool]:
    frames: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            videos = [s for s in container.streams.video if not _is_cover(s)]
            for frame in container.decode(videos[0]) if videos else ():
                frames.append(_shown(frame))
    except (av.error.FFmpegError, ValueError, AttributeError):
        return frames, False
    return frames, True


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _shown(frame: av.VideoFrame) -> np.ndarray:
    """Each pixel put where the display matrix says (ISO/IEC 14496-12, 8.3.2)."""
    image = frame.to_ndarray(format="rgb24")
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return image
    a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(data), np.int32)[:5])
    a, b, c, d = (round(v / 65536) for v in (a, b, c, d))
    y, x = np.indices(image.shape[:2])
    across, down = a * x + c * y, b * x + d * y
    across, down = across - across.min(), down - down.min()
    result = np.zeros((down.max() + 1, across.max() + 1, 3), np.uint8)
    result[down, across] = image
    return result


def judge(file: Made, reader: str, known: Truth) -> Judged:
    """Read a file whole and frame by frame, and count it."""
    total, refusals = len(known.frames), []
    last = max(total - 1, 0)
    few = sorted({0, min(13, last), total // 2, last})
    questions = [list(range(max(total, 1))), *([k] for k in few)]
    for wanted in questions:
        try:
            got = read_frames(file.path, wanted, reader)
        except VideoError as error:
            refusals.append(error)
            if reader != "pyav" or error.kind != "decode":
                break  # the others would be the same
        else:
            pairs = zip(wanted, got, strict=True)
            bad = [k for k, one in pairs if not known.fits(one, k, reader == "pyav")]
            if bad:
                return Judged(file, reader, "wrong frames", f"{bad[:6]} of {wanted[:6]}, {total}")
    for ask in (partial(count_frames, file.path, reader), partial(count_packets, file.path)):
        try:
            found = ask()
        except VideoError as error:
            refusals.append(error)
        else:
            if not refusals and found != total:
                return Judged(file, reader, "wrong count", f"{found} of {total}")
    for error in refusals:
        if not _is_right(file, reader, known, error):
            return Judged(file, reader, "wrong refusal", str(error))
        if not REMEDY.search(str(error)):
            return Judged(file, reader, "no remedy", str(error))
    if refusals:
        return Judged(file, reader, "refused", str(refusals[0]))
    if file.trait != CUT:
        return Judged(file, reader, "exact")
    told = "between_packets" not in file.path.name
    return Judged(file, reader, "cut unseen" if told else "untold", f"{total} frames")


def _is_right(file: Made, reader: str, known: Truth, error: VideoError) -> bool:
    allowed = RIGHT_KINDS.get(file.trait, set())
    if reader != "pyav" and file.trait != "sound only":
        allowed = allowed | OTHER
    if not known.frames or "between_packets" in file.path.name:
        allowed = allowed | DAMAGED | {"no_video"}
    if "skewed" in file.path.name or "sei" in file.path.name:
        allowed = allowed | {"decode"}
    return error.kind in allowed


def installed() -> list[str]:
    """The readers that are here."""
    found = []
    for reader in READERS:
        try:
            reader_info(reader)
        except VideoError as error:
            print(error, file=sys.stderr)
        else:
            found.append(reader)
    return found


def judgements(folder: Path, codecs: list[str], containers: list[str], readers: list[str]
               ) -> Iterator[Judged]:  # fmt: skip
    """Every reader on every file of each pair that FFmpeg muxes and reads."""
    pairs = set()
    for file in made(folder, codecs, containers):
        known = truth(file)
        if file.trait == "plain" and known.frames:
            pairs.add((file.codec, file.container))
        if (file.codec, file.container) in pairs:
            yield from (judge(file, reader, known) for reader in readers)


def table(judged: list[Judged], readers: list[str]) -> str:
    """Codecs in containers by traits; a cell has a mark for each reader."""
    cells = defaultdict[tuple[str, str, str, str], set[str]](set)
    for one in judged:
        cells[one.made.codec, one.made.container, one.made.trait, one.reader].add(one.verdict)
    rows = [f"| | {' | '.join(TRAITS)} |", "|---|" + "---|" * len(TRAITS)]
    for codec, container in dict.fromkeys((j.made.codec, j.made.container) for j in judged):
        marks = ("".join(_mark(cells[codec, container, trait, reader]) for reader in readers)
                 for trait in TRAITS)  # fmt: skip
        rows.append(f"| {codec} {container} | {' | '.join(m.strip() or '-' for m in marks)} |")
    return "\n".join(rows)


def _mark(verdicts: set[str]) -> str:
    if verdicts - RIGHT:
        return "!"
    if "untold" in verdicts:
        return "u"
    return {0: " ", 1: "".join(verdicts)[:1]}.get(len(verdicts), "m")


def totals(judged: list[Judged], readers: list[str]) -> str:
    """Files by reader and verdict."""
    counts = Counter((one.reader, one.verdict) for one in judged)
    wrong = sorted({one.verdict for one in judged} - RIGHT)
    names = ["exact", "refused", "untold", *(wrong or ["wrong"])]
    rows = [f"| reader | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for reader in readers:
        rows.append(f"| {reader} | {' | '.join(str(counts[reader, n]) for n in names)} |")
    return "\n".join(rows)


def versions(readers: list[str]) -> str:
    """The commit, the readers, and the libraries that made the files."""
    head, changed = commit()
    named = [" ".join(str(v) for v in reader_info(reader).values()) for reader in readers]
    return f"Commit {(head or 'unknown')[:7]}{', changed' if changed else ''}; {'; '.join(named)}."


def main() -> None:
    """Make the files, ask every reader, print the tables; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codecs", default=",".join(CODECS))
    parser.add_argument("--containers", default=",".join(CONTAINERS))
    parser.add_argument("--folder", type=Path, help="where the files are kept")
    options = parser.parse_args()
    readers, judged = installed(), []
    if not which("ffmpeg"):
        print("no ffmpeg: the attached pictures that it makes are left out", file=sys.stderr)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        asked = options.codecs.split(","), options.containers.split(",")
        for one in judgements(folder, *asked, readers):
            judged.append(one)
            if one.verdict not in RIGHT:
                detail = one.detail.replace(f"{folder}/", "")
                path = one.made.path.relative_to(folder)
                print(one.verdict, one.reader, one.made.trait, path, detail, sep=" | ",
                      file=sys.stderr, flush=True)  # fmt: skip
    print(versions(readers), table(judged, readers), totals(judged, readers), sep="\n\n")
    sys.exit(any(one.verdict not in RIGHT for one in judged))


if __name__ == "__main__":
    main()
