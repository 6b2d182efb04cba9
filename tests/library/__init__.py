"""Tests of pks4/library/."""
