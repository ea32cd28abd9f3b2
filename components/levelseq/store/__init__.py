"""One address, one object store."""

from levelseq.store.address import (
    absolute,
    join,
    open_store,
    parent,
    read_bytes,
    read_json,
    split_scheme,
)
from levelseq.store.backend import Stamp, Versioned
from levelseq.store.objects import Store

__all__ = [
    "Stamp",
    "Store",
    "Versioned",
    "absolute",
    "join",
    "open_store",
    "parent",
    "read_bytes",
    "read_json",
    "split_scheme",
]
