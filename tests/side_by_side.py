"""Parts of a campaign, so many at once, each in a process of its own."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed


def results(
    work: Callable[..., object], parts: Sequence[tuple], jobs: int
) -> Iterator[tuple[tuple, object]]:
    """Each part and what `work` gives for it, as they end; `work` must be importable.

    One job is this process itself, part by part. After an error or Ctrl-C no part is begun.
    """
    begun = time.monotonic()
    for n, (part, found) in enumerate(_ended(work, parts, jobs), 1):
        minutes = (time.monotonic() - begun) / 60
        print(f"{n}/{len(parts)} parts in {minutes:.0f} min", file=sys.stderr, flush=True)
        yield part, found


def _ended(work, parts, jobs):
    if jobs == 1:
        yield from ((part, work(*part)) for part in parts)
        return
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=fresh) as pool:
        futures = {pool.submit(work, *part): part for part in parts}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()
