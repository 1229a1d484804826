"""Lets the tests of this directory import ``writer``, which is a program too; explores for them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmemstore import Pool
from pmemstore.testing import crash_check

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def no_state_between() -> Callable[..., None]:
    """Explores a scenario on one medium, in a small log, with crashes inside recovery too."""

    def explore(scenario: Callable[[Pool], None], medium: str, **options: Any) -> None:
        options = {"log_size": "4K", "images": 4, "nested": 2, **options}
        report = crash_check(scenario, media=[medium], seconds=600, keep=None, **options)
        tally = report.media[medium]
        assert tally.skipped == 0
        assert tally.points > 10
        assert tally.crashes_inside_recovery >= 2

    return explore
