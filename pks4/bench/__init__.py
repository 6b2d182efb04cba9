"""The instrument. Its rooms, in the order of the flow of a number:

    contestants   models, measures and suites: found by their files, built, described
    plan          a suite file -> cells
    process       child processes: start, listen, lock, end
    measure       one file is one measure
    run, cluster  cells -> records, on this machine or as jobs
    records       what a record is, where runs lie; merge, accept, explain
    stats         intervals, paired differences, growth: numbers in, numbers out
    view          records as a report asks for them
    claims        claims and their verdicts
    compare       two runs, two revisions, the history of a number
    budget        costs on paper, and what fits in a memory
    report        tables, figures, findings, the page

Under them: `units` (numbers for people) and `table` (one table, every format).

`worker.py` and `environment.py` are doors for other revisions, see `compare/worktree.py`.
"""
