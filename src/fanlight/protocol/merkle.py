"""The accepted set of a round as a Merkle tree (RFC 6962, section 2.1), bound to the manifest.

Leaves are the CBOR arrays [device, report id], sorted by device; the set root is
H(["fanlight/set/v1", mh, number of leaves, tree head]). A device checks with its inclusion proof that its report, and
not another one in its name, was summed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from fanlight.protocol import codec
from fanlight.protocol.digests import digest


class Entry(NamedTuple):
    """One accepted report: 16-byte device id and 32-byte report id."""

    device: bytes
    report_id: bytes


def set_root(mh: bytes, accepted: Sequence[Entry]) -> bytes:
    """Root over the accepted set in any order; an empty set has a root too."""
    leaves = _leaves(accepted)
    return _bind(mh, len(leaves), _tree_head(leaves))


def inclusion_proofs(accepted: Sequence[Entry]) -> dict[bytes, tuple[int, tuple[bytes, ...]]]:
    """Index and audit path of every device's leaf."""
    if not accepted:
        return {}
    _, paths = _head_and_paths(_leaves(accepted))
    return {entry.device: (index, tuple(paths[index])) for index, entry in enumerate(sorted(accepted))}


def included(mh: bytes, root: bytes, size: int, index: int, path: Sequence[bytes], entry: Entry) -> bool:
    """Whether the audit path proves ``entry`` to be leaf ``index`` of ``size`` under ``root`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, node = index, size - 1, _leaf_hash(codec.encode([*entry]))
    for sibling in path:
        if sn == 0:
            return False
        if fn % 2 or fn == sn:
            node = _node_hash(sibling, node)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = _node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and _bind(mh, size, node) == root


def _leaves(accepted: Sequence[Entry]) -> list[bytes]:
    return [codec.encode([*entry]) for entry in sorted(accepted)]


def _bind(mh: bytes, size: int, head: bytes) -> bytes:
    return digest("fanlight/set/v1", mh, size, head)


def _leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _tree_head(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return _leaf_hash(leaves[0])
    k = _split(len(leaves))
    return _node_hash(_tree_head(leaves[:k]), _tree_head(leaves[k:]))


def _head_and_paths(leaves: Sequence[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """The tree head, and the audit path of every leaf, from the leaf up."""
    if len(leaves) == 1:
        return _leaf_hash(leaves[0]), [[]]
    k = _split(len(leaves))
    left, left_paths = _head_and_paths(leaves[:k])
    right, right_paths = _head_and_paths(leaves[k:])
    paths = [[*path, right] for path in left_paths] + [[*path, left] for path in right_paths]
    return _node_hash(left, right), paths
