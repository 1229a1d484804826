"""What the doctor knows: a table of rules over facts.

A rule has a stable code, a condition on the facts, a sentence and the commands.

Source:
    Linux, Documentation/filesystems/dax.rst and Documentation/driver-api/nvdimm; the manual pages
    of mkfs.xfs, mkfs.ext4, xfs_io, chattr, ndctl-create-namespace and mmap.
"""

from typing import Final

from pmemstore.doctor.rules.devices import DEVICES
from pmemstore.doctor.rules.direct import DIRECT
from pmemstore.doctor.rules.general import GENERAL
from pmemstore.doctor.rules.rule import Rule
from pmemstore.doctor.rules.settings import SETTINGS
from pmemstore.doctor.rules.systems import FILE_SYSTEMS

__all__ = ["RULES", "Rule"]

#: All of them; of one kind they are reported in this order.
RULES: Final[tuple[Rule, ...]] = (*FILE_SYSTEMS, *DEVICES, *SETTINGS, *DIRECT, *GENERAL)
