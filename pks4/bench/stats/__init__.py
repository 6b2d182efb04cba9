"""Numbers in, numbers out: intervals, paired differences, paired times, growth."""
