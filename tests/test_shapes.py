"""The shapes in annotations are true: jaxtyping checks them, in a process of its own."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HOOK = """
from jaxtyping import install_import_hook

ROOMS = [
    "pks4.scan.api", "pks4.models.correlation", "pks4.method.prior", "pks4.method.module",
    "pks4.method.video", "pks4.models.slot",
]  # fmt: skip
install_import_hook(ROOMS, "beartype.beartype")
import torch


def must_fail(wrong):
    try:
        wrong()
    except Exception as error:  # jaxtyping's own, not a ValueError of the code
        print(type(error).__name__)
"""
DOORS = """
from pks4.scan import scan_sites, selective_scan

u, A, B = torch.randn(2, 3, 4, 5), -torch.rand(5, 6), torch.randn(2, 3, 4, 6)
scan_sites(u, u, A, B, B, torch.ones(5), backend="recompute")
scan_sites(u, u, A, B, B, return_last_state=True, reverse=True, backend="recompute")
x, b = torch.randn(2, 5, 7), torch.randn(2, 6, 7)
selective_scan(x, x, A, b, b, z=x, backend="recompute")
selective_scan(x, x, A, b[:, None], b[:, None], return_last_state=True, backend="recompute")
must_fail(lambda: scan_sites(u, u, A, B[..., :2], B, backend="recompute"))
"""
MODULE = """
from pks4 import PKS4
from pks4.models.correlation import local_correlation, local_correlation_reference

x = torch.randn(2, 3, 4, 5, 16)
for options in (
    {},
    {"readout": "squeeze", "smooth": False, "reference_frame": "next"},
    {"direction": "bidirectional", "difference": False},
    {"direction": "halves", "correlation": False},
    {"modulate": [], "checkpoint": True},
):
    PKS4(16, scan_backend="recompute", **options)(x)
module = PKS4(16, scan_backend="recompute").eval()
state = module.initial_state(2, 4, 5)
for frame in x.unbind(1):
    _, state = module.step(frame, state)
module.prior.displacement(x), module.prior.boundary(x)
assert torch.allclose(
    local_correlation(x[:, 0], x[:, 1], 1, 2), local_correlation_reference(x[:, 0], x[:, 1], 1, 2),
    atol=1e-5,
)
must_fail(lambda: module.prior(x[0]))
"""
VIDEO = """
from pks4 import plug_in

model = plug_in("test_vit", 7, image_size=32, insert_after=1, scan_backend="recompute").eval()
video = torch.randn(2, 3, 3, 32, 32)
model(video)
model.step(video[:, 0], model.initial_state(2))
must_fail(lambda: model.step(video, model.initial_state(2)))
"""


def test_annotated_shapes_hold_and_the_check_can_fail():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HOOK + DOORS + MODULE + VIDEO],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["TypeCheckError"] * 3
