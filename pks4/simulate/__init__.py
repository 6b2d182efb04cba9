"""A training step without computing it: bytes, MACs and code paths on fake tensors."""
