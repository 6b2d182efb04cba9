"""Fixtures of the rivals' tests."""

import pytest

from baselines import frame_mean
from tests.factories.golden import shaken, sine


@pytest.fixture(scope="module")
def video():
    """The golden clip, (b, t, 3, h, w); it was written down as (b, 3, t, h, w)."""
    return sine((2, 3, 4, 32, 32), 0.37).transpose(1, 2)


@pytest.fixture(scope="module")
def image_model():
    """The ViT of the image twin, and the twin's state dict."""
    twin = shaken(frame_mean)
    return twin.backbone.net, twin.state_dict()
