"""Tests of pks4/bench/measure/."""
