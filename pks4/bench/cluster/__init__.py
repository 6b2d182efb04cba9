"""From cells to records as jobs: each cell a task of an executor.

cell_task.py   what a job runs
executors.py   Slurm, or processes of this machine
dispatch.py    submit cells, and follow them
status.py      the state of each cell
"""
