"""`pks4-bench claims`: claims judged by the records of runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pks4.commands.parts.terminal import (
    JSON_OR_MARKDOWN,
    AsJson,
    Runs,
    print_table,
    read_runs,
    say,
)
from pks4.errors import UserError


def claims(
    runs: Runs,
    file: Annotated[
        Path | None, typer.Option("--claims", help="Claims of your own; default: the paper's.")
    ] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Judge claims by records: supported, contradicted, inconclusive, not testable here.

    No verdict without evidence: what is missing is named, with the command that measures it. The
    exit code is 0 whatever the verdicts.
    """
    from pks4.bench.claims import printing
    from pks4.bench.claims.claims import read_claims
    from pks4.bench.claims.judge import judge
    from pks4.bench.contestants import catalogue

    if as_json and as_markdown:
        raise UserError(JSON_OR_MARKDOWN)
    stated = read_claims(file or catalogue.claims())
    read = read_runs(runs)
    judged = [judge(claim, read) for claim in stated.claims]
    if as_json:
        print(json.dumps(printing.document(judged), indent=1))
        return
    if as_markdown:
        say(printing.markdown(judged).removesuffix("\n"))
        return
    say(f"{stated.title} ({stated.source})\n")
    print_table(printing.COLUMNS[:-1], [row[:-1] for row in printing.rows(judged)])
    say("", *printing.remarks(judged, evidence=True))
