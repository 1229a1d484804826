"""The schemas of a pool: which one a class writes, and how records with another one are read.

A schema is bound to a class of this process when the first record with it is looked at.
``current`` gives the one that a class writes, and makes or replaces it when there is need.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from pmemstore._native import lib
from pmemstore.containers.kinds import kind_of
from pmemstore.errors import NotPersistableError, PoolCorruptError, SchemaMismatchError
from pmemstore.records.layout import FRESH, Info, Mismatch, Plan, plan, revive
from pmemstore.values import pack_value, unpack

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Schema", "current", "declare", "migrate", "schemas", "verify"]

_BATCH: Final = 256

_generic: list[Any] = []  # makes a class of an Info: classes.py, which stands above, sets it


class Schema(_slots.SchemaBase):
    """What the records of one class look like in a pool."""

    __slots__ = ("info", "plan", "version")

    info: Info
    plan: Plan | None
    version: int

    def read(self) -> None:
        """Read what is stored, once; nothing of it is believed.

        Raises:
            PoolCorruptError: The description does not describe the stored layout.
        """
        if hasattr(self, "info"):
            return
        size, fingerprint, places, packed, text = self._load()
        if packed:
            text = unpack(lib.PMS_TAG_PACKED, text)
        try:
            info, version = revive(text, _generic[0])
        except ValueError as error:
            raise self._damaged(f"its description is wrong: {error}") from error
        if (info.bytes, info.places) != (size, places) or info.fingerprint() != fingerprint:
            raise self._damaged("its fields do not lie where its description says")
        self.info, self.version = info, version

    def bind(self, cls: Any) -> None:
        """Let records of this schema be instances of a class.

        Raises:
            SchemaMismatchError: The class cannot read them.
        """
        self.read()
        mine = cls.__record__
        if mine is self.info or mine.key() == self.info.key():
            self.plan = None
            self._bind(cls, None, ())
            return
        try:
            self.plan = plan(mine.items, self.info)
        except Mismatch as error:
            raise _mismatch(self, mine, error.reasons) from None
        self._bind(cls, self.plan.source, self.plan.fallback)

    def _damaged(self, what: str) -> PoolCorruptError:
        return PoolCorruptError(
            f"{self._pool.path}: the schema at offset {self._offset} is damaged: {what}. Nothing "
            "was changed; restore a backup.",
            path=self._pool.path,
            offset=self._offset,
        )


_slots.set_type(lib.PMS_TAG_SCHEMA, Schema)


# ---- classes of this process

_declared: dict[str, dict[tuple[str, str], weakref.ref[Any]]] = {}  # by name, by place
# How each class writes its first schema, the youngest first: all that open looks at.
_ways: dict[str, tuple[tuple[weakref.ref[Any], Any, int, bytes], ...]] = {}
_met: set[weakref.ref[Schema]] = set()  # with a class of their own: bound to it, or about to be


def _known(name: str) -> list[Any]:
    """Classes of this process with a name, the youngest first."""
    known = list(_declared.get(name, {}).values())
    return [cls for reference in reversed(known) if (cls := reference()) is not None]


def _place(cls: Any) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def declare(name: str, cls: Any) -> None:
    """Let a class stand for a name, instead of one that was declared in the same place before."""
    known = _declared.setdefault(name, {})
    for place, other in list(known.items()):
        if place == _place(cls) or other() is None:
            known.pop(place, None)
    known[_place(cls)] = weakref.ref(cls)  # the youngest comes last
    _remember(name)
    for reference in _met.copy():
        schema = reference()
        old = None if schema is None else schema._type or _owner(schema)
        if schema is None or old is None or old.__record__.name != name:
            continue
        if old.__record__.generic or _place(old) == _place(cls):
            schema._unbind()
            schema._pool._schemas_owner.pop(name, None)


def _remember(name: str) -> list[Any]:
    """Make the ways of the classes with a name anew, and return those."""
    known = _known(name)
    _ways[name] = tuple((weakref.ref(cls), cls._layout, *cls.__record__.stored) for cls in known)
    return known


def _bind(schema: Schema) -> None:
    """Find the class of a schema (hook of the slots)."""
    schema.read()
    classes = _candidates(schema)
    if not classes:
        if not schema.info.generic:  # of a class that is gone
            del schema.info
            schema.read()
        classes = [_generic[0](schema.info)]
    _bind_to(schema, classes)


def _owner(schema: Schema) -> Any:
    """Class that the schema's pool has met under this name; None: none yet."""
    return schema._pool._schemas_owner.get(schema.info.name)


def _candidates(schema: Schema) -> list[Any]:
    """Classes that may read a schema: the one that the pool has met, or those of this process."""
    owner = _owner(schema)
    if owner is not None:
        return [owner]
    info = schema.info
    return sorted(
        _known(info.name),
        key=lambda cls: cls.__record__ is not info and cls.__record__.key() != info.key(),
    )


def _bind_to(schema: Schema, classes: list[Any]) -> None:
    """Bind a schema to the first class that can read it."""
    first: SchemaMismatchError | None = None
    for cls in classes:
        try:
            schema.bind(cls)
        except SchemaMismatchError as error:
            first = first or error
            continue
        _meet(schema, cls)
        return
    assert first is not None
    raise first


def _meet(schema: Schema, cls: Any) -> None:
    """Let a class have the name of a schema in its pool."""
    pool = schema._pool  # as long as it is open: an offset keeps its meaning
    pool._schemas_seen[schema._offset] = schema
    pool._schemas_owner[schema.info.name] = cls
    _met.add(weakref.ref(schema, _met.discard))


# ---- the schema of a class


def current(pool: Any, cls: Any) -> Schema:
    """Return the schema that records of a class are written with; it may be made now.

    Args:
        pool: The pool.
        cls: A record class.

    Raises:
        NotPersistableError: The class is not the one that has this name in this process.
        SchemaMismatchError: It cannot read what is stored under its name.
    """
    info = cls.__dict__.get("__record__")
    if info is None:
        raise _refused(cls, "it is a subclass of a record class: decorate it with @record too")
    schema = pool._schemas_current.get(cls)
    if schema is not None and schema._live and schema._type is cls and not schema._outdated:
        return schema  # type: ignore[no-any-return] # of a dict of the pool
    owner = pool._schemas_owner.get(info.name, cls)
    if owner is not cls and owner.__record__.generic:
        owner = cls
    known = _declared.get(info.name, {}).get(_place(cls))
    declared = None if known is None else known()
    declared = cls if declared is None else declared
    if owner is not cls or declared is not cls:
        raise _refused(
            cls,
            "it was declared anew: make the record with the new class"
            if _place(owner) == _place(cls)
            else f"it is not the record class {info.name!r} of this pool, which is "
            f"{'.'.join(_place(owner))}; give one of them @record(name=...)",
        )
    with pool.transaction():
        schema = _current(pool, cls, info)
    pool._schemas_current[cls] = schema
    return schema


def _current(pool: Any, cls: Any, info: Info) -> Schema:
    names = pool._schemas(True)
    stored = names.get(info.name)
    version = 1
    if stored is not None:
        if stored._type is not cls:
            _bind_to(stored, [cls])
        if not stored._outdated:
            return stored  # type: ignore[no-any-return] # values of a Dict are Any
        version = stored.version + 1
    text = pack_value(info.describe(version))[1]
    fresh: Schema = pool._new_schema(cls._layout, info.fingerprint(), text)
    names[info.name] = fresh
    _bind_to(fresh, [cls])
    return fresh


def _refused(cls: Any, why: str) -> NotPersistableError:
    name = ".".join(_place(cls))
    error = NotPersistableError(f"{name}: cannot be kept in a pool; {why}")
    error.parts = ("", name, why)
    return error


def verify(pool: Any) -> None:
    """Compare the classes of this process with what a pool stores under their names.

    Raises:
        SchemaMismatchError: One cannot read it.
    """
    for name, schema, reference in pool._written(_ways):
        cls = None if reference is None else reference()
        if cls is not None:  # it writes this very schema, which is bound later, and not revived
            schema.info, schema.version = cls.__record__, 1
            _meet(schema, cls)
        elif _remember(name):  # without the classes that are gone
            _bind(schema)


def schemas(pool: Any) -> dict[str, str]:
    """Return the newest schema of each record class of a pool, in words."""
    names = pool._schemas(False)
    found = {}
    for name, schema in () if names is None else names.items():
        schema.read()
        rows = [f"{place[1]:>6}  {label}" for label, place in _rows(schema.info)]
        head = f"{name}, version {schema.version}, {schema.info.bytes} bytes"
        found[name] = "\n".join([head, *rows])
    return found


def _rows(info: Info) -> list[tuple[str, tuple[int, ...]]]:
    return [
        (f"{item.name}: {item.spec}", info.places[info.first[i]])
        for i, item in enumerate(info.items)
        if info.span(i).start < info.span(i).stop
    ]


# ---- records with an old schema


def _upgrade(record: Any) -> None:
    """Give a record the schema of its class (hook of the slots)."""
    pool = record._pool
    with pool.transaction():
        target = current(pool, type(record))
        old = record._schema
        if not old._outdated:
            return
        record._reshape(target, _missing(type(record).__record__, old.plan))


def _missing(info: Info, how: Plan) -> tuple[Any, ...]:
    """Leaves for a new body: those that have no source; Ellipsis for the others."""
    leaves = [
        Ellipsis if source >= 0 else fallback
        for source, fallback in zip(how.source, how.fallback, strict=True)
    ]
    _make_fresh(info, how, leaves)
    return tuple(leaves)


def _make_fresh(info: Info, how: Plan, leaves: list[Any]) -> None:
    for i, item in enumerate(info.items):
        _fresh_item(item, info.span(i).start, how, leaves)


def _fresh_item(item: Any, first: int, how: Plan, leaves: list[Any]) -> None:
    count = len(item.spec.leaves())
    wanted = [
        k for k in range(first, first + count) if how.source[k] < 0 and how.fallback[k] is FRESH
    ]
    if not wanted:
        return
    if item.factory is not None and len(wanted) == count:
        leaves[first : first + count] = item.encode(item.factory())
        return
    inner = item.spec.cls.__record__  # some fields of a record that lies inline
    for i, one in enumerate(inner.items):
        _fresh_item(one, first + inner.first[i], how, leaves)


def _fresh(record: Any) -> tuple[Any, ...] | None:
    """Make the defaults that are made anew each time (hook of the slots).

    None: the record has them now.  In a pool that is only read: all leaves, those filled in.
    """
    if record._pool.flag != "r":
        _upgrade(record)
        return None
    how = record._schema.plan
    leaves: list[Any] = [None] * len(how.source)
    _make_fresh(type(record).__record__, how, leaves)
    return tuple(leaves)


_slots.set_record_hooks(_bind, _upgrade, _fresh)


def migrate(pool: Any) -> int:
    """Rewrite all records of a pool whose classes have another layout by now.

    Args:
        pool: The pool.

    Returns:
        How many records were rewritten.
    """
    done = _rewrite(pool, [])  # refuses a pool that is only read
    todo: list[Any] = [pool.root]
    seen = {pool.root._offset}
    batch: list[Any] = []  # looked into when they have been rewritten: a look may rewrite
    while todo or batch:
        looked = []
        if not todo or len(batch) == _BATCH:
            done += _rewrite(pool, batch)
            looked, batch = batch, []
        elif isinstance(todo[-1], _slots.RecordBase) and todo[-1]._schema._outdated:
            batch.append(todo.pop())
        else:
            looked = [todo.pop()]
        for proxy in looked:
            todo += _unseen(pool, proxy, seen)
    return done


def _unseen(pool: Any, proxy: Any, seen: set[int]) -> list[Any]:
    """Containers inside a container that have not been seen yet."""
    kind = kind_of(proxy)
    assert kind is not None
    found = []
    for _, item in kind.items(proxy):
        if getattr(item, "_pool", None) is pool and item._offset not in seen:
            seen.add(item._offset)
            found.append(item)
    return found


def _rewrite(pool: Any, batch: list[Any]) -> int:
    done = 0
    with pool.transaction():
        for record in batch:
            if record._schema._outdated:
                _upgrade(record)
                done += 1
    return done


# ---- two layouts side by side


def _mismatch(schema: Schema, mine: Info, reasons: dict[str, str]) -> SchemaMismatchError:
    stored = {item.name: (str(item.spec), place) for item, place in _placed(schema.info)}
    declared = {item.name: (str(item.spec), place) for item, place in _placed(mine)}
    rows = [("field", "stored", "declared", "")]
    for name in dict.fromkeys([*stored, *declared]):
        why = "; ".join(text for place, text in reasons.items() if place.split(".")[0] == name)
        rows.append((name, _at(stored.get(name)), _at(declared.get(name)), why))
    rows.append(("(bytes)", str(schema.info.bytes), str(mine.bytes), ""))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = []
    for *cells, why in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append("  " + (f"{line}  <- {why}" if why else line.rstrip()))
    table = "\n".join(lines)
    path = schema._pool.path
    return SchemaMismatchError(
        f"record class {mine.name} cannot read what {path} stores under this name (version "
        f"{schema.version}):\n{table}\nNothing was changed; give new fields a default, name former "
        "names with field(was=...), widen types only, or declare the class under another name "
        "with @record(name=...).",
        path=path,
    )


def _placed(info: Info) -> list[tuple[Any, int]]:
    return [
        (item, info.places[info.first[i]][1] if info.first[i] < len(info.places) else 0)
        for i, item in enumerate(info.items)
    ]


def _at(found: tuple[str, int] | None) -> str:
    return "-" if found is None else f"{found[0]} at {found[1]}"
