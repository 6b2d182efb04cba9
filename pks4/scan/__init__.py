"""The selective scan over time: two entry points with the same backends.

`scan_sites` takes the layout of a per-frame backbone, one scanner per site, without transposing;
`selective_scan` takes mamba-ssm's layout and arguments. The backends, chosen by name:

    reference   a plain loop in plain autograd, the oracle
    recompute   eager PyTorch, keeps only its inputs; any dtype, any device
    numba       compiled for the CPU, keeps only its inputs; float32 and bfloat16
    mamba_ssm   the CUDA kernel of the extra `cuda`
    triton      CUDA, opt-in, never measured

`resolve` says which backend "auto" means. A named backend that cannot run raises an error; the scan
never substitutes another one.

    api            the two entry points: they check arguments and pick a backend
    backends       what each backend takes, and the meaning of "auto"
    custom_op      how a backend becomes a PyTorch operator with a backward
    reference, recompute, mamba_ssm     one backend a file
    numba_scan, numba_kernels, numba_vectors    tensors and threads, the kernels, their vectors
    triton_scan, triton_kernels         tensors and launches, the kernels
    recurrence     the linear recurrence of the RG-LRU: no expansion, no B, no C
"""

from pks4.scan.api import OPERATORS, scan_sites, selective_scan
from pks4.scan.backends import BACKENDS, resolve
from pks4.scan.reference import inverse_softplus

__all__ = ["BACKENDS", "OPERATORS", "inverse_softplus", "resolve", "scan_sites", "selective_scan"]
