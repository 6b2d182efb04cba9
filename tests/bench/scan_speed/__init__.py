"""Tests of pks4/bench/scan_speed/."""
