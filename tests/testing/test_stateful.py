"""Crashes as steps of a state machine: wrong applications fail in few steps, right ones pass."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

import pmemstore
from pmemstore.testing.stateful import CrashStateMachine

NAMES = st.sampled_from(["a", "b"])
AMOUNTS = st.integers(0, 9)


class Shop(CrashStateMachine):
    """Orders, and how many there are."""

    options: ClassVar[dict[str, Any]] = {"size": "512K", "log_size": "16K"}

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Any] = {"count": 0}
        with self.pool.transaction():
            self.pool.root["count"] = 0

    def read(self, pool: pmemstore.Pool) -> dict[str, Any]:
        return dict(pool.root.items())

    def order(self, name: str, amount: int) -> None:
        self.pool.root[name] = amount
        self.pool.root["count"] += 1


class RightShop(Shop):
    @rule(name=NAMES, amount=AMOUNTS)
    def buy(self, name: str, amount: int) -> None:
        with self.pool.transaction():
            self.order(name, amount)
        self.model[name] = amount
        self.model["count"] += 1


class WrongShop(Shop):
    @rule(name=NAMES, amount=AMOUNTS)
    def buy(self, name: str, amount: int) -> None:
        self.order(name, amount)
        self.model[name] = amount
        self.model["count"] += 1


class ForgetfulShop(RightShop):
    """A step that the model knows and the pool does not: wrong without any crash."""

    @rule()
    def forget(self) -> None:
        self.model["count"] = 7


def on(shop: type[Shop], medium: str) -> type[Shop]:
    return type(f"{shop.__name__}_{medium}", (shop,), {"medium": medium})


def run(shop: type[Shop], examples: int, steps: int = 8) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call] # of Hypothesis
        shop,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("medium", ["direct", "file", "eadr"])
def test_a_right_application_passes(medium: str) -> None:
    """Also with Hypothesis' own check that a test draws the same each time."""
    run(on(RightShop, medium), 20)


@pytest.mark.parametrize("medium", ["direct", "file"])
def test_a_wrong_application_shrinks_to_one_order_and_one_crash(medium: str) -> None:
    with pytest.raises(AssertionError) as caught:
        run(on(WrongShop, medium), 60)
    text = str(caught.value)
    assert text.startswith("after a crash just before event ")
    assert f"called by {__file__}:" in text
    assert "which is neither what it contained before the step under way" in text
    steps = [line.strip() for line in "\n".join(caught.value.__notes__).splitlines()]
    calls = [line.split("(")[0] for line in steps if line.startswith("state.")]
    calls = [call for call in calls if call != "state.remember_the_model"]
    assert calls == ["state.buy", "state.crash", "state.teardown"]
    assert "state.buy(amount=0, name='a')" in [*steps]


def test_a_model_that_is_wrong_without_a_crash_is_told_apart() -> None:
    with pytest.raises(AssertionError, match="without a crash, the pool contains"):
        run(ForgetfulShop, 60)


def test_more_invariants_and_rules_of_ones_own() -> None:
    crashes = 0

    class Counted(RightShop):
        @invariant()
        def lives_are_counted(self) -> None:
            nonlocal crashes
            crashes = max(crashes, self._lives)

    run(Counted, 20)
    assert crashes > 1  # more than one in one run: it goes on after a crash


def test_read_must_be_defined() -> None:
    class Nothing(CrashStateMachine):
        @rule()
        def step(self) -> None:
            pass

    with pytest.raises(NotImplementedError, match="define read"):
        run(Nothing, 2)  # type: ignore[arg-type]


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.access", lambda *args: False)
    monkeypatch.delenv("PMEMSTORE_FORCE_TIER", raising=False)
    descriptors = len(os.listdir("/proc/self/fd"))
    run(RightShop, 5)
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert "PMEMSTORE_FORCE_TIER" not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("medium", ["direct", "file", "eadr"])
def test_a_right_application_passes_for_long(medium: str) -> None:
    run(on(RightShop, medium), 300, steps=20)
