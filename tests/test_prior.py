"""The Kinematic Prior Encoder: what it sees in clips whose motion is known."""

import pytest
import torch

from pks4.correlation import local_correlation, local_correlation_reference, on_grid
from pks4.prior import KinematicPriorEncoder


def features(b=1, t=3, h=6, w=5, d=16, seed=0, dtype=torch.float32):
    """Random features (b, t, h, w, d)."""
    return torch.randn(b, t, h, w, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("radius", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 1)])
def test_local_correlation_equals_all_windows_at_once(radius, dilation):
    a, b = (features(seed=s, dtype=torch.float64)[0].requires_grad_() for s in (0, 1))
    mine = local_correlation(a, b, radius, dilation)
    reference = local_correlation_reference(a, b, radius, dilation)
    torch.testing.assert_close(mine, reference)
    g = torch.linspace(-1, 1, mine.numel(), dtype=torch.float64).view_as(mine)
    for x, y in zip(
        torch.autograd.grad(mine, (a, b), g), torch.autograd.grad(reference, (a, b), g), strict=True
    ):
        torch.testing.assert_close(x, y)


def test_off_grid_offsets_of_a_corner_are_known():
    grid = on_grid(3, 4, 1)
    assert grid[0, 0].tolist() == [False, False, False, False, True, True, False, True, True]
    assert grid[1, 1].all()


@pytest.mark.parametrize("readout", ["soft_argmax", "squeeze"])
def test_gradcheck_of_the_encoder(readout):
    torch.manual_seed(0)
    encoder = KinematicPriorEncoder(8, 4, radius=1, correlation_channels=3, readout=readout)
    x = features(h=2, w=3, d=8, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(encoder.double(), (x,))


def test_gradients_are_finite_at_the_borders_of_the_grid():
    encoder = KinematicPriorEncoder(16, radius=3)
    encoder(features()).sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_the_first_frame_has_the_prior_zero():
    assert not KinematicPriorEncoder(16)(features())[:, 0].any()


def test_a_still_clip_has_a_zero_difference():
    still = features(t=1).expand(-1, 4, -1, -1, -1)
    assert not KinematicPriorEncoder(16).boundary(still).any()


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (-2, 1), (0, -1)])
def test_a_shift_by_whole_sites_peaks_at_its_offset(shift):
    dy, dx = shift
    torch.manual_seed(0)
    encoder = KinematicPriorEncoder(16, radius=2)
    with torch.no_grad():
        encoder.log_temperature.fill_(6.0)  # sharp
    first = features(t=1, h=9, w=9)
    # what is at (y, x) now was at (y + dy, x + dx) before
    clip = torch.cat([first, torch.roll(first, (-dy, -dx), (2, 3))], 1)
    inside = encoder.displacement(clip)[0, 0, 2:-2, 2:-2]
    expected = torch.tensor([dy / 2, dx / 2]).expand(5, 5, 2)
    torch.testing.assert_close(inside[..., :2], expected, atol=1e-2, rtol=0)
    torch.testing.assert_close(inside[..., 2], torch.ones(5, 5))


def test_off_grid_offsets_never_win():
    encoder = KinematicPriorEncoder(16, radius=1)
    with torch.no_grad():
        encoder.compare.weight.fill_(1.0)
    away = features(t=1, h=1, w=1).abs()
    clip = torch.cat([away, -away], 1)  # the only match on the grid is as bad as can be
    dy, dx, best = encoder.displacement(clip)[0, 0, 0, 0].tolist()
    assert (dy, dx) == (0, 0)
    assert best == pytest.approx(-1)


def test_one_frame_is_enough_and_bad_options_are_named():
    assert KinematicPriorEncoder(16)(features(t=1)).shape == (1, 1, 6, 5, 32)
    with pytest.raises(ValueError, match="correlation or difference"):
        KinematicPriorEncoder(16, correlation=False, difference=False)
    with pytest.raises(ValueError, match="soft_argmax"):
        KinematicPriorEncoder(16, readout="argmax")
