"""Tests of pks4/bench/plan/."""
