"""Tests of pks4/train/."""
