"""What a file held after a whole-file write, as far as SpecStory markdown lets it be reconstructed.

The CLI renders a `Write` as fence line, content, line feed, closing fence, so that the lines between joined by line
feeds are the content: one with a final newline shows an empty last line. Each variant that a writer, git or an editor
may have made of it becomes a candidate; the hash of the file decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlos_sync.core.transcripts.sound import encoded, sound_json, unescaped
from mlos_sync.core.transcripts.specstory_parts import Parts, last_label

MAX_CANDIDATES = 16


def written_file(parts: Parts) -> tuple[bytes, ...]:
    """The candidates for what a write block shows: empty when it shows a diff or nothing."""
    if not parts.fences or parts.fences[0].info == "diff":
        return ()
    fence = parts.fences[0]
    lines = parts.block.lines[fence.start + 1 : _end(parts)]
    return candidates("\n".join(lines), escaped_fences=len(fence.run) == 3, escaped_html=parts.block.extension)


def in_parameters(parts: Parts) -> tuple[bytes, ...]:
    """The candidates for a file whose content stands in the parameters of the call, shown as JSON: VS Code, Cursor."""
    for fence in parts.fences:
        if fence.info not in ("", "json"):
            continue
        text = "\n".join(parts.block.lines[fence.start + 1 : fence.end])
        value = sound_json(unescaped(text) if parts.block.extension else text)
        found = [value.get(key) for key in ("content", "contents")] if isinstance(value, dict) else []
        content = next((text for text in found if isinstance(text, str)), None)
        if content is not None:
            return candidates(content)
    return ()


def added_file(lines: Sequence[str], escaped_html: bool = False) -> tuple[bytes, ...]:
    """The candidates for a file added by a patch, whose every line begins with `+`; it always ends with a newline."""
    if not lines or any(line[:1] != "+" for line in lines):
        return ()
    return candidates("".join(line[1:] + "\n" for line in lines), escaped_html=escaped_html)


def candidates(text: str, escaped_fences: bool = False, escaped_html: bool = False) -> tuple[bytes, ...]:
    """The text in each variant that the file may have, without repetition, the one shown first.

    Before 2.8 the CLI wrote three backticks in content as `\\``` `; the editor extension escapes HTML; a CR may belong
    to the file or to the transcript; the final newline may have been added or cut by an editor.
    """
    variants = [text]
    if escaped_fences and "\\```" in text:
        variants.insert(0, text.replace("\\```", "```"))
    if escaped_html and "&" in text:
        variants = [unescaped(variant) for variant in variants] + variants
    if "\r\n" in text or text.endswith("\r"):
        variants += [variant.replace("\r\n", "\n").removesuffix("\r") for variant in variants]
    variants += [variant.removesuffix("\n") if variant.endswith("\n") else variant + "\n" for variant in variants]
    unique = dict.fromkeys(encoded(variant) for variant in variants)
    return tuple(unique)[:MAX_CANDIDATES]


def _end(parts: Parts) -> int:
    """Where the content ends. Behind a `Path:` label it is not escaped, so its last closing fence counts there."""
    fence = parts.fences[0]
    labelled = any(line.startswith("Path: ") for index, line in parts.prose if index < fence.start)
    if labelled:
        for index in range(last_label(parts) - 1, fence.end, -1):
            if parts.block.lines[index].rstrip() == fence.run:
                return index
    return fence.end
