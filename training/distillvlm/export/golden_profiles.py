"""Two minimal colour profiles of ICC.1:2001-04 (version 2.4), so that no file with terms of its own is needed."""

from __future__ import annotations

import itertools
import struct

D50 = (0.9642, 1.0, 0.8249)
# CIELAB of solid inks and their overprints on coated paper: ISO 12647-2:2004, table 2.
INKS = {
    "": (95, 0, -2),
    "C": (55, -37, -50),
    "M": (48, 74, -3),
    "Y": (89, -5, 93),
    "CM": (24, 17, -46),
    "CY": (50, -65, 27),
    "MY": (47, 68, 48),
    "CMY": (23, 0, 0),
}
BLACK_REMAINS = 0.16  # of any colour's lightness under solid black


def display_p3_profile() -> bytes:
    """Display P3: its primaries adapted to D50 (SMPTE EG 432-1), gamma 2.2."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(2.2 * 256))
    tags = {
        b"desc": _description("P3"),
        b"wtpt": _xyz(*D50),
        b"rXYZ": _xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": _xyz(0.2920, 0.6922, 0.0419),
        b"bXYZ": _xyz(0.1571, 0.0666, 0.7841),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def press_profile() -> bytes:
    """CMYK of offset print, interpolated between the 16 full overprints."""
    ramp = bytes(range(256))
    identity = _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + 4 * ramp + _overprints() + 3 * ramp
    tags = {b"desc": _description("press"), b"wtpt": _xyz(*D50), b"A2B0": table}
    return _profile(b"prtr", b"CMYK", b"Lab ", tags)


def _overprints() -> bytes:
    """CIELAB in 8 bits of the 16 corners of CMYK, black varying fastest."""
    corners = b""
    for cyan, magenta, yellow, black in itertools.product((0, 1), repeat=4):
        lightness, a, b = INKS["C" * cyan + "M" * magenta + "Y" * yellow]
        remains = BLACK_REMAINS if black else 1.0
        corners += bytes((round(lightness * remains * 2.55), round(a * remains) + 128, round(b * remains) + 128))
    return corners


def _profile(kind: bytes, colours: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    start, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, kind, colours, connection)
    header += struct.pack(">6H4s28x", 2026, 1, 1, 0, 0, 0, b"acsp") + _fixed(*D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _description(text: str) -> bytes:
    name = text.encode("ascii") + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + b"\0" * 78


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _fixed(*values: float) -> bytes:
    """s15Fixed16Number."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
