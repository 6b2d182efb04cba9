"""The shapes in annotations are true: jaxtyping checks them, in a process of its own."""

import subprocess
import sys

CODE = """
from jaxtyping import install_import_hook

with install_import_hook("pks4.scan.doors", "beartype.beartype"):
    from pks4.scan import scan_sites, selective_scan
import torch

u, A, B = torch.randn(2, 3, 4, 5), -torch.rand(5, 6), torch.randn(2, 3, 4, 6)
scan_sites(u, u, A, B, B, torch.ones(5), backend="recompute")
scan_sites(u, u, A, B, B, return_last_state=True, reverse=True, backend="recompute")
x, b = torch.randn(2, 5, 7), torch.randn(2, 6, 7)
selective_scan(x, x, A, b, b, z=x, backend="recompute")
selective_scan(x, x, A, b[:, None], b[:, None], return_last_state=True, backend="recompute")
try:
    scan_sites(u, u, A, B[..., :2], B, backend="recompute")
except Exception as error:  # jaxtyping's own, not the door's ValueError
    print(type(error).__name__)
"""


def test_the_doors_of_the_scan_hold_their_shapes_and_the_check_can_fail():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "TypeCheckError"
