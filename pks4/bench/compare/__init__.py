"""What changed between two runs or two revisions, and over the history of runs."""
