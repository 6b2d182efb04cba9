"""Tests of pks4/bench/stats/."""
