"""Compressed bodies. Which codec is three bits of sysFlag; 0 is zlib, too, as old clients wrote it.

zlib streams (RFC 1950) need nothing; LZ4 frames need the package `lz4`, zstd frames `zstandard` or Python 3.14.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable

from corduroy.client.codes import COMPRESSION_MASK, SysFlag
from corduroy.client.errors import CodecError, MissingCodec

LEVEL = 5  # RocketMQ's client's, for zlib
BODY_BYTES_MAX = 64 << 20  # of what a body may grow to: a broker takes 4 MiB by default, configured 16 at most
CODECS = {"lz4": SysFlag.LZ4, "zstd": SysFlag.ZSTD, "zlib": SysFlag.ZLIB}


def compress(body: bytes, codec: str = "zlib") -> tuple[bytes, int]:
    """(the compressed body, its bits of sysFlag). `codec` is zlib, lz4 or zstd. Raises MissingCodec."""
    if codec not in CODECS:
        raise CodecError(f"compression {codec!r} is none of {', '.join(CODECS)}")
    flags = CODECS[codec]
    made = zlib.compress(body, LEVEL) if codec == "zlib" else _of(flags)[0](body)
    return made, SysFlag.COMPRESSED | flags


def decompress(body: bytes, sys_flag: int) -> bytes:
    """The body as its sender had it. Raises CodecError, MissingCodec."""
    if not sys_flag & SysFlag.COMPRESSED:
        return body
    codec = sys_flag & COMPRESSION_MASK
    try:
        if codec in (0, SysFlag.ZLIB):
            return _inflate(body)
        made: bytes = _of(codec)[1](body)
    except CodecError:
        raise
    except Exception as error:  # each package has errors of its own
        raise CodecError(f"compressed body is broken: {error}") from None
    return made


def _inflate(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    made = inflater.decompress(body, BODY_BYTES_MAX)
    if inflater.unconsumed_tail or not inflater.eof:
        raise CodecError(f"compressed body is cut short, or grows beyond {BODY_BYTES_MAX} bytes")
    return made


def _of(codec: int) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """(compress, decompress) of LZ4 or zstd."""
    if codec == SysFlag.LZ4:
        lz4 = _package("lz4.frame", "lz4")
        return lz4.compress, lambda body: lz4.LZ4FrameDecompressor().decompress(body, BODY_BYTES_MAX)
    if codec != SysFlag.ZSTD:
        raise CodecError(f"unknown compression {codec:#x} in sysFlag")
    try:
        zstd = importlib.import_module("compression.zstd")
        return zstd.compress, lambda body: zstd.ZstdDecompressor().decompress(body, BODY_BYTES_MAX)
    except ModuleNotFoundError:
        standard = _package("zstandard", "zstandard")
        compressor, decompressor = standard.ZstdCompressor(), standard.ZstdDecompressor()
        return compressor.compress, lambda body: decompressor.decompress(body, max_output_size=BODY_BYTES_MAX)


def _package(module: str, distribution: str):
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingCodec(f"this compression needs the package {distribution}: pip install {distribution}") from None
