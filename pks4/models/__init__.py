"""Parts that PKS4 and the rivals in baselines/ share.

backbone              the per-frame 2D backbone that every contestant starts from
slot                  a video model with a slot for any module along time, where PKS4 stands
timm_blocks           a timm backbone as a list of stages, so a module can sit between two
attention             fused attention or eager attention, by name
training_options      `checkpoint`, `trained_blocks`, `trained`: options of every contestant
probe                 what probes share: a frozen image model whose features something reads
tubelet_vit           VideoMAE's ViT: tubelets of a clip as tokens, without a head
frozen_vit            a ViT inside a rival: embedding, freezing, patch kernels over time
resnet                a ResNet on every frame
correlation           local correlation of two maps, an operator that keeps only its inputs
temporal_shift        some channels from neighbouring frames
bidirectional_mamba   the two-way Mamba mixer, and VideoMamba around it
transformers_video    video classifiers of the library transformers
"""
