"""Tests of pks4/scan/."""
