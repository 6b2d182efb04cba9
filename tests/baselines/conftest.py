"""Fixtures of the rivals' tests."""

import pytest

from tests.factories.golden import sine


@pytest.fixture(scope="module")
def video():
    """The golden clip, (b, t, 3, h, w); it was written down as (b, 3, t, h, w)."""
    return sine((2, 3, 4, 32, 32), 0.37).transpose(1, 2)
