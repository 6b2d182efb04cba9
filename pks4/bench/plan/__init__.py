"""From a suite file to cells: contestants x frames x seeds, checked before anything runs.

settings.py      frozen settings, strict tables of TOML, problems in one line
suite.py         a suite as its TOML file says
user_inputs.py   what a suite leaves to its user
recipes.py       training recipes by name, and the variants of a search
plan.py          suite and inputs -> cells
builds.py        whether the models of a plan can be built
cell.py          one cell
shard.py         the part of a plan that one machine runs
"""
