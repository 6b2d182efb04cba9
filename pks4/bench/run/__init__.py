"""From cells to records: a worker process for each cell, its events appended to the run's file."""
