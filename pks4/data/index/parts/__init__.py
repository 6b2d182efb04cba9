"""Helpers of the index formats: text files, listings, building a manifest."""
