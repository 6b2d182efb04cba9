"""The Kinematic Prior Encoder: what it sees in clips whose motion is known."""

import pytest
import torch

from pks4.method.prior import KinematicPriorEncoder
from pks4.models.correlation import (
    local_correlation,
    local_correlation_backward,
    local_correlation_reference,
    on_grid,
)


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


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_the_correlation_is_a_valid_operator_and_so_is_its_backward():
    a, b = (features(t=2, h=3, w=2, d=4, seed=s)[0].requires_grad_() for s in (0, 1))
    torch.library.opcheck(local_correlation, (a, b, 1, 2))
    a, b = a.detach(), b.detach()
    torch.library.opcheck(local_correlation_backward, (local_correlation(a, b, 1, 2), a, b, 1, 2))


def test_off_grid_offsets_of_a_corner_are_known():
    grid = on_grid(3, 4, 1)
    assert grid[0, 0].tolist() == [False, False, False, False, True, True, False, True, True]
    assert grid[1, 1].all()


@pytest.mark.parametrize("readout", ["soft_argmax", "squeeze"])
@pytest.mark.parametrize("smooth", [True, False])
def test_gradcheck_of_the_encoder(readout, smooth):
    torch.manual_seed(0)
    encoder = KinematicPriorEncoder(
        8, 4, radius=1, correlation_channels=3, readout=readout, smooth=smooth
    )
    x = features(h=2, w=3, d=8, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(encoder.double(), (x,), fast_mode=True)


def test_gradients_are_finite_at_the_borders_of_the_grid():
    encoder = KinematicPriorEncoder(16, radius=3)
    encoder(features()).sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize(("reference_frame", "without"), [("previous", 0), ("next", 2)])
def test_only_the_frame_without_reference_has_the_prior_zero(reference_frame, without):
    priors = KinematicPriorEncoder(16, reference_frame=reference_frame)(features())
    assert [not frame.any() for frame in priors.unbind(1)] == [i == without for i in range(3)]


def test_looking_forward_is_looking_back_on_the_clip_played_backwards():
    back, forward = (KinematicPriorEncoder(16, reference_frame=r) for r in ("previous", "next"))
    forward.load_state_dict(back.state_dict())
    x = features(t=4)
    torch.testing.assert_close(forward(x), back(x.flip(1)).flip(1))


@pytest.mark.parametrize("reference_frame", ["previous", "next"])
@pytest.mark.parametrize("smooth", [True, False])
def test_a_still_clip_has_a_zero_difference(reference_frame, smooth):
    still = features(t=1).expand(-1, 4, -1, -1, -1)
    encoder = KinematicPriorEncoder(16, smooth=smooth, reference_frame=reference_frame)
    assert not encoder.boundary(still).any()


def test_without_smoothing_a_difference_stays_at_its_site():
    moved = features(t=1).repeat(1, 2, 1, 1, 1)
    moved[0, 1, 2, 3] += 1
    for smooth, sites in ((False, 1), (True, 9)):
        difference = KinematicPriorEncoder(16, smooth=smooth).boundary(moved)
        assert difference.any(-1).sum() == sites


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
    with pytest.raises(ValueError, match="previous"):
        KinematicPriorEncoder(16, reference_frame="before")
    with pytest.raises(ValueError, match="radius must be a whole number"):
        KinematicPriorEncoder(16, radius=0)
