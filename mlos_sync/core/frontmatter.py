"""Reading the frontmatter of a document: every scalar stays the text that somebody typed.

Owns which YAML is accepted. YAML 1.1 would make `NO` false, `1.10` a float and `12:30` the number 750, so no type is
guessed here; who needs a number asks for one. Aliases, merge keys, foreign tags and depth are refused while reading,
before anything is built from them: 406 bytes of nested merges take seconds, 100,000 brackets crash the C loader.
"""

from __future__ import annotations

from mlos_sync.core.split import LIMIT

TYPE_CHECKING = False  # type checkers know the name; importing typing for it would cost the guard 6 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Value: TypeAlias = "str | list[Value] | dict[str, Value]"

MAX_DEPTH = 20
FENCES = 1
"""Lines before the block: a line number in an error is the one that an editor shows."""

_CORE_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp"))
_LONGEST_KEY = 200  # YAML allows 1,024 for a key without a question mark


class FrontmatterError(ValueError):
    """A frontmatter that is refused: `line` is the line of the document (its opening fence is line 1)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


def read(block_text: bytes) -> dict[str, Value]:
    """The fields between the fences, scalars as text (an empty value is the empty text).

    Raises FrontmatterError for bad YAML, anchors, aliases, merge keys, tags that name more than plain values, more than
    20 levels, a key that stands twice, more than 64 KiB, bytes that are not UTF-8, and NUL.
    """
    if len(block_text) > LIMIT:
        raise FrontmatterError(1, f"the frontmatter has {len(block_text)} bytes; {LIMIT} are the most")
    try:
        text = block_text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line(block_text, error.start)
        raise FrontmatterError(line, "the bytes are not UTF-8; save the file as UTF-8") from None
    fields = simple(text)
    if fields is not None:
        return dict(fields)
    if "\0" in text:
        raise FrontmatterError(_line(block_text, block_text.index(b"\0")), "a NUL byte has no place in frontmatter")
    return read_yaml(text)


def simple(text: str) -> dict[str, str] | None:
    """The fields of a block made of `key: scalar` lines alone, else None: the same as YAML reads, without YAML.

    Scalars are plain ones that YAML cannot take for anything else, or quoted ones without an escape. Splitting strings
    beats one regular expression here, and spares the guard the import of `re`.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if not text.replace("\n", "").isprintable():
        return None  # tabs, other line breaks, marks that cannot be seen: YAML has rules for each of them
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        key, colon, value = line.partition(": ")
        if not colon:
            if not line:
                continue
            key = line[:-1] if line[-1] == ":" else ""
        if not key.isidentifier() and (key[:1] == "-" or not key.replace("-", "_").isidentifier()):
            if line[0] == "#":
                continue
            return None
        value = value.strip(" ")
        if value and not value[0].isalnum():
            value_or_none = _unquoted(value)
            if value_or_none is None:
                return None
            value = value_or_none
        elif value and (": " in value or " #" in value or value[-1] == ":"):
            return None
        if key in fields or len(key) > _LONGEST_KEY:
            return None
        fields[key] = value
    return fields


def _unquoted(value: str) -> str | None:
    quote = value[0]
    if quote not in "\"'" or len(value) < 2 or value[-1] != quote or "\\" in value:
        return None
    inner = value[1:-1]
    return None if quote in inner else inner


def read_yaml(text: str) -> dict[str, Value]:
    """The same, by PyYAML through python-frontmatter, for everything that `simple` leaves alone."""
    import yaml
    from frontmatter.default_handlers import YAMLHandler

    try:
        fields: dict[str, Value] = YAMLHandler().load(text, Loader=_loader(yaml))
    except FrontmatterError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "it cannot be read"
        line = (mark.line if mark else 0) + 1 + FENCES
        if "nesting depth" in what:  # PyYAML 6.0.4 has a limit of its own, and meets it first where it reads ahead
            raise FrontmatterError(line, _TOO_DEEP) from None
        raise FrontmatterError(line, f"not YAML: {what}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        at = getattr(error, "position", None)
        line = text.count("\n", 0, at) + 1 + FENCES if isinstance(at, int) else 1
        raise FrontmatterError(line, f"not YAML: {getattr(error, 'reason', '') or error}") from None
    return fields


_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_loaders: dict[bool, type] = {}


def _loader(yaml: Any, *, fast: bool = True) -> type:
    """A PyYAML loader class which builds texts from events; on libyaml where there is one (ten times faster)."""
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if fast else yaml.SafeLoader
    if fast not in _loaders:
        # It never composes nodes, so an alias is refused when it is met, not when it has been expanded
        methods = {"get_single_data": lambda loader: _document(loader.get_event)}
        _loaders[fast] = type("TextLoader", (base,), methods)
    return _loaders[fast]


def _document(next_event: Callable[[], Any]) -> dict[str, Value]:
    next_event()  # the start of the stream
    event = next_event()
    if _name(event) == "StreamEndEvent":
        return {}
    if event.explicit or event.tags:
        raise FrontmatterError(_line_of(event), "a YAML directive or a second `---` document is not allowed here")
    root = next_event()
    if _name(root) == "ScalarEvent" and not root.value and root.implicit[0]:
        value: Value = {}
    else:
        value = _value(root, next_event, 1)
    if not isinstance(value, dict):
        raise FrontmatterError(_line_of(root), "frontmatter is made of `key: value` lines")
    next_event()  # the end of the document
    event = next_event()
    if _name(event) != "StreamEndEvent":
        raise FrontmatterError(_line_of(event), "a second YAML document is not allowed here")
    return value


def _value(event: Any, next_event: Callable[[], Any], depth: int) -> Value:
    _refuse_specials(event)
    if _name(event) == "ScalarEvent":
        return str(event.value)
    if depth > MAX_DEPTH:
        raise FrontmatterError(_line_of(event), _TOO_DEEP)
    if _name(event) == "MappingStartEvent":
        return _mapping(next_event, depth)
    items: list[Value] = []
    while _name(event := next_event()) != "SequenceEndEvent":
        items.append(_value(event, next_event, depth + 1))
    return items


def _mapping(next_event: Callable[[], Any], depth: int) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    lines: dict[str, int] = {}
    while _name(event := next_event()) != "MappingEndEvent":
        line = _line_of(event)
        if _name(event) != "ScalarEvent":
            _refuse_specials(event)
            raise FrontmatterError(line, "a key is a plain text, not a list or a mapping")
        _refuse_specials(event)
        key = str(event.value)
        if key == "<<" and event.implicit[0]:
            raise FrontmatterError(line, "merge keys (`<<`) are not allowed; write the fields out")
        if key in fields:
            raise FrontmatterError(line, f"the key {key!r} stands in line {lines[key]} and again in line {line}")
        lines[key] = line
        fields[key] = _value(next_event(), next_event, depth + 1)
    return fields


def _refuse_specials(event: Any) -> None:
    if _name(event) == "AliasEvent":
        raise FrontmatterError(_line_of(event), f"aliases (`*{event.anchor}`) are not allowed; write the value out")
    if event.anchor is not None:
        raise FrontmatterError(_line_of(event), f"anchors (`&{event.anchor}`) are not allowed")
    if event.tag is not None and event.tag != "!" and event.tag not in _CORE_TAGS:
        raise FrontmatterError(_line_of(event), f"the tag {event.tag!r} is not allowed; values are plain text")


def _name(event: Any) -> str:
    return type(event).__name__


def _line_of(event: Any) -> int:
    return int(event.start_mark.line) + 1 + FENCES


def _line(block: bytes, offset: int) -> int:
    return block.count(b"\n", 0, offset) + 1 + FENCES
