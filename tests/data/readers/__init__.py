"""Tests of pks4/data/readers/."""
