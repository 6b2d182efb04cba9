"""Rivals equal the authors' code: outputs, parameter counts and published MACs.

The expected outputs come from runs of the official code (float32, CPU, eval mode) on a tiny model
whose every weight is a sine of its place, shifted by a checksum of its official name. Counts and
MACs are those of the official models at paper scale, 224 pixels.
"""

import pytest
import torch

from baselines import st_adapter, timesformer, video_mamba
from pks4.macs import scan_flops, scan_macs
from tests.factories.golden import (
    GIGA,
    MAMBA_SIZES,
    TINY,
    TINY_VIT,
    assert_golden,
    fill,
    golden,
    n_params,
    on_meta,
    sine,
)

pytestmark = pytest.mark.contract


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_timesformer_divided(video, attention):
    model = fill(timesformer.build(**TINY_VIT, attention=attention))
    first = [0.91278, -0.78955, 0.50553, -0.60164, 0.95441]
    assert_golden(model(video), (2, 5), first, 1.9623, 7.5240)


@torch.no_grad()
def test_st_adapter_with_adapters_before_the_mlp(video):
    model = fill(st_adapter.build(**TINY_VIT, adapter_width=8))
    first = [2.00122, -1.99542, 1.61362, -1.40387, 1.60952]
    assert_golden(model(video), (2, 5), first, 3.6475, 17.2342)


@torch.no_grad()
@pytest.mark.parametrize("backend", ["reference", "recompute"])
def test_mamba_mixer(backend):
    mixer = video_mamba.Mixer(16, scan_backend=backend)
    mixer.load_state_dict(golden(mixer.state_dict()))
    first = [-2.03474, 2.43046, -0.6205, -1.75257, 2.53516]
    out = 100 * mixer(5 * sine((2, 7, 16), 0.37))
    assert_golden(out, (2, 7, 16), first, -16.3619, 1255.1248)


@torch.no_grad()
def test_video_mamba(video):
    model = fill(video_mamba.build(**TINY, width=32, depth=3))
    first = [0.71051, 0.74624, -1.60225, 0.82149, 0.82835]
    assert_golden(model(video), (2, 5), first, 2.8657, 8.9567)


@pytest.mark.parametrize(
    ("module", "frames", "options", "total", "trainable"),
    [
        (timesformer, 8, {}, 121_566_352, 121_566_352),
        (timesformer, 8, {"attention_type": "joint"}, 86_112_400, 86_112_400),
        (st_adapter, 8, {}, 93_217_168, 7_417_744),
        (st_adapter, 8, {"num_classes": 174, "adapters_per_block": 2}, 100_153_518, 14_354_094),
        (video_mamba, 8, MAMBA_SIZES["Ti"], 7_033_744, 7_033_744),
        (video_mamba, 8, MAMBA_SIZES["S"], 25_568_656, 25_568_656),
        (video_mamba, 8, {}, 73_875_856, 73_875_856),
        (video_mamba, 16, MAMBA_SIZES["Ti"], 7_035_280, 7_035_280),
        (video_mamba, 16, MAMBA_SIZES["S"], 25_571_728, 25_571_728),
        (video_mamba, 16, {}, 73_880_464, 73_880_464),
    ],
)
def test_parameters_at_paper_scale_equal_the_official_models(
    module, frames, options, total, trainable
):
    model = on_meta(module, frames, **options)
    assert n_params(model) == total
    assert n_params(model, trainable=True) == trainable


@pytest.mark.parametrize(
    ("module", "options", "frames", "giga_macs"),
    [
        *((timesformer, {}, t, g) for t, g in ((8, 195.8), (16, 392.1), (64, 1579.2))),
        (st_adapter, {}, 8, 151.6),
        (st_adapter, {}, 16, 303.2),
        (st_adapter, {"num_classes": 174, "adapters_per_block": 2}, 8, 162.7),
        (st_adapter, {"num_classes": 174, "adapters_per_block": 2}, 32, 651.0),
    ],
)
def test_macs_at_paper_scale_equal_the_formulas_of_the_papers(module, options, frames, giga_macs):
    macs = on_meta(module, frames, **options).macs()
    assert sum(macs.values()) / GIGA == pytest.approx(giga_macs, rel=1e-3)


def test_the_backbone_stage_is_the_frozen_vit_on_each_frame():
    assert on_meta(st_adapter, 8).macs()["backbone"] / 8 / GIGA == pytest.approx(17.563, abs=5e-4)


def test_joint_attention_on_one_frame_costs_nothing_for_time():
    assert on_meta(timesformer, 1, attention_type="joint").macs()["temporal"] == 0
    total = sum(on_meta(timesformer, 8, attention_type="joint").macs().values())
    assert total / GIGA == pytest.approx(179.4, rel=1e-3)


@pytest.mark.parametrize(
    ("size", "published", "with_linears", "with_scan"),
    [("Ti", 8.6, 10.3, 14.6), ("S", 33.9, 38.7, 47.2), ("M", 100.8, 113.3, 130.2)],
)
def test_video_mamba_macs_as_published_and_with_what_was_left_out(
    size, published, with_linears, with_scan
):
    tokens, width, depth = 1 + 196 * 8, MAMBA_SIZES[size]["width"], MAMBA_SIZES[size]["depth"]
    macs = on_meta(video_mamba, 8, width=width, depth=depth).macs()
    norms = 5 * tokens * width * (depth + 1)  # the published tool counts them, macs/v1 does not
    scan = (tokens * 2 * depth, 2 * width, 16)
    linears = sum(macs.values()) - scan_macs(*scan) + norms
    assert (macs["backbone"] + norms) / GIGA == pytest.approx(published, abs=0.06)
    assert linears / GIGA == pytest.approx(with_linears, abs=0.06)
    assert (linears + scan_flops(*scan)) / GIGA == pytest.approx(with_scan, abs=0.06)
