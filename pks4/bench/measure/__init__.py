"""One measure a file: its first docstring line is its summary, `measure(inputs)` its entry.

A measure file may state, as literals that are read without importing it: `SETTINGS` (its settings
with their defaults; a suite may change these and no others), `ABOUT` (what each setting means),
`METRICS` (each number that it may yield -> its unit, and which direction is better), `RUNS = True`
(it computes on this machine) and `ALONE = True` (nothing else may run at the same time as its
cells).
"""
