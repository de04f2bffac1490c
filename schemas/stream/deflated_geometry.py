"""How streams of version 3 store a geometry of tokens: its JSON, deflated with a preset dictionary."""

import zlib

_MOST_GEOMETRY_BYTES = 1 << 20
_GEOMETRY_WORDS = (
    b'"kind":"index","size":262144"first":"least","kind":"digits","levels":[8,8,8,5,5,5]'
    b'{"code":{"bits_per_token":18,"first":"most","kind":"bits"},"frames_per_token":4,"layout":"grid",'
    b'"lead_frames":1,"max_frames":17,"min_frames":1,"patch_px":[8,8],"promises":["causal","prefix","streams"],'
    b'"size_multiple_px":[16,16],"size_px":[128,128],"usual_side_px":128}'
)
"""Preset dictionary of deflate, part of the format: a geometry of 205 bytes takes 10."""


def deflated_geometry(document: bytes) -> bytes:
    """Return the bytes of a geometry's JSON, without zlib's frame."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_GEOMETRY_WORDS)
    return deflate.compress(document) + deflate.flush()


def inflated_geometry(data: bytes) -> bytes:
    """Return a geometry's JSON; of what is implausibly large, the beginning. Raises zlib.error."""
    return zlib.decompressobj(-15, zdict=_GEOMETRY_WORDS).decompress(data, _MOST_GEOMETRY_BYTES)
