"""Time zones of datetime fields, as values that a cell can keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pmemstore.errors import PmemstoreError, PoolCorruptError
from pmemstore.values import not_persistable

__all__ = ["damaged", "value_zone", "zone_value"]

_MICROSECOND = timedelta(microseconds=1)


def damaged(what: str) -> PoolCorruptError:
    """Make the exception for a value that this library cannot have stored, not raised."""
    return PoolCorruptError(
        f"the pool holds {what}. Nothing was changed; restore a backup, or open the pool with "
        "flag 'r' and let Pool.check() list the damage."
    )


def zone_value(moment: datetime) -> Any:
    """Return the zone of a datetime: None, microseconds, (microseconds, name), or an IANA key.

    Args:
        moment: The datetime.

    Raises:
        NotPersistableError: A zone that is neither a timezone nor a ZoneInfo with a key.
    """
    zone = moment.tzinfo
    if zone is None:
        return None
    if type(zone) is timezone:
        offset = zone.utcoffset(None) // _MICROSECOND
        unnamed = UTC if offset == 0 else timezone(timedelta(microseconds=offset))
        name = zone.tzname(None)
        return offset if name == unnamed.tzname(None) else (offset, name)
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    raise not_persistable(
        zone, ".tzinfo", "use a datetime.timezone, or a zoneinfo.ZoneInfo with a key"
    )


def value_zone(value: Any) -> tzinfo | None:
    """Return the zone that ``zone_value`` gave a value for.

    Args:
        value: The value, as a pool has kept it.

    Raises:
        PmemstoreError: A time zone that this machine does not know.
        PoolCorruptError: No such value.
    """
    try:
        if value is None:
            return None
        if isinstance(value, str):
            return ZoneInfo(value)
        if isinstance(value, int):
            return UTC if value == 0 else timezone(timedelta(microseconds=value))
        offset, name = value
        return timezone(timedelta(microseconds=offset), name)
    except (ZoneInfoNotFoundError, OSError) as error:  # OSError: the name of a directory
        raise PmemstoreError(
            f"a stored datetime names a zone that this machine does not know: {value!r}. The value "
            "is unharmed; install the package tzdata and read it again."
        ) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise damaged(f"a time zone of {value!r}") from error
