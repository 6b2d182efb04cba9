"""The worker at a path that every revision has: `compare --worktree` starts it in another one.

A revision from before the rooms knows `python -m pks4.bench.worker` alone, so the command stays the
same for all. The code is in `run/worker.py`.
"""

from pks4.bench.run.worker import main

if __name__ == "__main__":
    main()
