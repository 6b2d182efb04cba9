"""Tests of pks4/bench/contestants/."""
