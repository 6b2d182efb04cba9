"""The instrument, its rooms in the order of the flow: suite, plan, run, worker, measure, record,
store, and what reads them: tables, figures, report."""
