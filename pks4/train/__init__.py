"""Training: one engine and one recipe for all contestants.

recipe             all settings that determine the weights
augment            augmentation and mixing, reproducible by (seed, epoch, index)
batches            sources of clips, and the batches of each step and process
optimizer          the optimiser of a recipe: groups by weight decay and by depth
engine             `fit`: the training loop, on accelerate
features           the features of a frozen part, computed clip by clip
feature_files      stored features: checked, mapped into memory, bounded in all
sharding           the same loop with FSDP2 shards
checkpoint         one file, replaced after each epoch
predict            class scores of a split
score              top-1 and others, with Wilson intervals
image_pretraining  image models that contestants start from, trained on still digits
"""
