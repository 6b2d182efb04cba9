"""Wall-clock of the selective scan alone, paired with this machine's roofline or another scan.

The scan has the shape and the backend of the contestant's first one, and random inputs. Two
operations: `scan_forward` without gradients, and `scan_train`, a forward with its backward. Samples
are taken as for `time`. The key `reference` names the baseline:

* "roofline", the least time on this machine (`bench/measure/parts/scan_roofline.py`)
* "materialised", the algorithm of others without CUDA (`bench/measure/parts/scan_times.py`)
* a scan backend

On a CPU the heap is warm: glibc's allocator keeps freed memory, since new pages can cost more time
than the scan, which would favour who needs little memory.
"""

from collections.abc import Iterator
from typing import Any

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.measure.parts.paired_sessions import paired
from pks4.bench.records.record import Reading
from pks4.errors import UserError

ALONE = True
RUNS = True  # computes on this machine
METRICS = {  # name -> unit, direction
    "scan_forward_seconds": ("s", "less is better"),
    "scan_forward_ratio": ("1", "less is better; 1: as the reference"),
    "scan_train_seconds": ("s", "less is better"),
    "scan_train_ratio": ("1", "less is better; 1: as the reference"),
}
SETTINGS = {
    "reference": "roofline",
    "processes": 3,
    "rounds": 7,
    "sample_ms": 20,
    "warm_ups": 1,
    "device": "cpu",
    "dtype": "float32",
}
ABOUT = {
    "reference": "roofline, materialised, or a scan backend",
    "processes": "fresh processes, one after another",
    "rounds": "rounds of samples in each process",
    "sample_ms": "milliseconds of one sample",
    "warm_ups": "first calls that are left out",
    "device": "cpu or cuda",
    "dtype": "of u, delta, B and C",
}
WARM_HEAP = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Time both operations of the contestant's scan against the baseline.

    Raises UserError for a contestant without a scan, and for a device that is not there.
    """
    from pks4.simulate.targets import target_of

    settings = inputs.settings
    target_of({**settings, "kernel": ""})  # refuses a device or a dtype
    shape, backend = _first_scan(inputs)
    yield from paired(
        "pks4.bench.measure.parts.scan_times",
        inputs,
        {"shape": shape, "backend": backend},
        {"rule": "scan/v1", "dtype": settings["dtype"]},
        WARM_HEAP,
        shape=shape,
    )


def _first_scan(inputs: MeasureInput) -> tuple[dict[str, int], str]:
    """The sizes of the contestant's first scan, seen on meta tensors, and its backend."""
    from pks4.simulate.operators import Observer
    from pks4.simulate.what_ran import SCAN, scan_backend

    class FirstScan(Observer):
        shape: dict[str, int] | None = None

        def observe(self, func: Any, args: tuple, out: Any) -> None:
            if not self.shape and func.overloadpacket._qualified_op_name.startswith(SCAN):
                self.shape = dict(zip("btsdn", (*args[0].shape, args[2].shape[1]), strict=True))

    model = inputs.build("meta")
    backend = scan_backend(model, inputs.settings["device"])
    for layer in model.modules():
        if hasattr(layer, "scan_backend"):
            layer.scan_backend = "recompute"  # an operator, and on any device
    with FirstScan() as scan:
        model(inputs.clip("meta"))
    if backend is None or scan.shape is None:
        raise UserError(f"model {inputs.cell.model!r} has no scan to time; take one that has")
    return scan.shape, backend
