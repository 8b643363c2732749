"""Workspace-relative paths: their text form, the one sort key, how they are shown, and what type of artifact they are.

A path is text, POSIX, relative to the workspace. Git's names are bytes; those that are no UTF-8 must still live in
SQLite and JSON, so each byte that does not decode becomes U+EF00 plus the byte (the range U+EF80..U+EFFF, as the
MirBSD OPTU encoding does), and a name that holds such a character itself is escaped byte by byte: reversible.
"""

from __future__ import annotations

_LOW, _HIGH = 0xEF80, 0xEFFF

JOURNAL = ".mlos/journal/"
TYPES = {
    "code": "py pyi js mjs cjs ts tsx jsx go rs c h cc cpp hpp java kt swift rb php pl lua sh bash zsh fish ps1 sql r jl scala"
    " hs ml ex exs erl clj cs fs vue svelte css scss html htm ipynb mk cmake proto nim zig dart",
    "config": "toml yaml yml ini cfg conf env json jsonc lock properties editorconfig gitignore gitattributes mlosignore",
    "image": "png jpg jpeg gif webp svg bmp ico tif tiff avif heic",
    "schema": "xsd avsc graphql gql prisma ddl",
}
_TYPE_OF = {ending: kind for kind, endings in TYPES.items() for ending in endings.split()}


def from_bytes(name: bytes) -> str:
    """Git's bytes to path text."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("utf-8", "surrogateescape")
        return "".join(
            _escape(c) if _odd(c) else chr(_LOW - 0x80 + ord(c) - 0xDC00) if "\udc80" <= c <= "\udcff" else c
            for c in text
        )
    return "".join(_escape(c) if _odd(c) else c for c in text) if max(text, default="") >= "\uee80" else text


def from_text(name: str) -> str:
    """The same for a name that was decoded with surrogateescape."""
    return name if name.isascii() else from_bytes(name.encode("utf-8", "surrogateescape"))


def split_names(data: bytes) -> list[str]:
    """NUL-separated names, as git prints them with `-z`, to paths: in one go where nothing needs escaping."""
    try:
        text = data.decode("utf-8")
        if text.isascii() or max(text) < "\uee80":
            return text.rstrip("\0").split("\0") if text else []
    except UnicodeDecodeError:
        pass
    return [from_bytes(name) for name in data.split(b"\0") if name]


def to_bytes(path: str) -> bytes:
    """Path text to git's bytes."""
    if path.isascii():
        return path.encode()
    return "".join(chr(ord(c) - _LOW + 0x80 + 0xDC00) if _odd(c) else c for c in path).encode(
        "utf-8", "surrogateescape"
    )


def _odd(c: str) -> bool:
    return _LOW <= ord(c) <= _HIGH


def _escape(c: str) -> str:
    return "".join(chr(_LOW - 0x80 + byte) for byte in c.encode("utf-8"))


def sort_key(path: str) -> bytes:
    """The one order of paths: by bytes, as git sorts its index."""
    return to_bytes(path)


def shown(text: str) -> str:
    """Text for a terminal or a log: control, bidirectional and invisible characters escaped, the rest as it is."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and not _odd(c) else _visible(c) for c in text)


def _visible(c: str) -> str:
    code = ord(c)
    if _odd(c):
        return f"\\x{code - _LOW + 0x80:02x}"
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def artifact_type(path: str) -> str:
    """The seed's type of a file, by its name; what fits no other type is a document. Transcripts are told by content."""
    name = path.rsplit("/", 1)[-1].lower()
    if name.endswith((".schema.json", ".schema.yaml", ".schema.yml")):
        return "schema"
    if name in ("makefile", "dockerfile", "rakefile", "justfile"):
        return "code"
    return _TYPE_OF.get(name.rsplit(".", 1)[-1], "document") if "." in name else "document"


def indexed(paths: list[str]) -> list[str]:
    """Those of the paths that count as artifacts: the journal is the memory of records, not a document."""
    return [path for path in paths if not path.startswith(JOURNAL)]
