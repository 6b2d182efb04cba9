"""Faults of disks: one that is full, and one that cannot be written. Root on Linux alone."""

import random

from tests.campaigns.fault_bench import (
    Bench,
    check_whole,
    complete_lines,
    content,
    small_disk,
    wait_until,
)

FULL = "cannot be written: No space left on device"


def disk_full(bench: Bench, chance: random.Random) -> int:
    """No space at some point: one line; no better on a second try; whole when there is room."""
    suite, folder, size = bench.suite(), bench.new_folder(), chance.randrange(0, 24, 4)
    wanted = bench.undisturbed(suite)
    with small_disk(folder, max(size, 4)) as again:
        if not size:
            (folder / "other").write_bytes(bytes(4096))
        bench.run(suite, folder).refused(FULL)
        before = content(folder)
        begun = bool(before)  # otherwise there was no room for the first line
        bench.run(suite, folder, "--resume").refused(FULL if begun else "no run of 'tiny'")
        assert content(folder).startswith(before)
        again("size=4096k")
        done = bench.run(suite, folder, *(["--resume"] if begun else []))
        assert done.code == 0, done.err
        check_whole(folder, before, wanted)
    return 1


def read_only(bench: Bench, chance: random.Random) -> int:
    """A folder that cannot be written: one line, nothing changed, whole when it can be."""
    suite, folder = bench.suite(), bench.new_folder()
    wanted = bench.undisturbed(suite)
    with small_disk(folder, 4096) as again:
        again("ro")
        bench.run(suite, folder).refused("cannot be written: Read-only file system")
        again("rw")
        process = bench.begin(suite, folder)
        wait_until(process, lambda: complete_lines(content(folder)) > chance.randint(1, 6))
        process.kill()
        bench.ended(process)
        before = content(folder)
        again("ro")
        bench.run(suite, folder, "--resume").refused("cannot be written: Read-only file system")
        assert content(folder) == before
        again("rw")
        done = bench.run(suite, folder, "--resume")
        assert done.code == 0, done.err
        check_whole(folder, before, wanted)
    return 1
