"""PKS4 itself.

options      every choice that the abstract leaves open, with our default and its source
correlation  local correlation of two feature maps, an operator that keeps only its inputs
prior        Kinematic Prior Encoder: displacement and motion boundary of each site
module       the plug-in module: priors modulate delta, B and C of one scanner per site
video        backbone + module + head: PKS4 as a contestant, and `plug_in` for any timm model
"""
