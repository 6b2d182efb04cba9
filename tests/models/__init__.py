"""Tests of pks4/models/."""
