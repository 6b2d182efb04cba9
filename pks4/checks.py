"""Checks of numbers that a builder takes: each raises one ValueError that names the argument."""

# (whole, part): the part must divide the whole
DIVIDED = (("image_size", "patch_size"), ("width", "heads"), ("frames", "tubelet"))


def one_of(name: str, value: object, allowed: tuple) -> None:
    """Raise ValueError unless the value is allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")


def at_least_one(**numbers: int) -> None:
    """Raise ValueError unless every number is whole and 1 or more."""
    for name, value in numbers.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more, got {value!r}")


def check_sizes(**sizes: int | tuple[int, int]) -> None:
    """Raise ValueError unless sizes are whole, 1 or more, and divide as `DIVIDED` says.

    image_size may be one side or (h, w).
    """
    parts = {k: v if isinstance(v, tuple | list) else (v,) for k, v in sizes.items()}
    for name, numbers in parts.items():
        for number in numbers:
            at_least_one(**{name: number})
    for whole, part in DIVIDED:
        if part in sizes and any(number % sizes[part] for number in parts.get(whole, ())):
            raise ValueError(f"{whole} {sizes[whole]} is not a multiple of {part} {sizes[part]}")
