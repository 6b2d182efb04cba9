"""The code and the machine behind a number."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pks4 import __version__
from pks4.bench.contestants import catalogue
from pks4.bench.records.record import Provenance

PACKAGES = (
    "torch", "torchvision", "timm", "transformers", "fvcore", "numpy", "pandas", "matplotlib",
    "accelerate", "av", "decord", "scikit-learn", "scipy", "numba", "llvmlite", "mamba-ssm",
)  # fmt: skip

CODE = ("pks4", "baselines", "suites", "pyproject.toml")  # what a number depends on


def versions() -> dict[str, str]:
    """Versions of Python, this package and the packages that a number can depend on."""
    found = {"python": platform.python_version(), "pks4-bench": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> tuple[str | None, bool | None]:
    """The checkout's commit, and whether any file that a number depends on differs from it.

    None, None outside a checkout of this project.
    """
    if not catalogue.is_checkout():
        return None, None
    head, top = _git("rev-parse", "HEAD"), _git("rev-parse", "--show-toplevel")
    if head is None or top is None or Path(top).resolve() != catalogue.root().resolve():
        return None, None
    return head, bool(_git("status", "--porcelain", "--", *CODE))


def provenance() -> Provenance:
    """The code and machine as records state them."""
    head, dirty = commit()
    return Provenance(versions=versions(), commit=head, dirty=dirty, environment=_machine())


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine() -> dict[str, str | int | None]:
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "memory_bytes": _memory_bytes(),
        "os": f"{platform.system()} {platform.machine()}",
        **_job(),
    }


def _job() -> dict[str, str | int]:
    """The executor, job and node of a submitted task (`cluster/cell_task.py`); else nothing."""
    executor, known = os.environ.get("SUBMITIT_EXECUTOR"), os.environ
    if executor == "local":
        return {
            "executor": executor,
            "job": known["SUBMITIT_LOCAL_JOB_ID"],
            "node": platform.node(),
        }
    if executor != "slurm":
        return {}
    array = known.get("SLURM_ARRAY_JOB_ID")
    return {
        "executor": executor,
        "job": f"{array}_{known['SLURM_ARRAY_TASK_ID']}" if array else known["SLURM_JOB_ID"],
        "node": known.get("SLURMD_NODENAME", platform.node()),
        "restarts": int(known.get("SLURM_RESTART_COUNT", 0)),
    }


def cpu_name() -> str:
    """The processor's name as its maker writes it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [
        line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def _memory_bytes() -> int | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *args],
            cwd=catalogue.root(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
