"""YAML that hurts whoever builds something from it: name -> the text, and a word of the reason for which it is refused."""

from __future__ import annotations


def merges(size: int = 406) -> str:
    """Nested merge keys: each level doubles the work of whoever follows them."""
    text, number = "a0: &a0 {x: 1}\n", 1
    while len(text) < size - 30:
        text += f"a{number}: &a{number} {{<<: [*a{number - 1}, *a{number - 1}]}}\n"
        number += 1
    return text


def bomb() -> str:
    """Nine aliases a level, ten levels: 430 bytes that stand for three thousand million items."""
    lists = (f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(10))
    return "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(lists)


HOSTILE = {
    "nested merge keys": (merges(), "anchors"),
    "an alias bomb": (bomb(), "anchors"),
    "an alias of itself": ("a: &a [*a]\n", "anchors"),
    "an alias bomb without an anchor": ("a: *a\n" * 9, "aliases"),
    "65,000 brackets": ("a: " + "[" * 65_000, "levels"),
    "65,000 braces": ("{" * 65_000, "levels"),
    "32,000 dashes": ("- " * 32_000, "levels"),
    "mappings in mappings": ("\n".join(" " * depth + "a:" for depth in range(350)), "levels"),
    "keys in keys": ("? " * 32_000, "a key is a plain text"),
    "a text that never ends": ('a: "' + "x\n" * 32_000, "not YAML"),
    "a key that never ends": ("a" * 64_000 + ": b", "key: value"),
    "65,000 bytes of blanks": (" " * 65_000 + "x", "key: value"),
    "tags": ("!a " * 20_000, "tag"),
    "anchors": ("&a " * 20_000, "not YAML"),
    "directives": ("%a b\n" * 10_000, "not YAML"),
    "documents": ("--- a\n" * 10_000, "second"),
}
