"""Tests of pks4/bench/claims/."""
