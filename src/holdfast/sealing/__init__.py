"""Tamper evidence: a hash chain over the log for each day, made beside the workers, and the search for what was changed.

`Sealer` makes it, `verify` compares the log with it, anchors take it out of reach of whoever could rewrite both. What is
hashed, byte for byte, and against whom it helps: docs/tamper-evidence.md. A leaf: it stands on the inspector and the
operator of a store, and nothing else knows of it.
"""

from holdfast.sealing.anchors import Anchor, read_anchors, write_anchors
from holdfast.sealing.findings import Finding, Kind, Summary
from holdfast.sealing.sealer import BESIDE_WORKERS, Sealed, Sealer
from holdfast.sealing.verifier import Verifier

__all__ = [
    "BESIDE_WORKERS",
    "Anchor",
    "Finding",
    "Kind",
    "Sealed",
    "Sealer",
    "Summary",
    "Verifier",
    "read_anchors",
    "write_anchors",
]
