"""On paper: MACs, GPU hours, storage, decoding, and what fits in a memory."""
