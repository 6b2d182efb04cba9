"""Records as a report asks for them: settings, series, seeds pooled, differences to PKS4."""
