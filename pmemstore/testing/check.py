"""``crash_check``: run a workload once, and look at every state that a crash could have left."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pmemstore import opening as pools
from pmemstore._native import ffi
from pmemstore.mapping import Mapping
from pmemstore.pool import Pool
from pmemstore.recorder import Recorder
from pmemstore.sizes import parse_size
from pmemstore.testing.explore import Budget, Explorer, Found
from pmemstore.testing.medium import ROOM, Machine
from pmemstore.testing.report import CrashReport, CrashViolation, Tally
from pmemstore.testing.subject import (
    MEDIA,
    MappingSubject,
    PoolSubject,
    Subject,
    medium,
    recording,
    take,
)

__all__ = ["crash_check", "crash_check_mapping"]


def crash_check(
    workload: Callable[[Pool], object],
    invariant: Callable[..., object] | None = None,
    *,
    setup: Callable[[Pool], object] | None = None,
    follow: Callable[[Pool], object] | None = None,
    media: Sequence[str] = ("direct", "file"),
    size: int | str = "512K",
    log_size: int | str = "64K",
    images: int = 64,
    nested: int = 24,
    seconds: float = 60.0,
    seed: int = 0,
    cycles: bool = False,
    keep: str | os.PathLike[str] | None = ".pmemstore-crashes",
    progress: Callable[[Tally], object] | None = None,
) -> CrashReport:
    """Check that no crash, at any moment of a workload, leaves a state that must not be.

    The workload runs once for each medium, on a pool that is recorded.  Then each file that a
    kill or a power cut could have left is built, opened and judged: the pool opens, its
    ``check()`` finds nothing, no byte is leaked, the contents are those before or after the unit
    of work that was under way (and after it, once it had returned), and the invariant holds.
    Some recoveries are crashed in turn.

    Args:
        workload: Works on the pool.  It should be short: a few dozen commits.
        invariant: Called with the recovered pool and, if it takes two arguments, with a tuple of
            what had been passed to ``acknowledge``.  It holds unless it raises or returns
            something false other than None.  None: atomicity and durability alone.
        setup: Called with the pool before; what it does is not recorded.
        follow: What the application does after recovery; it is recorded and crashed, too.  That
            it raises is a violation.
        media: Any of ``direct`` (cache lines, flushes and fences), ``file`` (sectors and syncs)
            and ``eadr`` (caches survive: the order of stores alone).
        size: Of the pool, in bytes or as text.
        log_size: Of its log; a small one shows more.
        images: Looked at, at most, before each fence or sync; at least 2.  If it has more,
            samples are drawn.
        nested: Recoveries that are crashed in turn, and some of these once more.
        seconds: For each medium; then the rest is skipped, and the report says so.
        seed: Of the samples.
        cycles: Containers that only keep each other alive are fine, if ``Pool.collect()`` frees
            them and ``check()`` finds nothing after that.
        keep: Folder for the image of a violation; None: it is not kept.
        progress: Called now and then with the counts; None: a line on stderr, if that is a
            terminal.

    Returns:
        What was looked at, and what was not.

    Raises:
        CrashViolation: A crash leaves what must not be: which one, what is lost, who stored it.
        RuntimeError: The workload has opened the file by itself, so that it is not recorded.
        ValueError: An argument is out of range, or the file is larger than 1 GiB.
        Exception: Whatever the workload raises.

    Complexity:
        About a millisecond for each image that differs from all before.

    Example:
        >>> from pmemstore.testing import crash_check
        >>> def move(pool):
        ...     with pool.transaction():
        ...         pool.root["here"] -= 1
        ...         pool.root["there"] += 1
        >>> report = crash_check(
        ...     move,
        ...     lambda pool: pool.root["here"] + pool.root["there"] == 10,
        ...     setup=lambda pool: pool.root.update(here=10, there=0),
        ... )
        >>> report.images > 10
        True
    """
    __tracebackhide__ = True

    def prepare(path: str) -> None:
        if parse_size(size, "size") > ROOM:
            raise ValueError(f"size={size!r} is too much to be explored: at most {ROOM} bytes")
        with pools.open(path, "n", size=size, log_size=log_size) as pool:
            if setup is not None:
                setup(pool)

    def run(path: str, recorder: Recorder) -> None:
        with pools.open(path, "w", recorder=recorder) as pool:
            take(pool)
            workload(pool)

    subject = PoolSubject(invariant, follow, cycles)
    budget = Budget(images=images, nested=nested, seconds=seconds, seed=seed)
    return _check(subject, prepare, run, media, budget, keep, progress, invariant)


def crash_check_mapping(
    workload: Callable[[Mapping], object],
    invariant: Callable[..., object],
    *,
    size: int = 65536,
    setup: Callable[[Mapping], object] | None = None,
    media: Sequence[str] = ("direct", "file"),
    images: int = 64,
    nested: int = 0,
    seconds: float = 60.0,
    seed: int = 0,
    keep: str | os.PathLike[str] | None = ".pmemstore-crashes",
    progress: Callable[[Tally], object] | None = None,
) -> CrashReport:
    """The same for an application's own structures in a raw ``Mapping``.

    What is stored through views is noticed at the next call on the mapping; a power cut may leave
    any part of what changed since the one before, in words of 8 bytes.  In a file a sector of 512
    bytes has the contents of one of these calls, or is torn between two.

    Args:
        workload: Works on the mapping.
        invariant: Called with a mapping of an image, and with what was acknowledged if it takes
            two arguments.  It may repair the image as the application would.
        size: Bytes of the file.
        setup: Called with the mapping before; all of it is durable.
        media: As for ``crash_check``.
        images: As for ``crash_check``.
        nested: As for ``crash_check``; what is crashed is the invariant's repair.
        seconds: As for ``crash_check``.
        seed: As for ``crash_check``.
        keep: As for ``crash_check``.
        progress: As for ``crash_check``.

    Returns:
        What was looked at, and what was not.

    Raises:
        CrashViolation: A crash leaves what must not be.
        Exception: Whatever the workload raises.
    """
    __tracebackhide__ = True

    def prepare(path: str) -> None:
        if size > ROOM:
            raise ValueError(f"size={size} is too much to be explored: at most {ROOM} bytes")
        with Mapping.open(path, size, create=True) as mapping:
            if setup is not None:
                setup(mapping)
            mapping.persist()

    def run(path: str, recorder: Recorder) -> None:
        with Mapping.open(path, recorder=recorder) as mapping:
            workload(mapping)

    subject = MappingSubject(invariant)
    budget = Budget(images=images, nested=nested, seconds=seconds, seed=seed)
    return _check(subject, prepare, run, media, budget, keep, progress, invariant)


def _check(
    subject: Subject,
    prepare: Callable[[str], None],
    run: Callable[[str, Recorder], None],
    media: Sequence[str],
    budget: Budget,
    keep: str | os.PathLike[str] | None,
    progress: Callable[[Tally], object] | None,
    invariant: Callable[..., object] | None,
) -> CrashReport:
    __tracebackhide__ = True  # of pytest: the report says more than our lines
    media = (media,) if isinstance(media, str) else tuple(media)
    unknown = [name for name in media if name not in MEDIA]
    if unknown or not media:
        raise ValueError(f"media must be of {', '.join(MEDIA)}, not {(*unknown, media)[0]!r}")
    if budget.images < 2 or budget.nested < 0 or not budget.seconds > 0:
        raise ValueError(
            "images must be at least 2, nested at least 0, seconds more than 0, not "
            f"{budget.images}, {budget.nested}, {budget.seconds}"
        )
    if progress is None and sys.stderr.isatty():
        progress = _show
    report = CrashReport(seed=budget.seed)
    for name in media:
        folder = tempfile.mkdtemp(prefix="pmemstore-crash-", dir=_memory())
        try:
            with medium(name):
                report.media[name] = _one(subject, prepare, run, name, budget, folder, progress)
        except Found as found:
            raise _violation(found, name, subject, keep, invariant) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if progress is _show:
                sys.stderr.write("\r\x1b[K")
    return report


def _memory() -> str | None:
    """A folder in memory, if there is one: images need no disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _show(tally: Tally) -> None:
    sys.stderr.write(f"\r{tally.points} points, {tally.images:,} images")
    sys.stderr.flush()


def _one(
    subject: Subject,
    prepare: Callable[[str], None],
    run: Callable[[str, Recorder], None],
    name: str,
    budget: Budget,
    folder: str,
    progress: Callable[[Tally], object] | None,
) -> Tally:
    path = os.path.join(folder, "live.pool")
    __tracebackhide__ = True
    prepare(path)
    machine = Machine(eadr=name == "eadr")
    before = Path(path).read_bytes()
    machine.load(ffi.from_buffer(before), len(before))
    recorder = Recorder()
    with recording(recorder):
        run(path, recorder)
    explorer = Explorer(subject, budget, folder, eadr=name == "eadr", progress=progress)
    try:
        explorer.explore(recorder, machine, Path(path).read_bytes())
    finally:
        explorer.close()
    return explorer.tally


def _violation(
    found: Found,
    name: str,
    subject: Subject,
    keep: str | os.PathLike[str] | None,
    invariant: Callable[..., object] | None,
) -> CrashViolation:
    image, replay = None, ""
    if keep is not None:
        try:
            image = _keep(Path(keep), found, name, subject)
        except OSError as error:  # the violation must be told all the same
            replay = f"nothing was kept: {error}"
    if image is not None:
        replay = f"python -m pmemstore.testing {shlex.quote(str(image))}"
        where = _importable(invariant)
        replay += f" --invariant {shlex.quote(where)}" if where else ""
    return CrashViolation(
        found.problem,
        medium=name,
        moment=found.moment,
        missing=found.missing,
        before=found.before,
        lines=found.lines,
        found=found.contents,
        image=image,
        replay=replay,
        when=found.when,
    )


def _keep(folder: Path, found: Found, name: str, subject: Subject) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b(found.image, digest_size=6).hexdigest()
    image = folder / f"crash-{digest}.image"
    image.write_bytes(found.image)
    facts: dict[str, Any] = {
        "medium": name,
        "kind": "pool" if isinstance(subject, PoolSubject) else "mapping",
        "cycles": isinstance(subject, PoolSubject) and subject.cycles,
        "problem": f"{found.when} {found.problem}",
        "acknowledged": [repr(value) for value in found.acknowledged],
        "missing": [str(item) for item in found.missing],
        "lines": [*found.before, *found.lines],
    }
    image.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    return image


def _importable(invariant: Callable[..., object] | None) -> str:
    """FILE:NAME of a function of a module; "" for others."""
    code = getattr(invariant, "__code__", None)
    name = getattr(invariant, "__qualname__", "")
    return f"{os.path.relpath(code.co_filename)}:{name}" if code and name.isidentifier() else ""
