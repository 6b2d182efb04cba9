"""`pks4-bench doctor`: checks of this installation.

    ok       it is here and works
    absent   something optional is not installed, or does not run on this device; no fault
    wrong    it is here and gives a wrong result; the exit code is then 1, else 0

`pks4.bench.doctor` does the checks.
"""

import json
import sys

from rich.text import Text

from pks4.commands.parts.terminal import AsJson, note, print_table

COLOURS = {"ok": "green", "absent": "yellow", "wrong": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Say what is here and works: versions, backends, kernels, readers, the counters' agreement."""
    from pks4.bench.doctor import examine

    with note.status("examining"):
        findings = examine()
    if as_json:
        print(json.dumps([vars(f) for f in findings], indent=1))
    else:
        rows = [(f.what, Text(f.state, COLOURS[f.state]), f.text) for f in findings]
        print_table(("what", "state", "finding"), rows)
    sys.exit(1 if any(f.state == "wrong" for f in findings) else 0)
