"""One measure a file: its first docstring line is its summary, `measure(inputs)` its entry.

A measure file may state, as literals that are read without importing it: `SETTINGS` (its settings
with their defaults; a suite may change these and no others) and `ALONE = True` (its cells run with
nothing beside them).
"""
