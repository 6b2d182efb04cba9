"""Layers that PKS4's backbone and the rivals share; nothing here knows the method."""
