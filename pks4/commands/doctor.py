"""`pks4-bench doctor`: what is installed and works on this machine.

Every finding is in one of three states: "ok"; "absent" for a missing optional part, such as a GPU
or a reader, with the reason; "wrong" for a part that is there and gives wrong results. Exit code 1
if any finding is wrong, else 0. `pks4.bench.doctor` makes the findings.
"""

import json
import sys

from rich.text import Text

from pks4.commands.parts.terminal import AsJson, note, print_table


def doctor(as_json: AsJson = False) -> None:
    """Report what works: versions, backends, kernels, readers, and whether the counters agree."""
    from pks4.bench.doctor import examine

    with note.status("examining"):
        findings = examine()
    if as_json:
        print(json.dumps([vars(f) for f in findings], indent=1))
    else:
        colours = {"ok": "green", "absent": "yellow", "wrong": "red"}
        rows = [(f.what, Text(f.state, colours[f.state]), f.text) for f in findings]
        print_table(("what", "state", "finding"), rows)
    sys.exit(1 if any(f.state == "wrong" for f in findings) else 0)
