"""Measures: exact numbers of PKS4 that real runs confirm; those of every file: test_contract.py."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pks4.bench.contestants import catalogue
from pks4.bench.measure import macs, params
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.measure.saved_bytes import simulated
from pks4.bench.plan.cell import Cell
from pks4.bench.records import run_file
from pks4.macs import scan_backward_macs, scan_macs
from pks4.simulate.attention_kernels import declared_attention
from pks4.simulate.count_macs import count_on_meta
from pks4.simulate.fake_device import on_fake_device
from pks4.simulate.saved_bytes import saved_bytes
from pks4.simulate.targets import target

VIT = {"width": 24, "depth": 2, "heads": 3, "patch_size": 16, "image_size": 32}
CNN = {"backbone": "test_resnet", "image_size": 64}
# What the VARIANTS of PKS4's file leave out; those, and all rivals', are in test_contract.py.
PKS4 = {
    "small": VIT | {"state": 3, "radius": 1, "expand": 1.0},
    "tuned": VIT | {"frozen": False, "readout": "squeeze"},
    "halves": VIT | {"direction": "halves", "reference_frame": "next"},
    "checkpointed": VIT | {"frozen": False, "checkpoint": True},
    "frozen, checkpointed": VIT | {"checkpoint": True},
    "on top": VIT | {"insert_after": "top", "smooth": False},
    "in chunks": VIT | {"frame_chunk": 2},
    "on a CNN": CNN | {"insert_after": "top", "frozen": False},
    "inside a CNN": CNN | {"frozen": False},
    "inside a frozen CNN": {"backbone": "test_convnext", "image_size": 64},
    "inside a frozen CNN with batch norm": CNN,
    "inside a timm ViT": {"backbone": "test_vit", "image_size": 32},
}
RIVALS = {  # that single tests here are about
    "frame_mean": ("frame_mean", VIT),
    "joint": ("timesformer", VIT | {"attention_type": "joint"}),
    "video_mamba": (
        "video_mamba",
        {"width": 24, "depth": 2, "patch_size": 16, "image_size": 32, "state": 3},
    ),
}


def inputs(name, frames=3, settings=None, batch=1, **options):
    """Inputs of a contestant small enough for a test."""
    model, own = ("pks4", PKS4[name]) if name in PKS4 else RIVALS[name]
    cell = Cell(
        id="cell", grid="grid", label=name, title=name, model=model, family="", scale="tiny",
        frames=frames, batch=batch, num_classes=5, task=None, options={**own, **options},
        measures=[], settings={}, time_limit_seconds=60, alone=False,
    )  # fmt: skip
    return MeasureInput(cell, settings or macs.SETTINGS)


@pytest.mark.contract
@pytest.mark.parametrize(("name", "frames"), [("small", 1), *((name, 3) for name in PKS4)])
def test_three_counters_agree_to_the_unit(name, frames):
    forward, train, _ = macs.measure(inputs(name, frames))
    assert forward.evidence["agreed"] == [
        "torch on meta",
        "closed form",
        f"fvcore at {min(frames, 2)} frames",
    ]
    assert train.evidence["agreed"] == []  # nothing but the torch counter sees the backward
    assert isinstance(forward.value, int)
    assert train.value > forward.value


def test_beyond_check_up_to_no_agreement_with_fvcore_is_claimed():
    forward, _ = macs.measure(inputs("frame_mean", 9))
    assert forward.evidence["agreed"] == ["torch on meta", "closed form"]


@pytest.mark.contract
@pytest.mark.parametrize(
    ("name", "frames", "kernel"),
    [("small", 1, "flash_cpu"), ("tuned", 4, "math"), *((name, 4, "flash_cpu") for name in PKS4)],
)
def test_simulated_bytes_equal_a_real_run_to_the_byte(name, frames, kernel):
    t = inputs(name, frames, batch=2)
    fake = t.build("meta")
    with on_fake_device(fake, t.clip("meta")) as clip:
        on_paper = saved_bytes(fake, clip, kernel)
    assert on_paper == saved_bytes(t.build("cpu"), t.clip("cpu"), kernel)


@pytest.mark.contract
@pytest.mark.parametrize("name", PKS4)
def test_parameters_on_meta_are_those_of_the_real_model(name):
    total, trained = (r.value for r in params.measure(inputs(name)))
    real = list(inputs(name).build().parameters())
    assert total == sum(p.numel() for p in real)
    assert trained == sum(p.numel() for p in real if p.requires_grad)


def test_the_record_says_where_the_module_stands_if_there_is_one():
    where = [r.evidence.get("place") for r in params.measure(inputs("small", depth=12))]
    assert where == ["after block 6 of 12"] * 2
    assert all("place" not in r.evidence for r in params.measure(inputs("frame_mean")))


def second_difference(name, measured):
    """Second difference of a number over three equally spaced T."""
    low, middle, high = (measured(inputs(name, frames)) for frames in (4, 8, 12))
    return high - 2 * middle + low


def forward_macs(t):
    """MACs of a forward, on meta."""
    with declared_attention("flash_cpu"):
        return count_on_meta(t.build("meta"), t.clip("meta"), backward=False)


def kept(t):
    """Bytes kept for backward, simulated."""
    model = t.build("meta")
    with on_fake_device(model, t.clip("meta")) as clip:
        return saved_bytes(model, clip, "flash_cpu").by_class.total()


def closed_form(t):
    """MACs of a forward, as the model states them."""
    return sum(t.build("meta").macs().values())


@pytest.mark.contract
@pytest.mark.parametrize("name", PKS4)
def test_pks4_is_exactly_affine_in_frames(name):
    assert second_difference(name, closed_form) == 0
    assert forward_macs(inputs(name, 12)) == closed_form(inputs(name, 12))
    assert second_difference(name, kept) == 0


def test_joint_attention_is_not_affine_in_frames():
    assert second_difference("joint", forward_macs) > 0
    assert second_difference("joint", kept) == 0  # with a fused kernel: linear in bytes


def test_checkpointing_keeps_less_and_computes_at_most_one_more_forward():
    plain, again = (inputs("tuned", 4, checkpoint=c) for c in (False, True))
    assert kept(again) < kept(plain) / 2
    assert forward_macs(again) == forward_macs(plain)
    with declared_attention("flash_cpu"):
        cost, dearer = (
            count_on_meta(t.build("meta"), t.clip("meta"), backward=True) for t in (plain, again)
        )
    assert cost < dearer <= cost + forward_macs(plain)


def test_a_frozen_backbone_keeps_what_is_above_the_module_and_a_tuned_one_all():
    """Each block that the gradient passes keeps as much as the next."""
    places = ("top", 3, 0.75, "middle", 0.25)
    top, last, *lower = (kept(inputs("small", depth=4, insert_after=place)) for place in places)
    above = [bytes_ - last for bytes_ in lower]
    assert top < last
    assert above == [above[0], 2 * above[0], 3 * above[0]]
    assert above[0] > 0
    assert kept(inputs("small", depth=4, frozen=False)) > lower[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "kept_mib", "step_gmac"), [("top", 34.66, 145.5), ("middle", 287.08, 219.6)]
)
def test_what_a_place_costs_at_paper_scale(place, kept_mib, step_gmac):
    """ViT-B/16, 8 frames, one clip under bfloat16 autocast on a GPU, nothing computed."""
    sizes = catalogue.models()["pks4"].facts["SCALES"]["paper"] | {"insert_after": place}
    small = inputs("small", 8)
    t = MeasureInput(small.cell.model_copy(update={"options": sizes, "num_classes": 400}), {})
    kept_bytes = simulated(t, target("cuda-bf16")).by_class.total()
    with declared_attention("flash_cpu"):
        macs_train = count_on_meta(t.build("meta"), t.clip("meta"), backward=True)
    assert kept_bytes / 2**20 == pytest.approx(kept_mib, rel=1e-3)
    assert macs_train / 1e9 == pytest.approx(step_gmac, rel=1e-3)


class Closed(nn.Module):
    """A module with a closed form that a test may get wrong on purpose."""

    def __init__(self, layer, stated):
        super().__init__()
        self.layer, self.stated, self.frames = layer, stated, 1

    def forward(self, video):
        return self.layer(video.flatten(1))

    def macs(self, batch=1):
        return {"backbone": self.stated}


class Planted(MeasureInput):
    """Inputs of a planted model."""

    def build(self, device="cpu", frames=None):
        return self.settings["model"]().to(device)


def planted(model):
    """Inputs whose model is what `model()` gives; its clip has 3*32*32 numbers a frame."""
    settings = {**macs.SETTINGS, "check_frames": 1, "model": model}
    return Planted(inputs("frame_mean", 1).cell, settings)


def test_a_wrong_closed_form_fails_the_measure():
    right, wrong = 3072 * 2, 3072 * 2 + 1
    assert next(iter(macs.measure(planted(lambda: Closed(nn.Linear(3072, 2), right))))).value
    with pytest.raises(macs.Disagreement, match="closed form 6,145"):
        list(macs.measure(planted(lambda: Closed(nn.Linear(3072, 2), wrong))))


def test_a_contraction_written_as_a_product_and_a_sum_fails_the_measure():
    class Hidden(nn.Module):
        def forward(self, x):
            return (x[:, :, None] * x.new_ones(3072, 2)).sum(1)

    with pytest.raises(macs.Disagreement, match="torch on meta 0"):
        list(macs.measure(planted(lambda: Closed(Hidden(), 3072 * 2))))


def test_a_training_step_of_video_mamba_is_what_its_parts_add_up_to():
    t, (n, d, directions, layers) = inputs("video_mamba", 4), (3, 48, 2, 2)
    model, tokens = t.build("meta"), 4 * 4 + 1
    patches = 4 * 4 * 3 * 16 * 16 * 24  # their input needs no gradient
    scan = directions * layers * scan_macs(tokens, d, n)
    scan_back = directions * layers * scan_backward_macs(tokens, d, n)
    forward = sum(model.macs().values())
    expected = 3 * (forward - scan) - patches + scan + scan_back
    assert count_on_meta(model, t.clip("meta"), backward=True) == expected


def test_two_views_of_one_storage_count_once():
    class Views(nn.Module):
        def forward(self, x):
            y = x * 2  # (2, 6): 48 bytes, kept as two views of one storage
            return y[0].sin() + y[1].sin()

    x = torch.randn(2, 6, requires_grad=True)
    assert saved_bytes(Views(), x, "math").by_class.total() == 48


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fake_kernels_give_the_dtype_and_shape_of_the_real_ones(dtype):
    x = torch.randn(2, 3, 4, 8, dtype=dtype)
    A, D = -torch.ones(8, 2, dtype=dtype), torch.ones(8, dtype=dtype)
    scan = (x, x, A, x[..., :2], x[..., 2:4], D, None, True, False, True)
    for op, args in (
        (torch.ops.pks4.scan_recompute, scan),
        (torch.ops.pks4.scan_numba, scan),
        (torch.ops.pks4.local_correlation, (x, x, 1, 1)),
    ):
        real = op(*args)
        fake = op(*(a.to("meta") if isinstance(a, torch.Tensor) else a for a in args))
        pairs = zip(real, fake, strict=True) if isinstance(real, tuple) else [(real, fake)]
        for r, f in pairs:
            assert (r.dtype, r.shape, r.stride()) == (f.dtype, f.shape, f.stride())


UNCOMMITTED = {"scan", "sees"}  # measures of which no run is committed yet


@pytest.mark.slow
def test_a_measure_names_every_metric_and_unit_that_committed_runs_hold_of_it():
    folder = Path(__file__).parents[3] / "results" / "reference"
    held: dict[str, set[tuple[str, str]]] = {}
    for path in run_file.runs(folder):
        for r in run_file.read(path).records:
            if r.status == "ok":
                held.setdefault(r.measure, set()).add((r.metric, r.unit))
    named = {
        m.name: {(metric, unit) for metric, (unit, _) in m.facts["METRICS"].items()}
        for m in catalogue.measures().values()
    }
    assert named.keys() - held.keys() <= UNCOMMITTED
    assert [name for name, metrics in held.items() if metrics - named[name]] == []
