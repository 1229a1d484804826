"""Crashes as steps of a Hypothesis state machine: they are drawn, and they shrink.

    class Bank(CrashStateMachine):
        def __init__(self):
            super().__init__()
            self.model = {}

        def read(self, pool):
            return dict(pool.root)

        @rule(name=st.text(max_size=3), amount=st.integers(0, 9))
        def deposit(self, name, amount):
            self.pool.root[name] = self.pool.root.get(name, 0) + amount
            self.model[name] = self.model.get(name, 0) + amount

    TestBank = Bank.TestCase

The step ``crash`` is there already.  It ends the process at any moment since the crash before, lets
any choice of what was not durable survive, opens the pool again, and demands that its contents are
the model from before or after the step that was under way.  The machine then goes on from there.
After each step without a crash the contents must be the model, too.  What ``__init__`` and
initialize rules store is there before the first step, and not crashed.

Needs Hypothesis.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pmemstore import opening as pools
from pmemstore._native import ffi
from pmemstore.pool import Pool
from pmemstore.recorder import Recorder
from pmemstore.testing.medium import ImageFile, Item, Machine, Play
from pmemstore.testing.subject import medium

__all__ = ["CrashStateMachine"]

# What is drawn has the same shape whatever the pool does: how many moments there are, and what can
# be lost there, depends on numbers that each pool draws for itself, and Hypothesis would call a
# test flaky whose choices depend on them.
_NUMBER: Final = st.integers(0, 2**16 - 1)
_LOSSES: Final = st.lists(st.tuples(_NUMBER, _NUMBER), max_size=8)

_fresh: dict[str, bytes] = {}  # a new pool, by medium and options: equal steps, equal files


def _tell(items: Sequence[Item], states: Sequence[int]) -> None:
    for item, state in zip(items, states, strict=True):
        if state != item.states - 1:
            whole = "all of" if state == 0 else "a part of"
            note(f"lost: {whole} what was stored to the {item.kind} at {item.offset}")


class CrashStateMachine(RuleBasedStateMachine):
    """A state machine whose pool crashes.  Subclass it; see the module's docstring.

    Attributes:
        medium: ``direct``, ``file`` or ``eadr``.
        options: Of ``pmemstore.open``.
        cycles: Containers that only keep each other alive are fine after a crash, if
            ``Pool.collect()`` frees them.
        model: What the pool should contain, maintained by your rules; anything that can be
            copied and compared.
        pool: The open pool.  It is another one after each crash: keep no proxies.
    """

    medium: ClassVar[str] = "direct"
    options: ClassVar[dict[str, Any]] = {"size": "512K", "log_size": "16K"}
    cycles: ClassVar[bool] = False
    model: Any = None

    def __init__(self) -> None:
        super().__init__()
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._folder = tempfile.mkdtemp(prefix="pmemstore-crash-", dir=where)
        self._lives = 0
        path = os.path.join(self._folder, "life-0.pool")
        key = f"{self.medium} {sorted(self.options.items())}"
        if key not in _fresh:
            with medium(self.medium):
                pools.open(path, "n", **self.options).close()
            _fresh[key] = Path(path).read_bytes()
        Path(path).write_bytes(_fresh[key])
        self._start(path)

    def read(self, pool: Pool) -> Any:
        """Return what the pool contains, in the form of ``model``.

        Args:
            pool: An open pool.
        """
        raise NotImplementedError("define read(self, pool): the contents, to compare with model")

    def _start(self, path: str) -> None:
        before = Path(path).read_bytes()
        self._machine = Machine(eadr=self.medium == "eadr")
        self._machine.load(ffi.from_buffer(before), len(before))
        self._recorder = Recorder()
        with medium(self.medium):
            self.pool = pools.open(path, "w", recorder=self._recorder)
        self._steps: list[tuple[int, Any]] = []  # events so far, and the model, after each step

    @invariant()
    def remember_the_model(self) -> None:
        """After each step: the contents, and what a crash may go back to."""
        found = self.read(self.pool)
        assert found == self.model, (
            f"without a crash, the pool contains {found!r}, and the model is {self.model!r}"
        )
        self._steps.append((len(self._recorder), copy.deepcopy(self.model)))

    @precondition(lambda self: len(self._steps) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """The process ends, at a moment that is drawn; what was not durable may be lost."""
        # What the first life begins with was put there by __init__ and initialize rules: no step.
        begin = 0 if self._lives else self._steps[0][0]
        moments = [n for n in Play(self._recorder, self._machine.another()) if n >= begin]
        moments.append(len(self._recorder))
        chosen = data.draw(_NUMBER, label="moment, from the last one back")
        moment = moments[-1 - chosen % len(moments)]
        for number in Play(self._recorder, self._machine):
            if number == moment:
                break
        states = self._draw_states(data)
        self.pool.close()
        path = self._materialise(states)
        allowed = self._allowed(moment)
        recorder = self._recorder
        when = f"just before {recorder.event(moment)}," if moment < len(recorder) else "at the end"
        self._start(path)
        result = self.pool.check()
        if self.cycles and result.unreachable and not result.damage:
            self.pool.collect()
            result = self.pool.check()
        assert result.ok, f"after a crash {when}: {result.problems[0]}"
        found = self.read(self.pool)
        matches = [model for model in allowed if model == found]
        assert matches, (
            f"after a crash {when} the pool contains {found!r}, which is neither what "
            f"it contained before the step under way, {allowed[0]!r}, nor after it, {allowed[-1]!r}"
        )
        self.model = copy.deepcopy(matches[-1])

    def _draw_states(self, data: st.DataObject) -> list[int]:
        """States of what is not durable; a kill, which loses nothing, is what failures shrink to.

        Each loss is an item and how it is lost: 1 wholly, others in part.
        """
        items = self._machine.items()
        newest = [item.states - 1 for item in items]
        everything = data.draw(st.booleans(), label="lose everything but")
        states = [0] * len(newest) if everything else list(newest)
        chosen = data.draw(_LOSSES, label="these" if everything else "lose these")
        free = [i for i, last in enumerate(newest) if last > 0]
        for which, how in chosen if free else ():
            i = free[which % len(free)]
            part = newest[i] if how == 1 else how % (newest[i] + 1)
            states[i] = part if everything else newest[i] - part
        _tell(items, states)
        return states

    def _materialise(self, states: list[int]) -> str:
        self._machine.build(states)
        self._lives += 1
        path = os.path.join(self._folder, f"life-{self._lives}.pool")
        image = ImageFile(path)
        image.put(*self._machine.image)
        image.close()
        return path

    def _allowed(self, moment: int) -> list[Any]:
        """The model before the step in which the moment is, and after it."""
        done = bisect_right([events for events, _ in self._steps], moment)
        return [model for _, model in self._steps[max(0, done - 1) : done + 1]]

    def teardown(self) -> None:
        """Remove the files."""
        self.pool.close()
        shutil.rmtree(self._folder, ignore_errors=True)
