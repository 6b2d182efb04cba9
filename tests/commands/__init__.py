"""Tests of pks4/commands/."""
