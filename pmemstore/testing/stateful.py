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

Needs Hypothesis.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from bisect import bisect_right
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pmemstore import pool as pools
from pmemstore._native import ffi
from pmemstore.pool import Pool
from pmemstore.recorder import Recorder
from pmemstore.testing.medium import ImageFile, Machine, Play
from pmemstore.testing.subject import medium

__all__ = ["CrashStateMachine"]

_DRAWN_MAX = 24  # more lines than that are kept or lost by one number


class CrashStateMachine(RuleBasedStateMachine):
    """A state machine whose pool crashes.  Subclass it; see the module's docstring.

    Attributes:
        medium: ``direct``, ``file`` or ``eadr``.
        options: Of ``pmemstore.open``.
        model: What the pool should contain, maintained by your rules; anything that can be
            copied and compared.
        pool: The open pool.  It is another one after each crash: keep no proxies.
    """

    medium: ClassVar[str] = "direct"
    options: ClassVar[dict[str, Any]] = {"size": "512K", "log_size": "16K"}
    model: Any = None

    def __init__(self) -> None:
        super().__init__()
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._folder = tempfile.mkdtemp(prefix="pmemstore-crash-", dir=where)
        self._lives = 0
        path = os.path.join(self._folder, "life-0.pool")
        with medium(self.medium):
            pools.open(path, "n", **self.options).close()
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
        """After each step: what a crash may go back to."""
        self._steps.append((len(self._recorder), copy.deepcopy(self.model)))

    @precondition(lambda self: len(self._steps) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """The process ends, at a moment that is drawn; what was not durable may be lost."""
        moments = [*Play(self._recorder, self._machine.another()), len(self._recorder)]
        chosen = data.draw(st.integers(0, len(moments) - 1), label="moment, from the last one back")
        moment = moments[len(moments) - 1 - chosen]
        for number in Play(self._recorder, self._machine):
            if number == moment:
                break
        states = self._draw_states(data)
        self.pool.close()
        path = self._materialise(states)
        allowed = self._allowed(moment)
        at = str(self._recorder.event(moment)) if moment < len(self._recorder) else "the end"
        self._start(path)
        problems = self.pool.check().problems
        assert not problems, f"after a crash just before {at}: {problems[0]}"
        found = self.read(self.pool)
        matches = [model for model in allowed if model == found]
        assert matches, (
            f"after a crash just before {at} the pool contains {found!r}, which is neither what "
            f"it contained before the step under way, {allowed[0]!r}, nor after it, {allowed[-1]!r}"
        )
        self.model = copy.deepcopy(matches[-1])

    def _draw_states(self, data: st.DataObject) -> list[int]:
        """States of what is not durable; 0 is drawn for what survives, so failures shrink to it."""
        newest = self._machine.newest()
        open_ = [i for i, last in enumerate(newest) if last > 0]
        if len(open_) > _DRAWN_MAX:
            lost = data.draw(st.sets(st.sampled_from(open_), max_size=_DRAWN_MAX), label="lost")
            return [0 if i in lost else last for i, last in enumerate(newest)]
        for i in open_:
            item = self._machine.items()[i]
            label = f"stores lost of the {item.kind} at {item.offset}"
            newest[i] -= data.draw(st.integers(0, newest[i]), label=label)
        return newest

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
