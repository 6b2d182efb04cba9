"""What a record is, where runs lie, and what is done to whole runs: merge, accept, explain."""
