"""Persistent containers: one file each.  Use them through ``pmemstore.Dict`` and so on."""

from pmemstore.containers.array import Array, ArrayWrite
from pmemstore.containers.deque import Deque
from pmemstore.containers.dict import Dict
from pmemstore.containers.list import List
from pmemstore.containers.set import Set
from pmemstore.containers.sorted import SortedDict
from pmemstore.containers.sorted_set import SortedSet

__all__ = ["Array", "ArrayWrite", "Deque", "Dict", "List", "Set", "SortedDict", "SortedSet"]
