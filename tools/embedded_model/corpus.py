"""The text the embedded model learns from: Jane Austen's six novels.

They come out of the Debian package r-cran-janeaustenr (the R package janeaustenr), which carries the Project Gutenberg
texts one string per printed line. R keeps them in `data/Rdata.rdb`: one compressed, serialized character vector a novel.
"""

import re
import struct
import subprocess
import zlib
from pathlib import Path

PACKAGE = "r-cran-janeaustenr"
RDB = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"

R_STRING_VECTOR = 16
R_STRING = 9


def fetch_package(folder: Path) -> Path:
    """Download the Debian package with apt-get, unpack it into `folder` and return the path of its text database."""
    subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
    (deb,) = folder.glob(f"{PACKAGE}_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)
    return folder / RDB


def package_version(rdb: Path) -> str:
    """The R package's version, from the DESCRIPTION file beside the text database's folder."""
    description = (rdb.parent.parent / "DESCRIPTION").read_text(encoding="utf-8")
    return re.search(r"(?m)^Version: (\S+)", description).group(1)


def read_string_vector(blob: bytes) -> list[str]:
    """Decode one R-serialized (XDR, version 3) character vector."""
    if blob[:2] != b"X\n":
        raise ValueError("not an XDR serialization")
    version, _writer, _reader, encoding_length = struct.unpack_from(">4i", blob, 2)
    if version != 3:
        raise ValueError(f"serialization version {version}, expected 3")
    at = 18 + encoding_length
    flags, count = struct.unpack_from(">2i", blob, at)
    if flags & 0xFF != R_STRING_VECTOR:
        raise ValueError(f"R type {flags & 0xFF}, expected a character vector")
    at += 8
    lines = []
    for _ in range(count):
        flags, length = struct.unpack_from(">2i", blob, at)
        if flags & 0xFF != R_STRING:
            raise ValueError(f"R type {flags & 0xFF}, expected a string")
        at += 8
        lines.append(blob[at : at + length].decode("utf-8"))
        at += length
    return lines


def read_novels(rdb: Path) -> list[list[str]]:
    """The lines of every novel in an R lazy-load database: chunks of a big-endian size and a zlib stream."""
    data = rdb.read_bytes()
    novels = []
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        stream = zlib.decompressobj()
        blob = stream.decompress(data[at + 4 :])
        if len(blob) != size:
            raise ValueError("damaged chunk")
        novels.append(read_string_vector(blob))
        at = len(data) - len(stream.unused_data)
    return novels


def clean(paragraph: str) -> str:
    """One spacing, one kind of quote, dash and title, and no Gutenberg emphasis marks or footnote brackets.

    Everything that is written in two ways costs a model this small twice: "Mr" beside "Mr.", a word glued to a dash
    beside the same word after a space, a word in capitals for emphasis beside the plain one.
    """
    for old, new in {"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "_": ""}.items():
        paragraph = paragraph.replace(old, new)
    paragraph = re.sub(r"\[[^\]]*\]", "", paragraph)
    paragraph = re.sub(r"\s*-{2,}\s*", " -- ", paragraph)
    paragraph = re.sub(r" -- (?=[\"']?(\s|$)|[,.;:!?)])", " --", paragraph)
    paragraph = re.sub(r"\s+", " ", paragraph).strip()
    paragraph = re.sub(r"\b(Mr|Mrs|Dr)\b\.?", r"\1.", paragraph)
    paragraph = re.sub(r"(?<=[A-Za-z,;-] )[A-Z]{2,}\b", lambda m: m.group().lower(), paragraph)
    return re.sub(r"\b(?![IVX]+\b)[A-Z]{2,}\b", lambda m: m.group().capitalize(), paragraph)


def is_prose(paragraph: str) -> bool:
    """Whether this is the novelist's own text: not a heading, an end mark, a footnote or an editor's note."""
    return bool(re.search(r"[a-z]", paragraph)) and not re.match(
        r"volume [ivx]+$|finis$|the end$|\W*end of |\*|a note on the text|northanger abbey was written in",
        paragraph,
        re.IGNORECASE,
    )


def chapters(lines: list[str]) -> list[list[str]]:
    """Split a novel at its chapter headings and join the printed lines of each paragraph."""
    text = "\n".join(line.strip() for line in lines)
    parts = re.split(r"(?m)^chapter\s+[0-9ivxl]+\b.*$", text, flags=re.IGNORECASE)
    return [[p for p in map(clean, re.split(r"\n\n+", part)) if is_prose(p)] for part in parts[1:]]


def load(rdb: Path) -> list[str]:
    """All chapters, in the package's order of novels, paragraphs separated by one empty line."""
    return ["\n\n".join(c) for novel in read_novels(rdb) for c in chapters(novel) if c]
