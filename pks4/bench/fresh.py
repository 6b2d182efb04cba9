"""A fresh process for one session of a measurement: a job in, lines of JSON out, or an error."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any


def session(
    module: str, job: dict[str, Any], environment: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """What `python -m module` says about a job, as it comes; `pks4.bench.child` is its other end.

    Raises RuntimeError with the last line of its standard error if it fails.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            yield json.loads(line)
        code = process.wait()
        if code:
            errors.seek(0)
            told = [line.strip() for line in errors if line.strip()]
            reason = told[-1] if told else f"exit code {code}"
            raise RuntimeError(f"a process of the session failed: {reason}")
