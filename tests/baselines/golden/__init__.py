"""Contestants against their authors' code: golden vectors, counts, costs."""
