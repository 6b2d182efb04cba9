"""What do damaged and hostile files do? Thousands of them, not a test.

    python -m tests.campaigns.fuzz [--sample N] [--only KIND] [--seed S] [--jobs N] [--case N]
                                   [--json]

Real files of each kind are damaged from a seed and used as the project uses them, in a child with a
limit of memory and processor time. Each is accepted, or refused in one line; anything else is
wrong: another exception, a crash, a limit that is met, a command started, a connection opened, a
file written elsewhere. `--case N` repeats one case of `--only KIND` and shows its traceback.
"""

import argparse
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.campaigns import side_by_side
from tests.campaigns.fuzz_kinds import KINDS, ROOT, Kind, seed_files
from tests.campaigns.fuzz_mutate import damaged

CPU_SECONDS, WALL_SECONDS = 15, 600  # of a case
MEMORY = 2 << 30  # bytes that a child may take beside what it starts with
LONGEST = 2000  # characters of a refusal
NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen",
         "socket.connect", "socket.getaddrinfo", "socket.gethostbyname")  # fmt: skip


@dataclass
class Found:
    """What became of the cases of a kind."""

    cases: int = 0
    accepted: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


def campaign(
    sample: int | None, only: str | None, seed: int, jobs: int = 1
) -> Iterator[tuple[str, Found]]:
    """Every kind, so many cases each: its name with what came of them, as kinds end."""
    parts = [
        (name, seed, min(kind.cases, sample or kind.cases))
        for name, kind in KINDS.items() if only in (None, name)
    ]  # fmt: skip
    for (name, *_), found in side_by_side.results(tried, parts, jobs):
        yield name, found


def tried(name: str, seed: int, cases: int) -> Found:
    """The first cases of a kind."""
    with tempfile.TemporaryDirectory(prefix="pks4-fuzz-") as home:
        found = _all(name, list(range(cases)), seed, Path(home) / name)
    print(f"{name}: {found.cases} cases, {len(found.wrong)} wrong", file=sys.stderr, flush=True)
    return found


def _all(name: str, left: list[int], seed: int, home: Path) -> Found:
    """The cases of a kind, in as many children as it takes."""
    found = Found()
    (home / "seeds").mkdir(parents=True)
    while left:
        for said in _child(name, list(left), seed, home):
            left.remove(said["case"])
            found.cases += 1
            if said["outcome"] == "wrong":
                found.wrong.append(f"case {said['case']} ({said['file']}): {said['said']}")
            else:
                setattr(found, said["outcome"], getattr(found, said["outcome"]) + 1)
    return found


def _child(name: str, cases: list[int], seed: int, home: Path) -> Iterator[dict]:
    """What a child says of cases until it ends; the case that ended it is the last."""
    words = ["--only", name, "--seed", str(seed), "--home", str(home)]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.campaigns.fuzz", *words], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    with child:
        if not child.stdout.readline():
            raise RuntimeError(
                f"{name}: no start; see python -m tests.campaigns.fuzz --only {name} --case 0"
            )
        for case in cases:
            try:
                child.stdin.write(f"{case}\n")
                child.stdin.flush()
            except BrokenPipeError:
                pass
            ready, _, _ = select.select([child.stdout], [], [], WALL_SECONDS)
            line = child.stdout.readline() if ready else ""
            if line:
                yield json.loads(line)
                continue
            if ready:
                code = child.wait()
                why = "took too much processor time" if code == -signal.SIGPROF else f"code {code}"
            else:
                child.kill()
                why = f"did not answer in {WALL_SECONDS} s"
            yield {"case": case, "file": "?", "outcome": "wrong", "said": f"the child {why}"}
            return
        child.stdin.close()


def serve(kind: Kind, name: str, seed: int, home: Path) -> None:
    """The child: answers each case on standard input."""
    from pks4.bench.run import memory_limit

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print
    seen: list[str] = []
    prepare(kind, home)
    answers.write("ready\n")
    memory_limit.enforce(MEMORY)
    sys.addaudithook(lambda event, args: _watch(event, args, home, seen))
    for line in sys.stdin:
        case = int(line)
        path = case_file(name, seed, case, home)
        seen.clear()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        outcome, said = attempt(kind, path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if seen:
            outcome, said = "wrong", f"did {seen[0]}"
        told = {"case": case, "file": path.name, "outcome": outcome, "said": said}
        answers.write(json.dumps(told) + "\n")


def prepare(kind: Kind, home: Path) -> None:
    """Make the real files, if need be, and use them as they are, with all imports that it takes."""
    if not any((home / "seeds").iterdir()):
        kind.seeds(home / "seeds")
    for path in seed_files(home / "seeds"):
        outcome, said = attempt(kind, path)
        wanted = "refused" if path.name.startswith("refused") else "accepted"
        if outcome != wanted:
            raise RuntimeError(f"{path}: as it is {outcome}, not {wanted}: {said}")


def case_file(name: str, seed: int, case: int, home: Path) -> Path:
    """Write the damaged file of a case, under the name that it had."""
    chance = random.Random(f"{seed} {name} {case}")
    whole = chance.choice(list(seed_files(home / "seeds")))
    place = home / "case"
    place.mkdir(exist_ok=True)
    path = place / whole.name
    path.write_bytes(damaged(whole.read_bytes(), chance))
    return path


def attempt(kind: Kind, path: Path) -> tuple[str, str]:
    """accepted, refused or wrong, and what was said."""
    from pks4.commands.parts.terminal import visible
    from pks4.errors import UserError

    try:
        kind.take(path)
    except (UserError, *kind.refuses) as error:
        if not isinstance(error, UserError) and type(error) not in kind.refuses:
            return "wrong", _told(error)
        said = visible(error, keep="")
        good = said.strip() and len(said) <= LONGEST and "\n" not in str(error)
        return ("refused" if good else "wrong"), said[: LONGEST + 1]
    except Exception as error:  # what this looks for
        return "wrong", _told(error)
    return "accepted", ""


def _told(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:300]} ({where.filename}:{where.lineno})"


def _watch(event: str, args: tuple, home: Path, seen: list[str]) -> None:
    """Note what a file may never cause."""
    if event in NEVER:
        seen.append(f"{event} {str(args)[:200]}")
    elif event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR):
        inside = os.path.abspath(args[0]).startswith((str(home), "/dev/"))
        seen += [] if inside else [f"write {args[0][:200]}"]


def main() -> None:
    """Run the campaign and print what came of it; exit code 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="cases of each kind, at most")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="kinds at once")
    parser.add_argument("--case", type=int, help="repeat this case of --only")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)  # of a child
    options = parser.parse_args()
    if options.home:
        serve(KINDS[options.only], options.only, options.seed, options.home)
        return
    if options.case is not None:
        repeat(options.only, options.seed, options.case)
        return
    found = dict(campaign(options.sample, options.only, options.seed, options.jobs))
    if options.json:
        print(json.dumps({name: asdict(one) for name, one in found.items()}, indent=1))
    else:
        for name, one in found.items():
            print(f"{name:<12}{one.cases} cases: {one.accepted} accepted, {one.refused} refused, "
                  f"{len(one.wrong)} wrong")  # fmt: skip
            for line in one.wrong:
                print(f"  {line}")
    sys.exit(any(one.wrong for one in found.values()))


def repeat(name: str, seed: int, case: int) -> None:
    """Use the file of one case, unguarded, and keep it."""
    home = Path(tempfile.mkdtemp(prefix="pks4-fuzz-"))
    (home / "seeds").mkdir()
    prepare(KINDS[name], home)
    path = case_file(name, seed, case, home)
    print(path)
    KINDS[name].take(path)


if __name__ == "__main__":
    main()
