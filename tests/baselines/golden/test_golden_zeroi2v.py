"""ZeroI2V costs nothing once its adapters are merged, and merging changes no output."""

import copy

import pytest
import torch

from baselines import frame_mean, zeroi2v
from tests.factories.adapters import clip, shake, small
from tests.factories.golden import (
    GIGA,
    n_params,
    on_meta,
)

pytestmark = pytest.mark.contract


def test_parameters_of_zeroi2v_without_head_before_and_after_merging():
    tuned, merged = (on_meta(zeroi2v, 8, merged=m) for m in (False, True))
    head = 768 * 400 + 400
    assert n_params(tuned) - head == 100_007_424
    assert n_params(tuned, trainable=True) - head == 14_209_536
    assert n_params(merged) - head == 85_805_568


def test_merged_zeroi2v_costs_what_the_plain_vit_costs_on_each_frame():
    merged, tuned = (on_meta(zeroi2v, 8, merged=m).macs() for m in (True, False))
    assert merged == {**on_meta(frame_mean, 8).macs(), "temporal": 0}
    assert merged["backbone"] / GIGA == pytest.approx(140.7, rel=2e-3)  # published, norms counted
    assert tuned["temporal"] == 48 * 8 * 197 * 2 * 768 * 192


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize(
    "options", [{}, {"adapters_per_block": 3}, {"clip": False, "scale": 1.0, "shift_reach": 2}]
)
def test_merging_changes_no_output(options, dtype, atol):
    model, video = shake(small(zeroi2v, **options).to(dtype)), clip().to(dtype)
    before = copy.deepcopy(model.state_dict())
    merged = zeroi2v.merge(model)
    torch.testing.assert_close(merged(video), model(video), atol=atol, rtol=atol)
    assert not any(isinstance(layer, zeroi2v.LinearAdapter) for layer in merged.modules())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    plain = small(zeroi2v, **options, merged=True).to(dtype).eval()
    plain.load_state_dict(merged.state_dict())
    assert torch.equal(plain(video), merged(video))


def test_merging_folds_in_dropout_as_it_is_in_eval_mode():
    model = shake(small(zeroi2v, adapter_dropout=0.5))
    torch.testing.assert_close(zeroi2v.merge(model)(clip()), model(clip()), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.train()(clip()), model.eval()(clip()))


def test_the_shift_takes_channels_from_neighbours_and_ends_keep_their_own():
    times = torch.arange(4.0)[None, :, None].expand(1, 4, 6)  # value = frame
    shifted = zeroi2v.shift(times, fold=1, reach=2)[0]
    rows = [[0, 1, 0, 2, 0, 0], [0, 2, 1, 3, 1, 1], [1, 3, 0, 2, 2, 2], [2, 3, 1, 3, 3, 3]]
    assert shifted.tolist() == rows  # from t-1, t+1, t-2, t+2, own, own
    one_frame = torch.randn(2, 1, 6)
    assert torch.equal(zeroi2v.shift(one_frame, fold=1, reach=2), one_frame)
