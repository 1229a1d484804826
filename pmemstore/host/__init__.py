"""What the kernel says of a file and of the device below it.

Reads alone, and believes nothing that it cannot read: each attribute that is missing is None, and
``unknown`` has the reason.
"""

from pmemstore.host.files import Extent, attributes, extents, flags, xflags, xfs_reflink
from pmemstore.host.mounts import Mount, mount_of
from pmemstore.host.sysfs import Device, Dimm, device_of, may_count_shutdowns, shutdown_count

__all__ = [
    "Device",
    "Dimm",
    "Extent",
    "Mount",
    "attributes",
    "device_of",
    "extents",
    "flags",
    "may_count_shutdowns",
    "mount_of",
    "shutdown_count",
    "xflags",
    "xfs_reflink",
]
