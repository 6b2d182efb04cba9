"""The provenance at a path that every revision has: `compare --worktree` asks another one for it.

The code is in `records/environment.py`.
"""

from pks4.bench.records.environment import provenance

__all__ = ["provenance"]
