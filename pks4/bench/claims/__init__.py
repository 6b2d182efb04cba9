"""Claims as data, and their verdicts from records."""
