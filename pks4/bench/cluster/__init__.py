"""The same cells as jobs of Slurm or of local processes."""
