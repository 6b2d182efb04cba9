"""Training: one recipe for all contestants, image pre-training of their backbones, scores."""
