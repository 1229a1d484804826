"""The interpreter's own tests of dicts, lists, sets and deques, run against those of a pool.

What a test makes by ``type2test``, ``thetype``, ``dict``, ``list``, ``set`` or ``deque``, and in
the tests of dicts by ``{...: ...}``, is made in a pool, which is checked when the test is over.
What is left out has its reason on its line, and is run all the same: it must fail.
"""

from __future__ import annotations

import ast
import collections
import importlib
import inspect
import itertools
import os
import re
import shutil
import sys
import tempfile
import types
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pmemstore

pytest.importorskip("test.support", reason="this interpreter comes without its tests")


class Home:
    """The pool of the test that runs."""

    def __init__(self) -> None:
        self.pool: pmemstore.Pool | None = None
        self.names = itertools.count()

    def open(self) -> None:
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="pmemstore-", dir=where))
        self.pool = pmemstore.open(self.folder / "suite.pool", "n", size="1M")

    def close(self) -> None:
        assert self.pool is not None
        try:
            if not self.pool.closed:
                assert self.pool.check().problems == ()
                self.pool.close()
        finally:
            shutil.rmtree(self.folder)
            self.pool = None

    def make(self, value: Any) -> Any:
        """Keep a plain container in the pool, and return what it is there."""
        assert self.pool is not None
        name = f"made {next(self.names)}"
        self.pool.root[name] = value
        return self.pool.root[name]


HOME = Home()


class Maker(type):
    """A class that makes persistent containers, and calls these and the plain ones its own."""

    plain: type
    proxy: type

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = cls.plain(*args, **kwargs)
        return HOME.make(made) if HOME.pool is not None else made

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, (cls.plain, cls.proxy))

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.proxy, name)


class DictMaker(metaclass=Maker):
    plain, proxy = dict, pmemstore.Dict


class ListMaker(metaclass=Maker):
    plain, proxy = list, pmemstore.List


class SetMaker(metaclass=Maker):
    plain, proxy = set, pmemstore.Set


class DequeMaker(metaclass=Maker):
    plain, proxy = collections.deque, pmemstore.Deque


class InDicts(ast.NodeTransformer):
    """Make every ``{key: value}`` a persistent dict."""

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(ast.Name("DictMaker", ast.Load()), [node], [])


def suite(name: str, rewrite: ast.NodeTransformer | None = None, **names: Any) -> types.ModuleType:
    """Return a copy of a module of the interpreter's tests, with other names in it."""
    tree: Any = ast.parse(inspect.getsource(importlib.import_module(f"test.{name}")))
    if rewrite is not None:
        tree = ast.fix_missing_locations(rewrite.visit(tree))
    module = types.ModuleType(f"suite_{name}")
    vars(module)["DictMaker"] = DictMaker
    exec(compile(tree, f"<test.{name}>", "exec"), vars(module))
    vars(module).update(names)
    return module


# Why a test is left out.
STORED = "keeps objects of its own class, or of a subclass of a builtin, which no pool can keep"
PICKLED = "pickles; a proxy and its iterators refuse"
BORN = "makes a subclass, or calls __init__ or the type of a view or iterator: pools make these"
PLAIN = "wants what copy, fromkeys and so on return to be of the same type; it is a plain one here"
FREED = "counts references, tracked objects or bytes of memory, which a pool does not have"
NAMED = "wants the builtin's name in a text, or its very type"
SAME = "wants the very object back that it put; a pool gives an equal one"
STRICT = "changes a set and puts everything back while it iterates; told here, as with dicts"

LEFT_OUT: dict[str, dict[str, str]] = {
    "test_list.ListTest": {
        "test_contains_fake": STORED,
        "test_contains_order": STORED,
        "test_count": STORED,
        "test_index": STORED,
        "test_remove": STORED,
        "test_count_index_remove_crashes": STORED,
        "test_init": BORN,
        "test_keywords_in_subclass": BORN,
        "test_free_after_iterating": BORN,
        "test_pickle": PICKLED,
        "test_iterator_pickle": PICKLED,
        "test_reversed_pickle": PICKLED,
        "test_preallocation": FREED,
    },
    "mapping_tests.TestHashMappingProtocol": {
        "test_eq": STORED,
        "test_getitem": STORED,
        "test_pop": STORED,
        "test_repr": STORED,
        "test_setdefault": STORED,
        "test_copy": PLAIN,
        "test_fromkeys": PLAIN,
    },
    "test_dictviews.DictSetTest": {
        "test_compare_error": STORED,
        "test_deeply_nested_repr": STORED,
        "test_recursive_repr": STORED,
        "test_constructors_not_callable": BORN,
        "test_dict_repr": NAMED,
    },
    "test_dict.DictTest": {
        "test_bad_key": STORED,
        "test_container_iterator": STORED,
        "test_copy_maintains_tracking": STORED,
        "test_dict_contain_use_after_free": STORED,
        "test_eq": STORED,
        "test_equal_operator_modifying_operand": STORED,
        "test_errors_in_view_containment_check": STORED,
        "test_fromkeys_operator_modifying_dict_operand": STORED,
        "test_getitem": STORED,
        "test_init_use_after_free": STORED,
        "test_merge_and_mutate": STORED,
        "test_mutating_lookup": STORED,
        "test_pop": STORED,
        "test_repr": STORED,
        "test_resize2": STORED,
        "test_setdefault": STORED,
        "test_setdefault_atomic": STORED,
        "test_setitem_atomic_at_resize": STORED,
        "test_str_nonstr": STORED,
        "test_dict_copy_order": BORN,
        "test_missing": BORN,
        "test_free_after_iterating": BORN,
        "test_fromkeys": PLAIN,
        "test_track_dynamic": FREED,
        "test_track_literals": FREED,
        "test_items": NAMED,
        "test_keys": NAMED,
        "test_values": NAMED,
        "test_views_mapping": NAMED,
        "test_store_evilattr": NAMED,  # an object's __dict__
        "test_itemiterator_pickling": PICKLED,
        "test_iterator_pickling": PICKLED,
        "test_reverseitemiterator_pickling": PICKLED,
        "test_reverseiterator_pickling": PICKLED,
        "test_reversevaluesiterator_pickling": PICKLED,
        "test_valuesiterator_pickling": PICKLED,
    },
    "test_set.TestSet": {
        "test_badcmp": STORED,
        "test_container_iterator": STORED,
        "test_cyclical_repr": STORED,
        "test_deepcopy": STORED,
        "test_do_not_rehash_dict_keys": STORED,
        "test_gc": STORED,
        "test_subclass_with_custom_hash": BORN,
        "test_init": BORN,
        "test_new_or_init": BORN,
        "test_free_after_iterating": BORN,
        "test_pickling": PICKLED,
        "test_iterator_pickling": PICKLED,
    },
    "test_set.TestBasicOpsTriple": {"*": STORED},
    "test_set.TestBasicOpsEmpty": {"test_pickling": PICKLED},
    "test_set.TestBasicOpsSingleton": {"test_pickling": PICKLED},
    "test_set.TestBasicOpsTuple": {"test_pickling": PICKLED},
    "test_set.TestBasicOpsString": {"test_pickling": PICKLED},
    "test_set.TestBasicOpsBytes": {"test_pickling": PICKLED},
    "test_set.TestBasicOpsMixedStringBytes": {"test_pickling": PICKLED},
    "test_set.TestCopyingSingleton": {"test_copy": SAME},
    "test_set.TestCopyingTriple": {"test_copy": SAME},
    "test_set.TestCopyingTuple": {"test_copy": SAME},
    "test_set.TestCopyingNested": {"test_copy": SAME},
    "test_set.TestWeirdBugs": {"test_iter_and_mutate": STRICT},
    "test_deque.TestBasic": {
        "test_container_iterator": STORED,
        "test_contains": STORED,
        "test_contains_count_stop_crashes": STORED,
        "test_contains_count_index_stop_crashes": STORED,  # its name since 3.13
        "test_count": STORED,
        "test_index": STORED,
        "test_remove": STORED,
        "test_basics": BORN,
        "test_reversed_new": BORN,
        "test_copy": SAME,
        "test_deepcopy": SAME,
        "test_iterator_pickle": PICKLED,
        "test_pickle": PICKLED,
        "test_pickle_recursive": PICKLED,
        "test_sizeof": FREED,
    },
    "test_deque.TestSequence": {
        "test_contains_fake": STORED,
        "test_contains_order": STORED,
        "test_count": STORED,
        "test_index": STORED,
        "test_pickle": PICKLED,
    },
}

# Classes of test_set that are about other types: frozensets, subclasses, and operands that change
# sets while these compare objects of a class of the test.
OTHER_SETS = re.compile("Frozen|Subclass|Mutating")


def cases() -> Iterator[tuple[str, type[unittest.TestCase]]]:
    """Every class of tests that is run, with its name."""
    made = {"dict": DictMaker, "list": ListMaker}
    sets, deques = suite("test_set", set=SetMaker), suite("test_deque", deque=DequeMaker)
    chosen: list[tuple[type, dict[str, Any]]] = [
        (suite("test_list", list=ListMaker).ListTest, {"type2test": ListMaker}),
        (suite("mapping_tests").TestHashMappingProtocol, {"type2test": DictMaker}),
        (suite("test_dictviews", InDicts()).DictSetTest, {}),
        (suite("test_dict", InDicts(), **made).DictTest, {}),
        (deques.TestBasic, {}),
        (deques.TestVariousIteratorArgs, {}),
        (deques.TestSequence, {"type2test": DequeMaker}),
    ]
    for name, kind in vars(sets).items():
        is_case = isinstance(kind, type) and issubclass(kind, unittest.TestCase)
        if is_case and not OTHER_SETS.search(name):
            chosen.append((kind, {"thetype": SetMaker} if name == "TestSet" else {}))
    for kind, attributes in chosen:
        name = f"{kind.__module__.removeprefix('suite_')}.{kind.__name__}"
        yield name, type(kind.__name__, (kind,), attributes)


def reason(case: str, test: str) -> str | None:
    """Why a test is left out; None: it is not."""
    left_out = LEFT_OUT.get(case, {})
    return left_out.get(test, left_out.get("*"))


CLASSES = dict(cases())
TESTS = [
    (case, test)
    for case, kind in CLASSES.items()
    for test in unittest.TestLoader().getTestCaseNames(kind)
]
RUN = [pair for pair in TESTS if not reason(*pair)]
NOT_RUN = [pair for pair in TESTS if reason(*pair)]


def outcome(case: str, test: str) -> unittest.TestResult:
    result = unittest.TestResult()
    HOME.open()
    try:
        CLASSES[case](test).run(result)
    finally:
        HOME.close()
    return result


@pytest.mark.parametrize(("case", "test"), RUN, ids="::".join)
def test_of_the_interpreter(case: str, test: str) -> None:
    result = outcome(case, test)
    for _, text in result.errors + result.failures:
        pytest.fail(text)
    for _, text in result.skipped:
        pytest.skip(f"the interpreter's test skips itself: {text}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of their objects
def test_what_is_left_out_fails() -> None:
    """Otherwise it need not be left out.  Later interpreters have other tests of these names."""
    if sys.version_info[:2] == (3, 11):
        assert [pair for pair in NOT_RUN if outcome(*pair).wasSuccessful()] == []
    unknown = LEFT_OUT.keys() - CLASSES.keys()
    assert not unknown


def test_most_tests_are_run() -> None:
    """The list of what is left out does not grow unnoticed."""
    print(f"{len(TESTS)} tests, {len(RUN)} run, {len(NOT_RUN)} left out")
    assert len(RUN) > 3 * len(NOT_RUN)
    assert len(RUN) > 400
