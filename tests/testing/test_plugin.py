"""The fixtures and options that pmemstore brings to pytest, run as a user runs them."""

from __future__ import annotations

import re
import sys

import pytest

pytest_plugins = ["pytester"]

BANK = """
def open_accounts(pool):
    pool.root["accounts"] = {"a": 100, "b": 0}

def transfer(pool):
    accounts = pool.root["accounts"]
    accounts["a"] -= 30
    accounts["b"] += 30

def transfer_at_once(pool):
    with pool.transaction():
        transfer(pool)

def no_money_is_lost(pool):
    return sum(pool.root["accounts"].values()) == 100

def append(mapping):
    with mapping.view() as view:
        view[64] = 1
        view[0] = 1
    mapping.persist()

def is_whole(mapping):
    with mapping.view() as view:
        return view[64] or not view[0]
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(bank=BANK)
    pytester.syspathinsert()
    return pytester


def test_a_passing_check_says_what_it_has_looked_at(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import bank

        def test_transfer(crash_check):
            report = crash_check(
                bank.transfer_at_once, bank.no_money_is_lost, setup=bank.open_accounts, nested=2
            )
            assert list(report.media) == ["direct", "file"]
        """
    )
    result = run.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [
            r".*crash images.*",
            r"test_\w+\.py::test_transfer  direct: no violation in [\d,]+ images \(",
            r"test_\w+\.py::test_transfer  file: no violation in [\d,]+ images \(",
        ]
    )


def test_a_failing_check_shows_the_report_and_not_our_lines(run: pytest.Pytester) -> None:
    """The traceback ends in the user's test; the image can be judged again as the report says."""
    run.makepyfile(
        """
        import bank

        def test_transfer(crash_check):
            crash_check(bank.transfer, bank.no_money_is_lost, setup=bank.open_accounts)
        """
    )
    result = run.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "after a crash the invariant no_money_is_lost returned False" in text
    assert "if these two belong together, make them one" in text
    assert "explore.py" not in text
    assert "def _check" not in text
    again = re.search(r"to see it again: python (-m pmemstore.testing .*)", text)
    assert again is not None
    done = run.run(sys.executable, *again[1].split())
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        [
            "when it was found: after a crash the invariant no_money_is_lost returned False",
            "contents: {'accounts': {'a': 70, 'b': 0}}",
            "now: the invariant no_money_is_lost returned False",
        ]
    )


def test_options_win_over_arguments(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import bank

        def test_counts(crash_check):
            options = dict(setup=bank.open_accounts, media="direct")
            tally = crash_check(
                bank.transfer_at_once, images=64, nested=9, seed=1, **options
            ).media["direct"]
            assert tally.images <= 3 * tally.points
            assert tally.crashes_inside_recovery == 3

        def test_keep(crash_check):
            crash_check(bank.transfer, bank.no_money_is_lost, setup=bank.open_accounts)
        """
    )
    result = run.runpytest_inprocess(
        "-p",
        "no:cacheprovider",
        "--crash-images=3",
        "--crash-nested=1",
        "--crash-seconds=30",
        "--crash-seed=5",
        "--crash-keep=kept",
    )
    result.assert_outcomes(passed=1, failed=1)
    assert "seed 5" in result.stdout.str()
    assert len(list((run.path / "kept").glob("crash-*.image"))) == 1
    assert not (run.path / ".pmemstore-crashes").exists()


def test_a_fixture_for_raw_mappings(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import bank

        def test_append(crash_check_mapping):
            crash_check_mapping(bank.append, bank.is_whole, size=4096)
        """
    )
    result = run.runpytest_inprocess("-p", "no:cacheprovider", "--crash-keep=kept")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*the invariant is_whole returned *", "*line at 64: bytes 64 to 71;*"]
    )


def test_pytest_without_crash_tests_says_nothing_of_them(run: pytest.Pytester) -> None:
    """The plugin is loaded with every pytest of an environment that has pmemstore."""
    run.makepyfile("def test_nothing(): pass")
    result = run.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert "crash images" not in result.stdout.str()
    assert "--crash-images" in run.runpytest_inprocess("--help").stdout.str()
