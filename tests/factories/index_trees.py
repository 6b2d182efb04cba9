"""Tiny data sets in their official layouts: annotations and videos, made on the fly."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
from PIL import Image

FRAMES = 5
CLASSES = ("archery", "surfing water")


def video(path: Path) -> Path:
    """A video of five small frames, in the container that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    webm = path.suffix == ".webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9" if webm else "mpeg4", rate=16)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for k in range(FRAMES):
            picture = np.full((32, 32, 3), 40 * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def pictures(folder: Path, name: str = "{:05d}.jpg", start: int = 1) -> Path:
    """A clip of five small frames, frame k of grey level 40 k, as numbered pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(FRAMES):
        Image.new("RGB", (32, 24), (40 * k,) * 3).save(folder / name.format(k + start))
    return folder


def videos(folder: Path, names: list[str]) -> None:
    """The same small video under many names."""
    made: dict[str, Path] = {}
    for name in names:
        path = folder / name
        if path.suffix not in made:
            made[path.suffix] = video(folder.parent / f"one{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made[path.suffix], path)


def kinetics(root: Path) -> None:
    head = "label,youtube_id,time_start,time_end,split"
    write(root / "a/train.csv", f"{head}\narchery,AAA,1,11,train\nsurfing water,-B_b,20,30,train\n")
    write(root / "a/validate.csv", f"{head},is_cc\narchery,CCC,3,13,validate,0\n")
    videos(root / "v", ["train/archery/AAA_000001_000011.mp4", "train/surfing_water/-B_b.mp4",
                        "val/CCC_000003_000013.mp4"])  # fmt: skip


SSV2 = {"Holding something": "0", "Pushing something from left to right": "1"}


def ssv2(root: Path) -> None:
    clips = [
        {
            "id": "74225",
            "label": "holding a cup",
            "template": "Holding [something]",
            "placeholders": ["a cup"],
        },
        {
            "id": "2",
            "label": "pushing a box from left to right",
            "template": "Pushing [something] from left to right",
            "placeholders": ["a box"],
        },
    ]
    write(root / "a/labels.json", json.dumps(SSV2))
    write(root / "a/train.json", json.dumps(clips))
    write(root / "a/validation.json", json.dumps([clips[0] | {"id": "9"}]))
    videos(root / "v", ["74225.webm", "2.webm", "9.webm"])


def ucf101(root: Path) -> None:
    write(root / "a/classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n")
    write(root / "a/trainlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\n"
                                      "Archery/v_Archery_g08_c01.avi 2\n")  # fmt: skip
    write(root / "a/testlist01.txt", "Archery/v_Archery_g01_c01.avi\n")
    videos(root / "v", ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi",
                        "Archery/v_Archery_g08_c01.avi",
                        "Archery/v_Archery_g01_c01.avi"])  # fmt: skip


def hmdb51(root: Path) -> None:
    write(root / "a/brush_hair_test_split1.txt", "April#1(x)_h_cm.avi 1 \nunused.avi 0 \n")
    write(root / "a/wave_test_split1.txt", "April#1(x)_h_cm.avi 1 \nb.avi 2 \n")
    videos(root / "v", ["brush_hair/April#1(x)_h_cm.avi", "wave/April#1(x)_h_cm.avi", "wave/b.avi"])


def diving48(root: Path) -> None:
    dives = [["Back", "15som", "05Twis", "FREE"], ["Back", "Dive", "NoTwis", "PIKE"]]
    clips = [{"vid_name": f"x_0000{k}", "label": k % 2, "start_frame": 0, "end_frame": 5}
             for k in range(3)]  # fmt: skip
    write(root / "a/Diving48_vocab.json", json.dumps(dives))
    write(root / "a/Diving48_V2_train.json", json.dumps(clips[:2]))
    write(root / "a/Diving48_V2_test.json", json.dumps(clips[2:]))
    videos(root / "v", [f"x_0000{k}.mp4" for k in range(3)])


def breakfast(root: Path) -> None:
    names = ["P03_cam01_P03_cereals", "P16_webcam01_P16_tea", "P54_stereo01_P54_salat"]
    for name in names:
        write(root / f"a/{name}.txt", "1-5 SIL\n")
    videos(root / "v", [f"{name}.avi" for name in names])


def coin(root: Path) -> None:
    clips = {"k1": ("PutOnQuiltCover", "training"), "k2": ("ChangeTire", "training"),
             "k3": ("ChangeTire", "testing")}  # fmt: skip
    items = {key: {"class": name, "subset": subset} for key, (name, subset) in clips.items()}
    write(root / "a/COIN.json", json.dumps({"database": items}))
    videos(root / "v", ["0/k1.mp4", "1/k2.mp4", "1/k3.mp4"])


def twentybn(root: Path, name: str, classes: tuple[str, str]) -> None:
    """Jester and Something-Something V1; the test list holds folders alone."""
    write(root / f"a/{name}-labels.csv", "".join(f"{c}\n" for c in classes))
    write(root / f"a/{name}-train.csv", f"1;{classes[0]}\n20;{classes[1]}\n")
    write(root / f"a/{name}-validation.csv", f"3;{classes[0]}\n")
    write(root / f"a/{name}-test.csv", "4\n")
    for video in ("1", "20", "3", "4"):
        pictures(root / "v" / video)


def jester(root: Path) -> None:
    twentybn(root, "jester-v1", ("Stop Sign", "Turning Hand Clockwise"))


def ssv1(root: Path) -> None:
    sided = "Pushing [something] from left to right"
    twentybn(root, "something-something-v1", ("Holding [something]", sided))


TREES = {
    "jester": jester, "ssv1": ssv1,
    "kinetics400": kinetics, "kinetics600": kinetics, "kinetics700": kinetics, "ssv2": ssv2,
    "ucf101": ucf101, "hmdb51": hmdb51, "diving48": diving48, "breakfast": breakfast, "coin": coin,
}  # fmt: skip


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
