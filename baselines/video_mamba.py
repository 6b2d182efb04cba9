"""VideoMamba (video Mamba): bidirectional selective scans over all tokens of a clip.

The sequence is one cls token, then all frames in row-major order, (t h w). Every layer is a
pre-norm residual around a mixer that scans the sequence forwards and backwards. Mixer and network
are in `pks4.models.bidirectional_mamba`, which other rivals use too. The defaults are VideoMamba-M;
`SIZES` has Ti and S.

Source: arXiv 2403.06977 and the authors' code (OpenGVLab/VideoMamba; the mixer "v2"), with its
parameter names. All their released models have tubelet 1.
"""

from pks4.models.bidirectional_mamba import Mixer, VideoMamba

FAMILY = "video Mamba"
PAPER = "https://arxiv.org/abs/2403.06977"
IMAGE_TWIN = "video_mamba"
PLACE = "in every layer, over all tokens of the clip"
TRAINED = "all"
STAGES = {"head": ("head",)}
WITHOUT = ("heads",)
VARIANTS = {
    "official start": {},
    "start of Mamba": {"init": "mamba"},
    "tubelets of two frames": {"tubelet": 2},
}
SILENT = ("layers.2.mixer.A_log",)  # the head reads the cls token, the scan's first step
SIZES = {
    "Ti": {"width": 192, "depth": 24},
    "S": {"width": 384, "depth": 24},
    "M": {"width": 576, "depth": 32},
}
SCALES = {
    "paper": {"width": 576, "depth": 32, "patch_size": 16, "image_size": 224},
    "tiny": {  # see `build` for what differs from the paper's, and why
        "width": 96,
        "depth": 6,
        "patch_size": 8,
        "image_size": 64,
        "state": 8,
        "init": "mamba",
        "pool": "mean",
    },
}


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 576,
    depth: int = 32,
    patch_size: int = 16,
    image_size: int = 224,
    tubelet: int = 1,
    state: int = 16,
    expand: int = 2,
    conv_kernel: int = 4,
    scan_backend: str = "auto",
    init: str = "official",
    pool: str = "cls",
    drop_path: float = 0.0,
) -> VideoMamba:
    """VideoMamba for clips of exactly `frames` frames, a multiple of `tubelet`.

    `init`: "official" sets dt_proj.bias = 0 as the authors' code does, so steps start near
    softplus(0) = .69; "mamba" starts steps log-uniform in [.001, .1], as Mamba. All else is the
    same. `pool`: the head reads the "cls" token, as the authors' classifiers do, or the "mean" of
    all others; theirs for text (video_mm) read both. `drop_path` grows linearly over the layers;
    the paper trains with .1 (Ti) to .8 (M).

    The tiny scale starts as "mamba" and reads the mean. As in the paper, six layers would not see
    past the second frame: the cls token stands at the front, and a layer's state forgets within
    some sixty tokens of 513. The published models have 24 to 32 layers.
    """
    mixers = [Mixer(width, state, expand, conv_kernel, scan_backend) for _ in range(depth)]
    return VideoMamba(
        mixers,
        frames=frames,
        num_classes=num_classes,
        patch_size=patch_size,
        image_size=image_size,
        tubelet=tubelet,
        init=init,
        pool=pool,
        drop_path=drop_path,
    )
