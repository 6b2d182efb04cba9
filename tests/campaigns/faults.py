"""What happens to a run that is shot at? A campaign on the real command line, not a test.

    python -m tests.campaigns.faults [--sample N] [--only NAME] [--seed S] [--jobs N] [--json]

Each trial does one thing to a run of a tiny suite, then holds what is on disk against a run that
nothing happened to: every byte that was there before is still there, no number is lost or double,
`--resume` ends with the same numbers, exit code and message are right, and no process lives on.
`--sample` bounds the trials of each fault; `--jobs` tries so many parts at once, each with a folder
and processes of its own. Full and read-only disks are a small tmpfs, for which the campaign must
run as root on Linux; elsewhere these two are skipped, and it says so.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.campaigns import fault_children, fault_disks, side_by_side
from tests.campaigns.fault_bench import (
    Bench,
    check_whole,
    complete_lines,
    content,
    random_moment,
    run_file,
    values,
    wait_until,
)

MOST_KILLS = 8  # of one run

Fault = Callable[[Bench, random.Random], int]


def parent_killed(bench: Bench, chance: random.Random) -> int:
    """SIGKILL of the command at random moments, again and again, until the run is whole."""
    return _killed(bench, bench.suite(), chance)


def training_killed(bench: Bench, chance: random.Random) -> int:
    """The same while it trains: the accuracy is that of a training that was not killed."""
    return _killed(bench, bench.suite(name="training", grids=fault_children.TRAINING), chance)


def _killed(bench: Bench, suite: Path, chance: random.Random) -> int:
    wanted, folder, killed, before = bench.undisturbed(suite), bench.new_folder(), 0, b""
    while killed < MOST_KILLS:
        process = bench.begin(suite, folder, *(["--resume"] if before else []))
        alive = random_moment(process, folder, chance)
        process.send_signal(signal.SIGKILL)
        done = bench.ended(process)
        assert content(folder).startswith(before), "what was written before has changed"
        before = content(folder)
        if not alive:
            assert done.code == 0, done.err
            break
        killed += 1
    done = bench.run(suite, folder, *(["--resume"] if before else []))
    assert done.code == 0, done.err
    check_whole(folder, before, wanted)
    return killed


def child_killed(bench: Bench, chance: random.Random) -> int:
    """SIGKILL of a worker, or of the process that starts them: a record, and the rest goes on."""
    suite, folder = bench.suite(), bench.new_folder()
    wanted, process = bench.undisturbed(suite), bench.begin(suite, folder)
    victims: list[int] = []

    def seen() -> bool:
        victims[:] = bench.workers()
        return len(victims) > 1

    if not wait_until(process, seen):
        raise AssertionError(bench.ended(process).err)
    time.sleep(chance.uniform(0, 1))
    victim = chance.choice(bench.workers() or victims)
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        bench.ended(process)
        return 0
    done = bench.ended(process)
    found = values(run_file(folder))
    failed = {key[:2] for key in found if key[2] == "*"}
    assert done.code == bool(failed), done.err
    assert len(failed) <= 2, failed
    assert {key[:2] for key in found} == {key[:2] for key in wanted}, "a measure has no record"
    assert all(wanted[key] == value for key, value in found.items() if key[2] != "*")
    said = [line for line in done.err.splitlines() if line.startswith("failed ")]
    assert all("killed by signal 9" in line or "is gone" in line for line in said), done.err
    assert "Traceback" not in done.err, done.err
    return 1


def clock_jump(bench: Bench, chance: random.Random) -> int:
    """The clock jumps by days, forward or back, while it runs and before it is resumed."""
    suite, folder = bench.suite(), bench.new_folder()
    wanted, place = bench.undisturbed(suite), fault_children.jumping_clock(bench.home)
    jump = chance.choice([-1, 1]) * chance.uniform(3600, 30 * 86400)
    options = {"PKS4_JUMP_AFTER": str(chance.uniform(0, 6)), "PKS4_JUMP_BY": str(jump)}
    process = bench.begin(suite, folder, path=place, **options)
    wait_until(process, lambda: complete_lines(content(folder)) > chance.randint(1, 6))
    process.kill()
    bench.ended(process)
    before = content(folder)
    os.utime(run_file(folder), (time.time() - jump, time.time() - jump))
    done = bench.run(suite, folder, "--resume", path=place, PKS4_JUMP_BY=str(-jump))
    assert done.code == 0, done.err
    check_whole(folder, before, wanted)
    return 1


def two_at_once(bench: Bench, chance: random.Random) -> int:
    """Two new runs in one folder, then two resumes of one run: each is whole or told to wait."""
    suite, folder = bench.suite(), bench.new_folder()
    wanted = bench.undisturbed(suite)
    first = bench.begin(suite, folder)
    time.sleep(chance.choice([0, chance.uniform(0, 2)]))
    ends = [bench.begin(suite, folder), first]
    for done in [bench.ended(process) for process in _both(ends)]:
        if done.code:
            done.refused("exists already; start again in a second")
    for path in folder.glob("*.jsonl"):
        assert values(path) == wanted
    folder = bench.new_folder()
    process = bench.begin(suite, folder)
    wait_until(process, lambda: complete_lines(content(folder)) > 2)
    process.kill()
    bench.ended(process)
    before = content(folder)
    first = bench.begin(suite, folder, "--resume")
    time.sleep(chance.choice([0, chance.uniform(0, 6)]))
    ends = [bench.begin(suite, folder, "--resume"), first]
    codes = []
    for done in [bench.ended(process) for process in _both(ends)]:
        codes.append(done.code)
        if done.code:
            done.refused("another process is writing this run")
    assert 0 in codes, codes
    check_whole(folder, before, wanted)
    return 1


def _both(processes: list) -> list:
    """The processes, all of them ended."""
    for process in processes:
        wait_until(process, lambda: False)
    return processes


def ctrl_c_twice(bench: Bench, chance: random.Random) -> int:
    """Ctrl-C and again at once: code 130, the line that says how to go on, whole on resume."""
    suite, folder = bench.suite(), bench.new_folder()
    wanted, process = bench.undisturbed(suite), bench.begin(suite, folder)
    at_least = chance.randint(1, 6)
    if not wait_until(process, lambda: complete_lines(content(folder)) >= at_least):
        raise AssertionError(bench.ended(process).err)
    for _ in range(chance.randint(2, 4)):
        process.send_signal(signal.SIGINT)
        time.sleep(chance.choice([0, 0.001, 0.01, 0.1]))
    done = bench.ended(process)
    assert done.code == 130, f"exit code {done.code}: {done.err}"
    assert "Traceback" not in done.err, done.err
    assert "--resume" in done.err, done.err
    before = content(folder)
    done = bench.run(suite, folder, "--resume")
    assert done.code == 0, done.err
    check_whole(folder, before, wanted)
    return 1


FAULTS: dict[str, tuple[Fault, int]] = {  # name -> what it does, trials of a whole campaign
    "parent killed": (parent_killed, 200),
    "training killed": (training_killed, 12),
    "child killed": (child_killed, 20),
    "disk full": (fault_disks.disk_full, 8),
    "read-only folder": (fault_disks.read_only, 3),
    "clock jump": (clock_jump, 6),
    "out of memory": (fault_children.out_of_memory, 2),
    "worker hangs": (fault_children.hangs, 2),
    "worker segfaults": (fault_children.segfaults, 2),
    "worker leaves": (fault_children.leaves, 2),
    "last line cut": (fault_children.cut_anywhere, 1),
    "two at once": (two_at_once, 6),
    "Ctrl-C twice": (ctrl_c_twice, 12),
}
AS_ROOT = ("disk full", "read-only folder")
ALONE = ("worker hangs",)  # its short time limit must not be met by what is only slow
PART = 25  # trials that are tried one after another, from a seed of their own


@dataclass
class Survived:
    """How many trials of a fault were survived, and what went wrong in the others."""

    survived: int = 0
    trials: int = 0
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""


def campaign(
    sample: int | None, only: str | None, seed: int, jobs: int = 1
) -> Iterator[tuple[str, Survived]]:
    """Every fault, so many trials each: its name with what came of a part, as parts end."""
    parts = [
        (name, seed, number, min(PART, trials - PART * number))
        for name, (_, most) in FAULTS.items() if only in (None, name)
        for trials in [min(most, sample or most)]
        for number in range(-(-trials // PART))
    ]  # fmt: skip
    alone = [part for part in parts if part[0] in ALONE]
    beside = [part for part in parts if part[0] not in ALONE]
    for now, at_once in ((beside, jobs), (alone, 1)):
        for (name, *_), found in side_by_side.results(tried, now, at_once):
            yield name, found


def add(to: dict[str, Survived], name: str, part: Survived) -> None:
    """Put a part to what is known of its fault."""
    one = to.setdefault(name, Survived(skipped=part.skipped))
    one.survived += part.survived
    one.trials += part.trials
    one.wrong += part.wrong


def tried(name: str, seed: int, number: int, trials: int) -> Survived:
    """A part of the trials of a fault."""
    found, chance = Survived(), random.Random(f"{seed} {name} {number}")
    if name in AS_ROOT and os.geteuid():
        return Survived(skipped="not root: no file system to fill")
    bench = Bench()
    try:
        while found.trials < trials:
            try:
                done = FAULTS[name][0](bench, chance)
                found.survived += done
                found.trials += done
            except AssertionError as error:
                found.trials += 1
                found.wrong.append(" ".join(str(error).split())[:2000])
            print(f"{name} {number}: {found.survived}/{found.trials}", file=sys.stderr, flush=True)
    finally:
        bench.close()
    return found


def main() -> None:
    """Run the campaign and print what came of it; exit code 1 if anything did not survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="trials of each fault, at most")
    parser.add_argument("--only", choices=FAULTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="parts that are tried at once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Survived] = {}
    for name, part in campaign(options.sample, options.only, options.seed, options.jobs):
        add(found, name, part)
    if options.json:
        print(json.dumps({name: asdict(one) for name, one in found.items()}, indent=1))
    else:
        for name, one in found.items():
            print(f"{name:<18}{one.skipped or f'{one.survived}/{one.trials}'}")
            print(*(f"  {line}" for line in one.wrong), sep="\n", end="")
    sys.exit(any(one.wrong for one in found.values()))


if __name__ == "__main__":
    main()
