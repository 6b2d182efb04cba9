"""Tests of pks4/simulate/."""
