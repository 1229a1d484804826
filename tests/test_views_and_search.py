"""What reads many items in one look: algebra of dict views, search in lists, what tools show."""

from __future__ import annotations

import copy
import operator
import pickle
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import Pool
from pmemstore.cli import main
from pmemstore.testing import contents
from pmemstore.testing.subject import shown

if TYPE_CHECKING:
    from conftest import Medium

ALGEBRA = [operator.and_, operator.or_, operator.sub, operator.xor]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
STRANGE = object()  # no pool can keep it


def outcome(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except TypeError:
        return TypeError


@pytest.mark.parametrize("size", [0, 3, 200])
@pytest.mark.parametrize("view", ["keys", "items"])
def test_views_have_the_algebra_of_the_builtin(view: str, size: int, pool: Pool) -> None:
    """With sets, lists, views of both kinds and Sets; few, many, and some that are no keys."""
    plain: Any = {i: str(i) for i in range(size)}
    pool.root["d"] = plain
    pool.root["e"] = {i: str(i) for i in range(2, 5)}
    pool.root["s"] = {1, (2, "2"), "x"}
    ours, theirs = getattr(pool.root["d"], view)(), getattr(plain, view)()
    others: list[tuple[Any, Any]] = [
        (other, other)
        for other in (
            *(set(), {1, (2, "2")}, frozenset({0.0, True}), [1, (1, "1")], "ab", 5, None, [[]]),
            *(set(range(300)), dict(plain).keys(), dict(plain).items(), {1: "1"}.items()),
            *({STRANGE, 1}, {(1, STRANGE)}, {(STRANGE, 1)}),
        )
    ]
    others += [
        (getattr(pool.root["e"], v)(), getattr(copy.copy(pool.root["e"]), v)())
        for v in ("keys", "items")
    ]
    others += [(pool.root["s"], {1, (2, "2"), "x"})]
    for other, twin in others:
        for function in ALGEBRA:
            expected = outcome(lambda: function(theirs, twin))  # noqa: B023 - called at once
            assert outcome(lambda: function(ours, other)) == expected  # noqa: B023 - at once
            expected = outcome(lambda: function(twin, theirs))  # noqa: B023 - at once
            assert outcome(lambda: function(other, ours)) == expected  # noqa: B023 - at once
        for test in COMPARISONS:
            expected = outcome(lambda: test(theirs, twin))  # noqa: B023 - at once
            assert outcome(lambda: test(ours, other)) == expected  # noqa: B023 - at once
        expected = outcome(lambda: theirs.isdisjoint(twin))  # noqa: B023 - at once
        assert outcome(lambda: ours.isdisjoint(other)) == expected  # noqa: B023 - at once


def test_items_with_values_that_have_no_hash(pool: Pool) -> None:
    pool.root["d"] = {"a": [1], "b": 2}
    items = pool.root["d"].items()
    assert ("a", [1]) in items
    assert items & {("b", 2)} == {("b", 2)}
    with pytest.raises(TypeError, match="unhashable"):
        items | {1}


def test_views_refuse_to_be_copied_and_pickled(pool: Pool) -> None:
    for view in (pool.root.keys(), pool.root.values(), pool.root.items()):
        for action in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="list"):
                action(view)


def test_popitem_takes_its_argument_by_name(pool: Pool) -> None:
    pool.root.update(a=1, b=2)
    with pytest.raises(TypeError):
        pool.root.popitem(False)  # type: ignore[misc] # that is refused is the point
    assert pool.root.popitem(last=False) == ("a", 1)


# ---- search


@pytest.mark.parametrize("make", [list, deque])
def test_search_in_long_sequences(make: Callable[[Any], Any], pool: Pool) -> None:
    """Across the borders of what is read at once, with every start and stop."""
    model = make([*range(700), None, "text", (1, 2), [3], *range(700)])
    pool.root["x"] = model
    stored = pool.root["x"]
    for value in (0, 7, 8, 263, 264, 699, None, "text", (1, 2), [3], 5.0, True):
        assert value in stored
        assert stored.index(value) == model.index(value)
        assert stored.count(value) == model.count(value)
    for start in (0, 1, 8, 500, 703, -1, -5000, 5000):
        for stop in (0, 300, 1404, -1, -700, 10**30):
            for value in (3, 699):
                expected = (
                    model.index(value, start, stop) if value in list(model)[start:stop] else None
                )
                if expected is None:
                    with pytest.raises(ValueError, match="is not in"):
                        stored.index(value, start, stop)
                else:
                    assert stored.index(value, start, stop) == expected
    for missing in ("no", STRANGE, float("nan")):
        assert missing not in stored
        assert stored.count(missing) == 0


class Meddler:
    """Equals what it is told to, and does something with each comparison."""

    def __init__(self, equal: object, act: Callable[[], object]) -> None:
        self.equal, self.act, self.compared = equal, act, 0

    def __eq__(self, other: object) -> bool:
        self.compared += 1
        self.act()
        return other == self.equal

    __hash__ = None  # type: ignore[assignment] # equality alone


def test_a_search_in_a_list_sees_what_comparisons_change(pool: Pool) -> None:
    """As in the builtin: items behind the place are those that are there when it comes to them."""
    for act in (lambda x: x.append("late"), lambda x: x.pop(), lambda x: x.clear(), lambda x: None):
        model: Any = list(range(50))
        pool.root["x"] = model
        stored = pool.root["x"]
        for wanted in ("late", 30, 45):
            ours, theirs = (
                Meddler(wanted, lambda x=x: act(x) if len(x) < 60 else None)  # noqa: B023 - at once
                for x in (stored, model)
            )
            assert (ours in stored) == (theirs in model)
            assert ours.compared == theirs.compared
            assert stored == model


def test_removing_is_one_unit_with_its_search(pool: Pool) -> None:
    """What a comparison changed goes back with it if nothing is found."""
    pool.root["x"] = list(range(20))
    with pytest.raises(ValueError, match="not in list"):
        pool.root["x"].remove(Meddler("nothing", lambda: pool.root.update(seen=1)))
    assert "seen" not in pool.root


# ---- what tools show


def test_contents_tell_kinds_and_orders_apart(pool: Pool) -> None:
    """The oracle of crash tests sees the order of sets and the bounds of deques."""
    seen = set()
    for value in ({1, 2}, deque([1, 2]), deque([1, 2], 2), [1, 2], set(), deque(), {}):
        pool.root["x"] = value
        seen.add(repr(contents(pool)))
    pool.root["x"] = set()
    for element in (2, 1):
        pool.root["x"].add(element)
    seen.add(repr(contents(pool)))
    assert len(seen) == 8
    pool.root["x"] = deque([{1}, [2], set()], 5)
    assert shown(contents(pool)) == "{'x': deque([{1}, [2], set()], maxlen=5)}"


def test_dump_shows_sets_and_deques(medium: Medium, capsys: pytest.CaptureFixture[str]) -> None:
    path: Path = medium.folder / "dump.pool"
    with pmemstore.open(path, "n") as pool:
        pool.root.update(s={"ada"}, q=deque([{1}, "two"], 9))
    assert main(["dump", str(path)]) == 0
    text = capsys.readouterr().out
    for line in ("'s': Set of 1", "0: 'ada'", "'q': Deque of 2", "0: Set of 1", "1: 'two'"):
        assert line in text
    assert main(["dump", str(path), "--json"]) == 0
    assert '"ada"' in capsys.readouterr().out
