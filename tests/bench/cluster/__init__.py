"""Tests of pks4/bench/cluster/."""
