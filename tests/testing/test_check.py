"""crash_check, as an application meets it: the bugs that it must find, and what it must pass.

Numbers of images and points are counts; no test looks at a clock.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import pmemstore
from pmemstore.testing import CrashViolation, Tally, acknowledge, contents, crash_check

MEDIA = ("direct", "file", "eadr")
# Where a commit becomes durable; with eADR each store of the frame is a moment of its own.
COMMITS = {
    "direct": {"fence_frames"},
    "eadr": {"fence_frames", "pms_log_append"},
    "file": {"pms_log_append"},
}


def violation(*args: object, **options: object) -> CrashViolation:
    """The violation that is found; nothing of it is kept."""
    with pytest.raises(CrashViolation) as found:
        crash_check(*args, **{"keep": None, **options})  # type: ignore[arg-type] # handed on
    return found.value


def line_of(function: Callable[..., object], text: str) -> int:
    """The number of the line of a function that has this text."""
    lines, first = inspect.getsourcelines(function)
    (found,) = (first + i for i, line in enumerate(lines) if text in line)
    return found


# ---- the bank: two changes that belong together ----


def open_accounts(pool: pmemstore.Pool) -> None:
    pool.root["accounts"] = {"a": 100, "b": 0}


def transfer_in_two_units(pool: pmemstore.Pool) -> None:
    accounts = pool.root["accounts"]
    accounts["a"] -= 30
    accounts["b"] += 30


def transfer(pool: pmemstore.Pool) -> None:
    with pool.transaction():
        transfer_in_two_units(pool)


def no_money_is_lost(pool: pmemstore.Pool) -> bool:
    return sum(pool.root["accounts"].values()) == 100


@pytest.mark.parametrize("medium", MEDIA)
def test_two_units_that_belong_together_are_found(medium: str) -> None:
    """A kill is enough, and the report says which two lines to put into one transaction."""
    found = violation(transfer_in_two_units, no_money_is_lost, setup=open_accounts, media=(medium,))
    assert found.problem == "the invariant no_money_is_lost returned False"
    assert found.medium == medium
    assert found.missing == ()
    assert found.found == "{'accounts': {'a': 70, 'b': 0}}"
    first = line_of(transfer_in_two_units, '["a"] -= 30')
    second = line_of(transfer_in_two_units, '["b"] += 30')
    assert found.moment is not None
    assert found.moment.line is not None
    assert found.moment.line.file == __file__
    assert found.moment.line.function == "transfer_in_two_units"
    assert found.moment.line.number in (first, second)
    assert found.moment.function in COMMITS[medium]
    text = str(found)
    assert f"has: everything up to the unit of work committed by {__file__}:{first} in" in text
    assert f"has not: the unit of work committed by {__file__}:{second} in" in text
    assert "make them one: with pool.transaction()" in text
    assert "lost: nothing" in text


@pytest.mark.parametrize("medium", MEDIA)
def test_the_same_in_one_transaction_passes(medium: str) -> None:
    report = crash_check(transfer, no_money_is_lost, setup=open_accounts, media=medium)
    tally = report.media[medium]
    assert tally.points == tally.exhaustive + tally.whole + tally.sampled
    assert tally.skipped == 0
    assert tally.distinct <= tally.images
    assert tally.crashes_inside_recovery > 0
    assert f"{medium}: no violation in" in str(report)


# ---- the order book: a confirmation that comes too early ----


def confirm_too_early(pool: pmemstore.Pool) -> None:
    acknowledge("order 1")
    pool.root["order 1"] = {"item": "nut"}


def confirm_inside(pool: pmemstore.Pool) -> None:
    with pool.transaction():
        pool.root["order 1"] = {"item": "nut"}
        acknowledge("order 1")


def confirm(pool: pmemstore.Pool) -> None:
    for order in ("order 1", "order 2"):
        pool.root[order] = {"item": "nut"}
        acknowledge(order)


def confirmed_orders_are_there(pool: pmemstore.Pool, confirmed: tuple[str, ...]) -> None:
    for order in confirmed:
        assert order in pool.root, f"{order} is lost"


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("workload", [confirm_too_early, confirm_inside])
def test_a_confirmation_before_the_commit_is_found(
    workload: Callable[[pmemstore.Pool], None], medium: str
) -> None:
    found = violation(workload, confirmed_orders_are_there, media=(medium,))
    assert "raised AssertionError: order 1 is lost" in found.problem
    assert f"({__file__}:{line_of(confirmed_orders_are_there, 'assert')})" in found.problem
    assert found.found == "{}"


@pytest.mark.usefixtures("written_back")
@pytest.mark.parametrize(
    ("medium", "kind", "how", "event"),
    [
        ("direct", "line", "none of its stores is there", "store"),
        ("file", "sector", "none of its writes is there", "synchronous write"),
    ],
)
def test_what_is_lost_is_the_least_that_matters_with_field_function_and_line(
    medium: str, kind: str, how: str, event: str
) -> None:
    """One line, or sector, of the log frame: everything else that could be lost is there."""

    def count(pool: pmemstore.Pool) -> None:
        acknowledge(1)
        pool.root["n"] = 1  # in place: nothing but the frame is stored before its fence

    def counted(pool: pmemstore.Pool, told: tuple[int, ...]) -> bool:
        return pool.root["n"] == sum(told)

    found = violation(count, counted, setup=lambda pool: pool.root.update(n=0), media=(medium,))
    (missing,) = found.missing
    assert missing.kind == kind
    assert missing.how == how
    assert missing.where.startswith("log, frame ")
    assert "(REDO)" in missing.where
    assert missing.event is not None
    assert missing.event.kind == event
    assert missing.event.function == "pms_log_append"
    assert missing.event.source.startswith("log.c:")
    assert missing.event.line is not None
    assert missing.event.line.number == line_of(count, '["n"] = 1')
    assert f"{kind} at {missing.offset}: {missing.where}; {how}" in str(found)


def test_confirmed_after_the_commit_passes() -> None:
    assert crash_check(confirm, confirmed_orders_are_there, media=MEDIA).images > 0


def test_acknowledged_from_threads_each_value_counts_from_its_own_moment() -> None:
    """Threads on files share a frame; none of them is told before it is durable."""

    def work(pool: pmemstore.Pool) -> None:
        def add(thread: int) -> None:
            for i in range(4):
                with pool.transaction():
                    pool.root[(thread, i)] = i
                    pool.root["count"] += 1
                acknowledge((thread, i))

        threads = [threading.Thread(target=add, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def holds(pool: pmemstore.Pool, told: tuple[object, ...]) -> bool:
        there = set(pool.root) - {"count"}
        return len(there) == pool.root["count"] and there >= set(told)

    report = crash_check(
        work, holds, setup=lambda pool: pool.root.update(count=0), images=8, nested=4
    )
    assert report.media["direct"].points > 12
    assert report.media["file"].points > 3  # at least a group for each thread's last one


def test_what_was_told_does_not_change_later() -> None:
    def work(pool: pmemstore.Pool) -> None:
        told: list[int] = []
        for i in range(2):
            pool.root[i] = i
            told.append(i)
            acknowledge(told)

    def holds(pool: pmemstore.Pool, all_told: tuple[list[int], ...]) -> bool:
        return all(i in pool.root for told in all_told for i in told)

    crash_check(work, holds, images=8, nested=0)


def test_acknowledge_outside_a_check_does_nothing() -> None:
    acknowledge("nobody listens")


# ---- without an invariant ----


def many_kinds_of_work(pool: pmemstore.Pool) -> None:
    root = pool.root
    with pool.transaction():
        for i in range(40):
            root[i] = {"a": [i] * 3}
    root["list"] = list(range(50))
    root["list"].reverse()
    root["list"][5:30] = []
    kept = root.pop(3)
    with pool.transaction():
        root["again"] = kept
        try:
            with pool.transaction():
                root.clear()
                raise KeyError
        except KeyError:
            pass
    try:
        with pool.transaction():
            root["never"] = 1
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    pool.checkpoint()
    pool.collect()


def test_the_library_itself_is_atomic_and_durable() -> None:
    """No invariant: the contents are those before or after each unit, and nothing leaks."""
    report = crash_check(many_kinds_of_work, media=MEDIA, log_size="16K", images=8, nested=3)
    for tally in report.media.values():
        assert tally.skipped == 0
        assert tally.points > 10
    assert not report.complete
    assert "not covered" in str(report)


def test_a_pool_that_grows_is_explored() -> None:
    def grow(pool: pmemstore.Pool) -> None:
        for i in range(6):
            pool.root[i] = bytes([i]) * 100_000

    report = crash_check(grow, lambda pool: len(pool.root) <= 6, images=6, nested=2)
    assert report.media["direct"].skipped == report.media["file"].skipped == 0


# ---- what follows a recovery ----


def take_up(pool: pmemstore.Pool) -> None:
    """After each recovery: an application that marks its start."""
    with pool.transaction():
        pool.root["starts"] = pool.root.get("starts", 0) + 1
        pool.root["log"].append(pool.root["starts"])


def take_up_in_two_units(pool: pmemstore.Pool) -> None:
    pool.root["starts"] = pool.root.get("starts", 0) + 1
    pool.root["log"].append(pool.root["starts"])


def starts_are_logged(pool: pmemstore.Pool) -> bool:
    return len(pool.root["log"]) == pool.root.get("starts", 0)


def test_a_bug_in_what_follows_recovery_is_found_with_both_crashes() -> None:
    options = {"setup": lambda pool: pool.root.update(log=[]), "media": ("direct",), "images": 8}
    crash_check(transfer_nothing, starts_are_logged, follow=take_up, keep=None, **options)
    found = violation(transfer_nothing, starts_are_logged, follow=take_up_in_two_units, **options)
    assert "returned False" in found.problem
    assert "first a" in str(found)
    assert "then, while that is recovered from" in str(found)
    assert found.moment is not None
    assert found.moment.line is not None
    assert found.moment.line.function == "take_up_in_two_units"


def transfer_nothing(pool: pmemstore.Pool) -> None:
    pool.root["x"] = 1


def test_what_follows_must_cope_with_every_state() -> None:
    def follow(pool: pmemstore.Pool) -> None:
        pool.root["y"]

    found = violation(transfer_nothing, follow=follow, media=("file",))
    assert "what follows, follow, raised KeyError: 'y'" in found.problem
    assert __file__ in found.problem


def test_what_follows_may_acknowledge() -> None:
    """A value that is told after a recovery must survive the crash after that."""

    def follow(pool: pmemstore.Pool) -> None:
        acknowledge("late")
        pool.root["late"] = 1

    def holds(pool: pmemstore.Pool, told: tuple[object, ...]) -> bool:
        return "late" not in told or "late" in pool.root

    found = violation(transfer_nothing, holds, follow=follow, media=("direct",))
    assert "returned False" in found.problem
    assert [item.event.function for item in found.missing if item.event] == ["pms_log_append"]


# ---- wrong without a crash ----


def test_an_invariant_that_never_holds_is_told_apart() -> None:
    found = violation(transfer, lambda pool: False, setup=open_accounts)
    assert found.when == "before the workload, without any crash,"
    assert str(found).startswith(
        f"before the workload, without any crash, the invariant <lambda> ({__file__}:"
    )
    assert found.moment is None
    assert "lost" not in str(found)


def test_a_workload_that_is_wrong_by_itself_is_told_apart() -> None:
    def lose(pool: pmemstore.Pool) -> None:
        pool.root["accounts"]["a"] = 0

    found = violation(lose, no_money_is_lost, setup=open_accounts)
    assert found.when == "after the workload, without any crash,"
    assert found.found == "{'accounts': {'a': 0, 'b': 0}}"


def test_a_cycle_that_nothing_refers_to_is_told_as_check_tells_it() -> None:
    def cycle(pool: pmemstore.Pool) -> None:
        with pool.transaction():
            pool.root["x"] = {}
            pool.root["x"]["x"] = pool.root["x"]
        del pool.root["x"]

    found = violation(cycle)
    assert "without any crash, Pool.check() says: the dict at offset" in str(found)
    assert "is unreachable" in str(found)


def test_a_workload_that_raises_is_not_explored(tmp_path: Path) -> None:
    def fail(pool: pmemstore.Pool) -> None:
        transfer_in_two_units(pool)
        raise ConnectionError("nobody there")

    with pytest.raises(ConnectionError, match="nobody there"):
        crash_check(fail, no_money_is_lost, setup=open_accounts, keep=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_workload_that_opens_the_file_by_itself_is_refused() -> None:
    """What it does there is not recorded, so its crashes would not be looked at."""

    def reopen(pool: pmemstore.Pool) -> None:
        pool.close()
        with pmemstore.open(pool.path) as again:
            transfer_in_two_units(again)

    with pytest.raises(RuntimeError, match="past its recorder"):
        crash_check(reopen, no_money_is_lost, setup=open_accounts)


def test_a_workload_may_close_the_pool() -> None:
    def close(pool: pmemstore.Pool) -> None:
        transfer(pool)
        pool.close()

    assert crash_check(close, no_money_is_lost, setup=open_accounts, images=8, nested=2).images


# ---- invariants ----


class Ledger:
    def holds(self, pool: pmemstore.Pool) -> bool:
        return no_money_is_lost(pool)

    def holds_for(self, pool: pmemstore.Pool, told: tuple[object, ...]) -> bool:
        return told in ((), ("done",))

    def __call__(self, pool: pmemstore.Pool) -> None:
        assert no_money_is_lost(pool)


@pytest.mark.parametrize(
    "invariant",
    [
        None,
        Ledger().holds,
        Ledger().holds_for,
        Ledger(),
        lambda *args: len(args) == 1,
        lambda pool, told=None: told is None,
        lambda pool, told, more=1: told is not None,
    ],
    ids=["none", "method", "method of two", "object", "any", "default", "two and a default"],
)
def test_an_invariant_is_anything_that_takes_one_or_two_arguments(
    invariant: Callable[..., object] | None,
) -> None:
    def work(pool: pmemstore.Pool) -> None:
        transfer(pool)
        acknowledge("done")

    crash_check(work, invariant, setup=open_accounts, media="file", images=4, nested=0)


@pytest.mark.parametrize("invariant", [lambda: True, lambda a, b, c: True, "text"])
def test_anything_else_is_refused_before_the_workload_runs(invariant: object) -> None:
    def never(pool: pmemstore.Pool) -> None:
        raise AssertionError("it has run")

    with pytest.raises(TypeError, match="invariant"):
        crash_check(never, invariant)  # type: ignore[arg-type] # on purpose


def test_pytest_fail_in_an_invariant_is_a_violation_with_its_crash() -> None:
    """pytest.fail raises no Exception, and would end the search without a word on the crash."""

    def holds(pool: pmemstore.Pool) -> None:
        if not no_money_is_lost(pool):
            pytest.fail("money is lost")

    found = violation(transfer_in_two_units, holds, setup=open_accounts)
    assert "money is lost" in found.problem
    assert found.moment is not None


def test_ctrl_c_in_an_invariant_ends_it_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pmemstore.testing.check._memory", lambda: str(tmp_path))
    monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "dax-fsync")

    def holds(pool: pmemstore.Pool) -> None:
        if not no_money_is_lost(pool):
            raise KeyboardInterrupt

    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        crash_check(transfer_in_two_units, holds, setup=open_accounts)
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert os.environ["PMEMSTORE_FORCE_TIER"] == "dax-fsync"


# ---- budgets ----


def test_counts_depend_on_the_seed_alone() -> None:
    def counts(seed: int) -> list[tuple[int, ...]]:
        report = crash_check(transfer, setup=open_accounts, seed=seed, images=16, nested=3)
        return [
            (t.events, t.points, t.exhaustive, t.whole, t.sampled, t.images, t.largest)
            for t in report.media.values()
        ]

    assert counts(7) == counts(7)
    assert counts(7) != counts(8)


def test_all_images_of_all_points_if_there_is_room_for_them() -> None:
    """1,536 is what the largest point of this workload has: then the report is complete."""

    def put(pool: pmemstore.Pool) -> None:
        pool.root["accounts"]["a"] = 1

    few = crash_check(put, setup=open_accounts, media="direct", images=16, nested=0)
    all_ = crash_check(put, setup=open_accounts, media="direct", images=4096, nested=0)
    assert not few.complete
    assert all_.complete
    assert "not covered" not in str(all_)
    few_, tally = few.media["direct"], all_.media["direct"]
    assert tally.points == few_.points == tally.exhaustive
    assert 16 < tally.largest == few_.largest <= 4096
    assert few_.images < tally.images
    assert few_.images <= 16 * few_.points


def test_no_point_gets_more_images_than_allowed() -> None:
    tally = crash_check(transfer, media="direct", setup=open_accounts, images=2, nested=0).media[
        "direct"
    ]
    assert tally.points < tally.images <= 2 * tally.points


@pytest.mark.parametrize("nested", [0, 1, 5])
def test_so_many_recoveries_are_crashed(nested: int) -> None:
    """Each of them crashes two more: in it, and in what recovers from that."""
    report = crash_check(
        transfer, no_money_is_lost, setup=open_accounts, media="direct", nested=nested
    )
    tally = report.media["direct"]
    assert tally.crashes_inside_recovery == nested * 3


def test_a_long_workload_is_explored_as_far_as_there_is_time() -> None:
    """It must not spend its time on learning what it has no time to look at."""

    def long(pool: pmemstore.Pool) -> None:
        for i in range(3000):
            pool.root[i % 7] = i

    report = crash_check(long, media="direct", seconds=0.2, nested=0, images=8)
    tally = report.media["direct"]
    assert tally.points > 0
    assert tally.images >= tally.points
    assert tally.skipped > 0
    assert tally.points + tally.skipped > 3000
    assert not report.complete
    assert f"{tally.skipped} points were not reached in time" in str(report)


def test_progress_is_told() -> None:
    seen: list[int] = []

    def tell(tally: Tally) -> None:
        seen.append(tally.images)

    crash_check(transfer, setup=open_accounts, media="file", nested=0, progress=tell)
    assert seen == sorted(seen)
    assert seen[-1] > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"media": ()}, "media must be of direct, eadr, file"),
        ({"media": ("direct", "tape")}, "not 'tape'"),
        ({"media": "tape"}, "not 'tape'"),
        ({"images": 1}, "images must be at least 2"),
        ({"nested": -1}, "nested at least 0"),
        ({"seconds": 0}, "seconds more than 0"),
        ({"size": "2G"}, "too much to be explored"),
        ({"size": "large"}, "size"),
    ],
)
def test_odd_arguments_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        crash_check(transfer, no_money_is_lost, setup=open_accounts, **options)  # type: ignore[arg-type]


# ---- contents ----


def test_contents_tell_apart_what_equality_does_not(tmp_path: Path) -> None:
    """1, 1.0 and True; the order of a dict; one container twice, or two equal ones."""

    def of(fill: Callable[[pmemstore.Dict], object]) -> str:
        with pmemstore.open(tmp_path / "c.pool", "n", size="512K") as pool:
            fill(pool.root)
            return repr(contents(pool))

    def shared(root: pmemstore.Dict) -> None:
        root["a"] = []
        root["b"] = root["a"]

    def circle(root: pmemstore.Dict) -> None:
        root["a"] = {}
        root["a"]["up"] = root["a"]

    fills: list[Callable[[pmemstore.Dict], object]] = [
        lambda root: root.update(a=1, b=2),
        lambda root: root.update(b=2, a=1),
        lambda root: root.update(a=1.0, b=2),
        lambda root: root.update(a=True, b=2),
        lambda root: root.update(a=[], b=[]),
        shared,
        circle,
    ]
    assert len({of(fill) for fill in fills}) == len(fills)
    assert of(lambda root: root.update(s=frozenset("abcdef"))) == of(
        lambda root: root.update(s=frozenset("fedcba"))
    )
