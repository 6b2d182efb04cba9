"""The embedded data set, rendered here: digits that move over photographs."""
