"""Tests of pks4/data/kinetic_digits/."""
