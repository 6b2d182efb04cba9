"""PKS4 itself: the module, its priors, and the module on a backbone as a contestant."""
