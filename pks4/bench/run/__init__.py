"""From cells to records: a worker process for each cell, its events appended to the run's file.

run.py            start or resume a run, and execute it
build_check.py    whether the models can be built, asked of a child
worker_pool.py    the parent's side of the workers
worker.py         the child: measures of one cell
memory_limit.py   what a worker may take
"""
