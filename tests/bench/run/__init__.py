"""Tests of pks4/bench/run/."""
