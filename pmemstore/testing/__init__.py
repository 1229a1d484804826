"""Crash tests for your own code: every state that a kill or a power cut could leave, looked at.

    from pmemstore.testing import crash_check

    def test_no_crash_loses_money():
        crash_check(transfer, invariant=lambda pool: sum(pool.root["accounts"].values()) == 100,
                    setup=open_accounts)

* ``crash_check`` for pools, ``crash_check_mapping`` for raw mappings
* the pytest fixtures of these names are the same, with options of the command line
* ``pmemstore.testing.stateful`` for Hypothesis: crashes are steps, and shrink like all others
* ``python -m pmemstore.testing IMAGE`` opens the image of a violation again

docs/testing.md is the guide.
"""

from pmemstore.recorder import Event, Line, Recorder
from pmemstore.testing.check import crash_check, crash_check_mapping
from pmemstore.testing.report import CrashReport, CrashViolation, Missing, Tally
from pmemstore.testing.subject import acknowledge, contents

__all__ = [
    "CrashReport",
    "CrashViolation",
    "Event",
    "Line",
    "Missing",
    "Recorder",
    "Tally",
    "acknowledge",
    "contents",
    "crash_check",
    "crash_check_mapping",
]
