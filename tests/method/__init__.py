"""Tests of pks4/method/."""
