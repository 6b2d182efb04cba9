"""The command line's own room: one file for each group of commands, and what they share.

`pks4.cli` puts them together; nothing else has typer or rich.
"""
