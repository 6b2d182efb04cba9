"""Tests of pks4/bench/records/."""
