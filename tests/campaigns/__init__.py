"""Programs that damage, measure or simulate at length; none of them is a test."""
