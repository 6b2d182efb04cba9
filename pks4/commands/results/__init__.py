"""Commands that read runs: report, compare, claims, history and others."""
