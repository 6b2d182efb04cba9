"""Tests of pks4/bench/report/tables/."""
