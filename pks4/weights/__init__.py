"""Weights from local files; nothing is downloaded.

files       read a checkpoint and load it, all or none; the error lists what does not fit
official    export and load under the names of the authors' code
split_qkv   queries, keys and values as three layers or as one
clip_names  OpenAI's names of CLIP's image tower
imagenet    ImageNet weights from a Python package
"""
