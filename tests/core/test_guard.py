"""The rule of the guard, on bytes alone."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlos_sync.core import guard, seal

DRAFT = b"---\ntitle: Problems\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n\n# Problems\n\nNone.\n"
VIEW = seal.make(DRAFT)
NEWER = seal.make(DRAFT.replace(b"None.", b"One."))
EDITED = VIEW.replace(b"None.", b"Mine.")
NOTE = b"---\ntitle: a note\n---\n\ncompiled_at is explained here.\n"
CONFLICT = VIEW.replace(b"None.", b"<<<<<<< ours\nNone.\n=======\nOne.\n>>>>>>> theirs")


def kind(old: bytes | None, new: bytes | None, **options: bool) -> str | None:
    finding = guard.judge("PROBLEM.md", old, new, **options)
    return finding and finding.kind


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, VIEW),
        (VIEW, NEWER),
        (EDITED, VIEW),
        (NOTE, VIEW),
        (VIEW, VIEW.replace(b"\n", b"\r\n")),
        (VIEW, None),
        (None, None),
        (None, NOTE),
        (NOTE, b""),
        (NOTE, b"\x00\xff"),
        (EDITED, NOTE),
        (None, seal.make(DRAFT.replace(b"None.", b"<<<<<<< a\n=======\n>>>>>>> b"))),
    ],
)
def test_what_is_accepted(old, new):
    """A valid seal, whatever was there before; a deletion; and every file that never was a view."""
    assert guard.judge("PROBLEM.md", old, new) is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (VIEW, EDITED, guard.EDITED),
        (VIEW, VIEW.replace(b"title: Problems", b"title: Mine"), guard.EDITED),
        (VIEW, b"\xef\xbb\xbf" + VIEW, guard.EDITED),
        (VIEW, EDITED.replace(b"\n", b"\r\n"), guard.EDITED),
        (VIEW, VIEW.replace(b"compiled_at", b'"compiled_at"'), guard.EDITED),
        (VIEW, DRAFT, guard.EDITED),
        (VIEW, CONFLICT, guard.EDITED),
        (VIEW, b"<<<<<<< a\n" + VIEW + b">>>>>>> b\n", guard.EDITED),
        (None, CONFLICT, guard.EDITED),
        (None, EDITED, guard.FORGED),
        (None, DRAFT, guard.FORGED),
        (NOTE, EDITED, guard.FORGED),
        (EDITED, EDITED + b"more", guard.FORGED),
        (None, b"---\n{compiled_at: now}\n---\n", guard.FORGED),
        (VIEW, NOTE, guard.STRIPPED),
        (VIEW, VIEW.split(b"---\n", 2)[2], guard.STRIPPED),
        (VIEW, b"", guard.STRIPPED),
        (VIEW, b"\x00\x01", guard.STRIPPED),
        (VIEW.replace(b"\n", b"\r\n"), NOTE, guard.STRIPPED),
    ],
)
def test_what_is_refused(old, new, expected):
    """A broken seal is edited or forged, a lost one stripped."""
    assert kind(old, new) == expected


def test_symlinks():
    """A view replaced by a link is stripped, even by a link whose target looks like a view; any other link is fine."""
    assert kind(VIEW, b"other.md", new_is_symlink=True) == guard.STRIPPED
    assert kind(VIEW, VIEW, new_is_symlink=True) == guard.STRIPPED
    assert kind(None, EDITED, new_is_symlink=True) is None
    assert kind(NOTE, b"", new_is_symlink=True) is None


def test_messages_say_what_to_type():
    """Each kind names commands that exist, on the path at hand."""
    edited = guard.judge("notes/my view.md", VIEW, EDITED)
    assert "mlos-sync need set" in edited.fix
    assert "mlos-sync compile" in edited.fix
    assert "git restore --source=HEAD --staged --worktree -- :/'notes/my view.md'" in edited.fix
    assert "do not match its seal" in edited.message
    assert "git rm --cached -f -- :/PROBLEM.md" in guard.judge("PROBLEM.md", None, EDITED).fix
    assert "git restore" in guard.judge("PROBLEM.md", NOTE, EDITED).fix
    assert "emptied" in guard.judge("PROBLEM.md", VIEW, b"").message
    for old in (VIEW, None):
        conflict = guard.judge("PROBLEM.md", old, CONFLICT)
        assert "conflict" in conflict.message
        assert "mlos-sync compile --resolve   then   git add -- :/PROBLEM.md" in conflict.fix
    assert "mlos-sync adopt 'notes/my view.md'" in edited.fix
    assert "mlos-sync adopt 'my view.md'" in guard.judge("notes/my view.md", VIEW, EDITED, prefix="notes/").fix
    assert "mlos-sync adopt ../PROBLEM.md" in guard.judge("PROBLEM.md", VIEW, NOTE, prefix="notes/").fix


@pytest.mark.parametrize("status", ["M", "T", "D"])
def test_published_segments_stay(status):
    """A segment that is changed, replaced or deleted is refused with the command that brings it back."""
    path = ".mlos/journal/2026/01/ab12.jsonl"
    finding = guard.judge_segment(path, status)
    assert finding.kind == guard.JOURNAL
    assert f"git restore --source=HEAD --staged --worktree -- :/{path}" in finding.fix


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (".mlos/journal/2026/01/ab12.jsonl", "A"),
        (".mlos/journal/2026/01/notes.txt", "M"),
        (".mlos/journal/2026/ab12.jsonl", "D"),
        (".mlos/journal/2026/01/02/ab12.jsonl", "D"),
        (".mlos/journal/year/01/ab12.jsonl", "M"),
        (".mlos/journal/２０２６/01/ab12.jsonl", "M"),
        ("x/.mlos/journal/2026/01/ab12.jsonl", "M"),
        (".mlos/config.toml", "M"),
    ],
)
def test_everything_else_is_no_segment(path, status):
    """New segments and other files are not the journal's business."""
    assert guard.judge_segment(path, status) is None


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
def test_paths_survive_the_shell(name):
    """A quoted path is printable ASCII and gives the same bytes when a shell reads it."""
    quoted = guard.quoted(name.decode("utf-8", "surrogateescape"))
    assert quoted.isascii()
    assert quoted.isprintable()
    if not quoted.startswith("$"):
        assert shlex.split(quoted) == [name.decode()]


def test_bash_agrees_about_odd_paths():
    """Control characters, quotes, backslashes and bytes that are no UTF-8 come back from bash as they were."""
    names = [
        b"a b",
        b"it's",
        b"new\nline",
        b"\x1b[31mred",
        b"caf\xc3\xa9",
        b"\xff\xfe7",
        b"back\\slash",
        b"-rf",
        b"\xc3\xa9" + b"9",
    ]
    words = " ".join(guard.quoted(name.decode("utf-8", "surrogateescape")) for name in names)
    out = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True).stdout
    assert out.split(b"\0")[:-1] == names


@pytest.mark.parametrize(
    "path", ["a.md", ".mlos/x", "with space", "caf\u00e9", "[a].md", ":0:x.md", "-rf", "_a", "it's", "a\\b"]
)
def test_pathspecs_name_one_path_from_any_folder(tmp_path, path):
    """Git adds exactly that path, from a subfolder, and no other that a pattern or a magic word would mean."""
    (tmp_path / "deep").mkdir()
    for name in (path, "a.mdx", "x.md", "0", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    command = f"git init -q .. && git add -- {guard.pathspec(path)} && git ls-files -z ../"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path / "deep", capture_output=True, check=True)
    assert done.stdout == b"../" + path.encode() + b"\0"


LONG = b"---\nid: p\ncompiled_at: x\n---\n" + b"".join(b"line %d\n\n" % number for number in range(20))


def gone(*views: tuple[str, bytes]) -> guard.Gone:
    deleted = guard.Gone()
    for path, data in views:
        deleted.add(path, data)
    return deleted


def test_a_rename_is_told_by_the_id():
    """The same `id:` line counts before any likeness of the body, and so does a file whose frontmatter is cut."""
    other = LONG.replace(b"id: p", b"id: other")
    deleted = gone(("other.md", other), ("p.md", LONG.replace(b"line", b"row")))
    assert deleted.name_of(LONG) == "p.md"
    assert deleted.name_of(LONG.replace(b"id: p\n", b"")) == "other.md"
    assert gone(("a.md", NEWER), ("b.md", VIEW)).name_of(EDITED) == "b.md", "an edit leaves the seal behind"
    assert deleted.name_of(b"<<<<<<< a\n" + LONG) == "other.md"


def test_a_rename_is_told_by_more_than_half_of_the_body():
    deleted = gone(("p.md", LONG))
    lines = [b"line %d" % number for number in range(20)]
    assert deleted.name_of(b"\n".join(lines[:11])) == "p.md"
    assert deleted.name_of(b"\r\n".join(lines[:11])) == "p.md"
    assert deleted.name_of(b"\n".join(lines[:10])) == ""
    assert deleted.name_of(b"\n".join([*lines, *([b"mine"] * 20)])) == ""
    assert deleted.name_of(b"") == guard.Gone().name_of(LONG) == gone(("empty.md", b"")).name_of(b"") == ""


def test_a_body_that_goes_on_without_its_seal():
    """More than three quarters of the lines are the view's, and more than three quarters of the view's are there."""
    deleted = gone(("p.md", LONG))
    lines = [b"line %d" % number for number in range(20)]
    assert deleted.body_of(b"\n".join(lines[:16])) == "p.md"
    assert deleted.body_of(b"---\ntitle: mine\n---\n" + b"\n".join(lines)) == "p.md"
    assert deleted.body_of(b"\n".join(lines[:15])) == ""
    assert deleted.body_of(b"\n".join([*lines, *([b"mine"] * 7)])) == ""
    assert deleted.body_of(b"line 1\n" * 20) == ""
    assert gone(("long.md", LONG + LONG[:-9] * 9), ("p.md", LONG)).body_of(b"\n".join(lines)) == "p.md"
    assert deleted.body_of(b"") == ""


def test_a_moved_view_is_told_with_both_names():
    """Both names, the reason, and one command that brings the old one back and takes the new one out."""
    found = guard.judge("REN.md", None, EDITED)
    moved = guard.moved(found, "PROBLEM.md")
    assert (moved.path, moved.kind) == ("REN.md", guard.EDITED)
    assert "renamed from PROBLEM.md and edited: its contents do not match its seal" in moved.message
    both = "git restore --source=HEAD --staged --worktree -- :/PROBLEM.md && git rm --cached -f -- :/REN.md"
    assert both in moved.fix
    assert "adopt" not in moved.fix
    conflict = guard.moved(guard.judge("REN.md", None, CONFLICT), "PROBLEM.md")
    assert "renamed from PROBLEM.md" in conflict.message and "conflict markers" in conflict.message
    assert "mlos-sync compile --resolve" in conflict.fix and both in conflict.fix
    stripped = guard.moved_without_seal("REN.md", "a\nb.md")
    assert (stripped.path, stripped.kind) == ("REN.md", guard.STRIPPED)
    assert "renamed from $'a\\012b.md' and stripped of its seal" in stripped.message


def test_findings_are_values():
    """Two equal findings are equal, hash alike and can be read."""
    one, two = guard.Finding("a", guard.EDITED, "m", "f"), guard.Finding("a", guard.EDITED, "m", "f")
    assert one == two
    assert len({one, two}) == 1
    assert repr(one) == "Finding(path='a', kind='edited', message='m', fix='f')"
