"""Parts of a campaign, so many at once, each in a process of its own."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection

FAREWELL = 20.0  # seconds for a part to tidy up when all is broken off


def results(
    work: Callable[..., object], parts: Sequence[tuple], jobs: int
) -> Iterator[tuple[tuple, object]]:
    """Each part and what `work` gives for it, as they end; `work` must be importable.

    One job is this process itself, part by part. After an error or Ctrl-C no part is begun, and
    those that are at work are ended.
    """
    begun = time.monotonic()
    ended = _in_turn(work, parts) if jobs == 1 else _at_once(work, parts, jobs)
    for n, (part, found) in enumerate(ended, 1):
        minutes = (time.monotonic() - begun) / 60
        print(f"{n}/{len(parts)} parts in {minutes:.0f} min", file=sys.stderr, flush=True)
        yield part, found


def _in_turn(work, parts):
    for part in parts:
        yield part, work(*part)


def _at_once(work, parts, jobs):
    fresh = multiprocessing.get_context("spawn")
    waiting, at_work = list(reversed(parts)), {}
    try:
        while waiting or at_work:
            while waiting and len(at_work) < jobs:
                end, told = fresh.Pipe(duplex=False)
                process = fresh.Process(target=_tell, args=(told, work, waiting[-1]))
                process.start()
                told.close()
                at_work[end] = waiting.pop(), process
            for end in connection.wait(list(at_work)):
                part, found = at_work[end][0], end.recv()
                _close(end, at_work.pop(end)[1])
                if isinstance(found, Exception):
                    raise found
                yield part, found
    finally:
        for end, (_, process) in at_work.items():
            _close(end, process)


def _tell(told, work, part):
    try:
        found = work(*part)
    except Exception as error:
        found = error
    told.send(found)


def _close(end, process):
    process.join(FAREWELL)
    process.kill()
    process.join()
    end.close()
