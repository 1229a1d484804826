"""A queue of jobs that threads share, and that outlives whoever works on it.

    python examples/04_job_queue.py                      hash the standard library, four threads
    kill -9 it, start it again                           no job is lost, none is done twice

What is in the pool:

    root["waiting"]   a Deque of paths, oldest first
    root["running"]   path -> name of the worker that has it
    root["results"]   path -> [bytes, digest]

A worker takes a job in one transaction (out of ``waiting``, into ``running``) and delivers it in
another one (out of ``running``, into ``results``).  So after a crash every job is in exactly one
of the three, and what was running goes back to the head of the queue.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import pmemstore


class JobQueue:
    """Jobs with str names; every method is one unit of work, and any thread may call it."""

    def __init__(self, pool: pmemstore.Pool) -> None:
        self.pool = pool
        with pool.transaction():
            self.waiting = pool.root.setdefault("waiting", deque())
            self.running = pool.root.setdefault("running", {})
            self.results = pool.root.setdefault("results", {})

    def put(self, jobs: Iterable[str]) -> int:
        """Add the jobs that are not known yet; return how many these are."""
        with self.pool.transaction():
            known = {*self.waiting, *self.running, *self.results}
            new = [job for job in dict.fromkeys(jobs) if job not in known]
            self.waiting.extend(new)
        return len(new)

    def recover(self) -> int:
        """Give back the jobs of workers that died; call it before the workers start."""
        with self.pool.transaction():
            lost = list(self.running)
            self.waiting.extendleft(reversed(lost))
            self.running.clear()
        return len(lost)

    def take(self, worker: str) -> str | None:
        """Take the oldest job; None: there is none."""
        with self.pool.transaction():
            if not self.waiting:
                return None
            job: str = self.waiting.popleft()
            self.running[job] = worker
        return job

    def deliver(self, job: str, result: list[object]) -> None:
        """Keep the result of a job that was taken."""
        with self.pool.transaction():
            del self.running[job]
            self.results[job] = result


def work(queue: JobQueue, worker: str, die_after: int) -> None:
    while (job := queue.take(worker)) is not None:
        if die_after and len(queue.results) >= die_after:
            os.kill(os.getpid(), signal.SIGKILL)  # no handler runs, nothing is closed
        contents = Path(job).read_bytes()
        queue.deliver(job, [len(contents), hashlib.sha256(contents).hexdigest()])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pool", type=Path, default=Path("queue.pool"))
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument(
        "--die-after", type=int, default=0, help="kill -9 itself at so many results"
    )
    options = parser.parse_args(arguments)
    with pmemstore.open(options.pool, "c") as pool:
        queue = JobQueue(pool)
        given_back = queue.recover()
        new = queue.put(str(path) for path in sorted(options.root.glob("*.py")))
        print(f"{len(queue.results)} done before, {given_back} given back, {new} new", flush=True)
        threads = [
            threading.Thread(target=work, args=(queue, f"worker {n}", options.die_after))
            for n in range(options.threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        size = sum(result[0] for result in queue.results.values())
        print(f"{len(queue.results)} jobs done, {size} bytes; {len(queue.waiting)} waiting")
        return 0 if not queue.waiting and not queue.running else 1


if __name__ == "__main__":
    sys.exit(main())
