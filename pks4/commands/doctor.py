"""`pks4-bench doctor`: what is here and works."""

import json
import sys

from rich.text import Text

from pks4.commands.parts.terminal import AsJson, note, print_table


def doctor(as_json: AsJson = False) -> None:
    """Say what is here and works: versions, backends, kernels, readers, the counters' agreement."""
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
