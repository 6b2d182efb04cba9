"""The selective scan over time: two doors, and backends that are picked by name.

`scan_sites` takes the layout that a per-frame backbone hands over, one scanner per site, so that
nothing is transposed; `selective_scan` takes mamba-ssm's layout and arguments. Behind both stand
the same backends:

    reference   a plain loop in plain autograd, the oracle
    recompute   eager PyTorch, keeps only its inputs; any dtype, any device
    numba       compiled for the CPU, keeps only its inputs; float32 and bfloat16
    mamba_ssm   the CUDA kernel of the extra `cuda`
    triton      CUDA, opt-in, never measured

`resolve` says what "auto" takes. A backend that is named and cannot run raises; nothing is ever
substituted.
"""

from pks4.scan.api import OPERATORS, scan_sites, selective_scan
from pks4.scan.backends import BACKENDS, resolve
from pks4.scan.reference import inverse_softplus

__all__ = ["BACKENDS", "OPERATORS", "inverse_softplus", "resolve", "scan_sites", "selective_scan"]
