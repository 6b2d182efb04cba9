"""The scan against its memory-bandwidth floor and the other backends."""
