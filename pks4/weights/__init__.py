"""Weights from files: checkpoints, the authors' names of parameters, packaged ImageNet weights."""
