"""Helpers of the measures; each file one level up is one measure."""
