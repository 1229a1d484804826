"""The decorator ``record``: dataclass syntax, and a class whose instances can live in a pool.

``dataclasses.dataclass`` makes ``__init__`` and the rest of it; then the class is made again on
top of the C type ``RecordBase``, with a descriptor for each field.  An instance is one of three
things that behave alike: an object in memory, the one live proxy of a record of a pool, or a
record that lies inline in one of these.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import inspect
import sys
import types
import typing
from collections.abc import Callable
from datetime import datetime
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, dataclass_transform, overload

from pmemstore._native import lib
from pmemstore.containers.convert import described_when_dead, volatile
from pmemstore.containers.kinds import Kind, register
from pmemstore.records import schemas
from pmemstore.records.layout import Info, Item, Spec, taken
from pmemstore.records.markers import ArrayOf, Fixed, Inline, Native
from pmemstore.records.specs import CellSpec, DatetimeSpec, EnumSpec, InlineSpec, NativeSpec

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Record", "field", "record"]

T = TypeVar("T")

_WAS: Final = "pmemstore.was"
_ENUM_MAX: Final = 1 << 16


@overload
def field(
    *,
    default: T,
    init: bool = True,
    repr: bool = True,
    hash: bool | None = None,
    compare: bool = True,
    metadata: typing.Mapping[Any, Any] | None = None,
    kw_only: bool = ...,
    was: str | tuple[str, ...] = (),
) -> T: ...
@overload
def field(
    *,
    default_factory: Callable[[], T],
    init: bool = True,
    repr: bool = True,
    hash: bool | None = None,
    compare: bool = True,
    metadata: typing.Mapping[Any, Any] | None = None,
    kw_only: bool = ...,
    was: str | tuple[str, ...] = (),
) -> T: ...
@overload
def field(
    *,
    init: bool = True,
    repr: bool = True,
    hash: bool | None = None,
    compare: bool = True,
    metadata: typing.Mapping[Any, Any] | None = None,
    kw_only: bool = ...,
    was: str | tuple[str, ...] = (),
) -> Any: ...
def field(
    *,
    was: str | tuple[str, ...] = (),
    metadata: typing.Mapping[Any, Any] | None = None,
    **options: Any,
) -> Any:
    """Describe a field, as ``dataclasses.field`` does, and name what it was called before.

    Args:
        was: Former name or names of the field: records that were stored with one of these are
            read by it, so it has to stay until ``Pool.migrate()`` was run.  (It is not called
            ``alias``: to type checkers that is the name of the parameter of ``__init__``.)
        metadata: As for ``dataclasses.field``.
        **options: All else that ``dataclasses.field`` takes.
    """
    former = (was,) if isinstance(was, str) else tuple(was)
    return dataclasses.field(metadata={**(metadata or {}), _WAS: former}, **options)


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(
    *,
    name: str | None = None,
    init: bool = True,
    repr: bool = True,
    eq: bool = True,
    order: bool = False,
    unsafe_hash: bool = False,
    frozen: bool = False,
    match_args: bool = True,
    kw_only: bool = False,
) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(field_specifiers=(field, dataclasses.field))
def record(cls: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a record class: a dataclass whose instances can live in a pool.

    ``Order(17, "Ada")`` is an object in memory.  Assigned to a place in a pool it is copied
    there, with what it refers to; what is read from the place is the record itself, an Order
    too, whose fields are read from the pool and written to it.

    Args:
        cls: The class.
        name: Under which pools keep its layout; default: its name, with those of the classes
            around it.  Two classes of one name cannot be used in one pool.
        **options: ``init``, ``repr``, ``eq``, ``order``, ``unsafe_hash``, ``frozen``,
            ``match_args``, ``kw_only``, as for ``dataclasses.dataclass``.

    Returns:
        A new class; instances have no attributes but the fields.

    Raises:
        TypeError: A field or a base that no record can have; the message says why.

    Later layouts:
        When the class has other fields than the records that a pool stores under its name, the
        pool's records are read as the class says: new fields have the default of the class,
        removed ones are not seen, renamed ones name what they were (``field(was=...)``), numbers
        and fixed texts may be wider, and any single value may become a field without a fixed
        type.  A record is rewritten by the first write to it, or by ``Pool.migrate()``.

    Durability:
        Storing a field of a record in a pool is atomic, and outside a transaction durable when
        the statement is done: one fence, or one sync.

    Thread safety:
        Any thread may use a record in a pool.  ``==`` and ``repr`` see all fields at one moment.

    Complexity:
        A field: O(1).

    Example:
        >>> import pmemstore as ps
        >>> @ps.record
        ... class Order:
        ...     id: int
        ...     customer: str
        ...     total: float = 0.0
        >>> pool = ps.open(getfixture("tmp_path") / "doc.pool")
        >>> pool.root[17] = Order(17, "Ada")
        >>> pool.root[17].total = 9.5
        >>> pool.root[17]
        Order(id=17, customer='Ada', total=9.5)
        >>> pool.close()
    """
    scope = sys._getframe(1).f_locals
    if cls is None:
        return lambda decorated: _make(decorated, name, options, scope)
    return _make(cls, name, options, scope)


# ---- making the class


def _make(cls: Any, name: str | None, options: dict[str, Any], scope: dict[str, Any]) -> Any:
    own = set(vars(cls))
    _check_bases(cls)
    for field_name in inspect.get_annotations(cls):
        inherited = getattr(cls, field_name, None)
        if field_name not in own and isinstance(inherited, _slots.Field):
            setattr(cls, field_name, dataclasses.field())  # no default, and not the descriptor
    made = dataclasses.dataclass(**options)(cls)
    info = Info(name or _name_of(cls), _items(made, scope))
    namespace = {
        key: value
        for key, value in vars(made).items()
        if key not in ("__dict__", "__weakref__") and key not in {i.name for i in info.items}
    }
    namespace.update(_methods(own, options))
    namespace["__slots__"] = ()
    new = _build(cls.__name__, made.__bases__, namespace, info, type(cls))
    new.__qualname__ = cls.__qualname__
    _move_cells(made, new)
    schemas.declare(info.name, new)
    return new


def _name_of(cls: Any) -> str:
    return str(cls.__qualname__.rpartition("<locals>.")[2])


def _build(
    name: str, bases: tuple[Any, ...], namespace: dict[str, Any], info: Info, meta: Any = type
) -> Any:
    if not any(isinstance(base, type) and issubclass(base, Record) for base in bases):
        bases = (*(base for base in bases if base is not object), Record)
    layout = info.core_layout()
    namespace["__record__"] = info
    namespace["_layout"] = layout
    for i, item in enumerate(info.items):
        spec, span = item.spec, info.span(i)
        inner = spec.cls if isinstance(spec, InlineSpec) else None
        encode, decode = getattr(spec, "encode", None), getattr(spec, "decode", None)
        if encode is not None:
            encode = _named(f"{info.name}.{item.name}", encode)
        namespace[item.name] = _slots.Field(
            item.name, layout, span.start, span.stop - span.start, encode, decode, inner
        )
    return meta(name, bases, namespace)


def _named(where: str, encode: Callable[[Any], tuple[Any, ...]]) -> Any:
    """Let the messages of ``encode`` name the field."""

    def encode_named(value: Any) -> tuple[Any, ...]:
        try:
            return encode(value)
        except TypeError as error:
            raise type(error)(f"{where}: {error}") from None

    return encode_named


def _generic(info: Info) -> Any:
    """Make a class for records of a class that this process does not know."""
    fields = [
        (item.name, Any, dataclasses.field(default=None)) for item in info.items
    ]  # the default is never used: nobody calls the class without all fields
    made = dataclasses.make_dataclass(_identifier(info.name), fields)
    names = {item.name for item in info.items}
    namespace = {
        key: value
        for key, value in vars(made).items()
        if key not in ("__dict__", "__weakref__") and key not in names
    }
    namespace.update(_methods(set(), {}))
    namespace["__slots__"] = ()
    return _build(_identifier(info.name), (), namespace, info)


def _identifier(name: str) -> str:
    plain = name.rpartition(".")[2]
    return plain if plain.isidentifier() else "Record"


schemas._generic.append(_generic)


def _check_bases(cls: Any) -> None:
    for base in cls.__mro__[1:]:
        if base is not object and getattr(base, "__dictoffset__", 0) != 0:
            raise TypeError(
                f"record class {cls.__qualname__}: instances of its base {base.__qualname__} have "
                "a __dict__, which no pool could keep; give that class __slots__ = (), or "
                "decorate it with @record"
            )
    if "__slots__" in vars(cls):
        raise TypeError(
            f"record class {cls.__qualname__}: its fields are its slots; drop __slots__"
        )


def _move_cells(old: Any, new: Any) -> None:
    """Let ``super()`` and ``__class__`` in methods mean the class that was made anew."""
    for value in vars(old).values():
        parts = [value]
        if isinstance(value, property):
            parts = [value.fget, value.fset, value.fdel]
        for part in parts:
            function = inspect.unwrap(getattr(part, "__func__", part)) if part else None
            for cell in getattr(function, "__closure__", None) or ():
                try:
                    if cell.cell_contents is old:
                        cell.cell_contents = new
                except ValueError:  # an empty cell
                    continue


# ---- annotations


def _items(cls: Any, scope: dict[str, Any]) -> tuple[Item, ...]:
    inherited: dict[str, Item] = {}
    for base in reversed(cls.__mro__[1:]):
        info = base.__dict__.get("__record__")
        inherited.update({item.name: item for item in info.items} if info else {})
    own = inspect.get_annotations(cls)
    items = []
    for each in dataclasses.fields(cls):
        if taken(each.name):
            raise TypeError(f"{cls.__qualname__}.{each.name}: the name is taken by records")
        if each.name not in own:
            items.append(inherited[each.name])
            continue
        where = f"{cls.__qualname__}.{each.name}"
        spec = _spec(_resolved(own[each.name], cls, scope), where)
        default = () if each.default is dataclasses.MISSING else (each.default,)
        factory = None if each.default_factory is dataclasses.MISSING else each.default_factory
        was = each.metadata.get(_WAS, ())
        items.append(Item(each.name, spec, default, factory, was))
    return tuple(items)


def _resolved(annotation: Any, cls: Any, scope: dict[str, Any]) -> Any:
    """Evaluate text; a name that is not known yet can only be that of a class to refer to."""
    names = vars(sys.modules.get(cls.__module__, types))
    try:
        for _ in range(2):  # quoted, in a module where all of them are text
            if isinstance(annotation, str):
                annotation = eval(annotation, names, {**scope, cls.__name__: cls})
    except NameError:
        pass
    return annotation


def _spec(annotation: Any, where: str) -> Spec:
    """Decide what a field is."""
    optional, inner = _without_none(annotation)
    marks: tuple[Any, ...] = ()
    if typing.get_origin(inner) is Annotated:
        inner, *rest = typing.get_args(inner)
        marks = tuple(rest)
        nullable, inner = _without_none(inner)
        optional = optional or nullable
    for mark in marks:
        if isinstance(mark, (Native, Fixed, ArrayOf, Inline)):
            return _marked(inner, mark, optional, where)
    if inner is bool or inner is float:
        return NativeSpec("bool" if inner is bool else "float64", optional=optional)
    if inner is datetime:
        return DatetimeSpec(optional)
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return _enum(inner, optional, where)
    return CellSpec(_text(annotation))


def _without_none(annotation: Any) -> tuple[bool, Any]:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return False, annotation
    args = typing.get_args(annotation)
    rest = [one for one in args if one is not type(None)]
    return (True, rest[0]) if len(rest) == 1 and len(args) == 2 else (False, annotation)


def _marked(inner: Any, mark: Any, optional: bool, where: str) -> Spec:
    if isinstance(mark, Native):
        return NativeSpec(mark.name, optional=optional)
    if isinstance(mark, ArrayOf):
        return NativeSpec(mark.name, count=mark.count, optional=optional)
    if isinstance(mark, Fixed):
        if inner is not str and inner is not bytes:
            raise TypeError(f"{where}: fixed() is for str and bytes, not {inner!r}")
        return NativeSpec(inner.__name__, size=mark.size, optional=optional)
    if optional:
        raise TypeError(f"{where}: a record that lies inline is always there; use a reference")
    if not (isinstance(inner, type) and issubclass(inner, Record)):
        raise TypeError(f"{where}: inline is for record classes, not {inner!r}")
    return InlineSpec(inner)


def _enum(cls: type[enum.Enum], optional: bool, where: str) -> EnumSpec:
    if issubclass(cls, enum.Flag):
        raise TypeError(f"{where}: a Flag is a number of bits; annotate it as uint32, keep .value")
    members = tuple(member.name for member in cls)
    if not 0 < len(members) < _ENUM_MAX:
        raise TypeError(f"{where}: an enum of 1 to {_ENUM_MAX - 1} members")
    return EnumSpec(cls.__qualname__.rpartition("<locals>.")[2], members, cls, optional)


def _text(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    plain = isinstance(annotation, type) and typing.get_origin(annotation) is None
    text = annotation.__qualname__ if plain else str(annotation)
    return text.rpartition("<locals>.")[2].replace("typing.", "")


# ---- what all record classes have in common


class Record(_slots.RecordBase):
    """Base of record classes."""

    __slots__ = ()
    __record__: Info

    def __copy__(self) -> Any:
        copied = type(self).__new__(type(self))
        copied._fill(self._leaves())
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if self._form != "volatile":
            return volatile(self, memo)
        copied = memo[id(self)] = type(self).__new__(type(self))
        for i, leaf in enumerate(self._leaves()):
            copied._put(i, copy.deepcopy(leaf, memo))
        return copied

    def __reduce_ex__(self, protocol: Any, /) -> Any:
        if self._form != "volatile":
            raise TypeError(
                f"cannot pickle a persistent {type(self).__name__}: it lives in its pool. Use "
                "copy.deepcopy() to get one in memory, or pass the pool's path and the keys that "
                "lead to it."
            )
        return _restored, (type(self), self._leaves())


def _restored(cls: Any, leaves: tuple[Any, ...]) -> Any:
    made = cls.__new__(cls)
    made._fill(leaves)
    return made


def _values(self: Any, wanted: str) -> tuple[Any, ...]:
    """Return the fields that ``wanted`` names in ``dataclasses.Field``, from one look."""
    info: Info = type(self).__record__
    leaves = self._leaves()
    chosen = {each.name for each in dataclasses.fields(self) if getattr(each, wanted)}
    return tuple(
        item.decode(leaves[info.span(i)])
        for i, item in enumerate(info.items)
        if item.name in chosen
    )


def _methods(own: set[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return methods that dataclass makes too, but that look at a record once."""
    methods: dict[str, Any] = {}
    if options.get("repr", True):
        methods["__repr__"] = _repr
    if options.get("eq", True):
        methods["__eq__"] = _eq
    if options.get("order", False):
        methods.update(__lt__=_lt, __le__=_le, __gt__=_gt, __ge__=_ge)
    methods = {name: method for name, method in methods.items() if name not in own}
    if options.get("frozen", False):
        methods.update(__setattr__=_frozen_set, __delattr__=_frozen_del)
    return methods


@described_when_dead
@recursive_repr("...")
def _repr(self: Any) -> str:
    names = [each.name for each in dataclasses.fields(self) if each.repr]
    shown = ", ".join(
        f"{name}={value!r}" for name, value in zip(names, _values(self, "repr"), strict=True)
    )
    return f"{type(self).__qualname__.rpartition('<locals>.')[2]}({shown})"


def _eq(self: Any, other: object) -> Any:
    if self is other:
        return True
    if type(other) is not type(self):
        return NotImplemented
    return _values(self, "compare") == _values(other, "compare")


def _lt(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self, "compare") < _values(other, "compare")


def _le(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self, "compare") <= _values(other, "compare")


def _gt(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self, "compare") > _values(other, "compare")


def _ge(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self, "compare") >= _values(other, "compare")


def _frozen_set(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _frozen_del(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


# ---- as a kind of container: its leaves are its items


def _blank(source: Any) -> Any:
    cls: Any = type(source)
    return cls.__new__(cls)


def _store(target: Any, place: int, leaf: Any) -> None:
    target._put(place, leaf)


register(
    Kind(
        tag=lib.PMS_TAG_RECORD,
        proxy=Record,
        plain=(),
        items=lambda source: list(enumerate(source._leaves())),
        store=_store,
        fill=lambda target, pairs: target._fill(tuple(leaf for _, leaf in pairs)),
        empty=_blank,
        put=_store,
        new=lambda pool, kind, source: pool._new_record(schemas.current(pool, type(source))),
        place=lambda source, place: f".{type(source).__record__.leaves[place][0]}",
    )
)
