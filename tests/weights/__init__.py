"""Tests of pks4/weights/."""
