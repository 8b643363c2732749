"""Compiling: a view is a pure function of the tree, written only when its bytes change, never over a hand edit."""

import hashlib
import os
import random
import time
from contextlib import closing
from pathlib import Path

import pytest
from cli import quick
from gitrepo import git
from viewed import (
    NEED,
    TASK,
    cloned,
    commit,
    compile_all,
    make_filled,
    opened,
    root,
    shown_views,
    sql,
)

from mlos_sync.app import compiling, merging, sync, verifying
from mlos_sync.app import events as remember
from mlos_sync.app.folding import refold
from mlos_sync.app.gathering import Records, Source
from mlos_sync.app.viewing import compile_view
from mlos_sync.core import seal
from mlos_sync.core.frontmatter import read as read_frontmatter
from mlos_sync.core.journal import trusted
from mlos_sync.core.split import split
from mlos_sync.edge import store
from mlos_sync.edge.workspace import find
from mlos_sync.errors import RefusedError, UsageError

SEED_KEYS = ["id", "title", "created", "updated", "desc", "tags", "source_transcript", "compiled_at"]


@pytest.fixture
def place(tmp_path):
    return make_filled(tmp_path)


def states(place):
    with opened(place) as index:
        return {one.path: one.state for one in compiling.plan(index)}


def fields(data):
    return read_frontmatter(split(data).text)


def test_views_are_written_once_and_then_left_alone(place):
    """The second run writes nothing: no byte and no time of a file changes."""
    written, unchanged = compile_all(place)
    every = [".mlos/INDEX.md", "PROBLEM.md", "views/alpha.md", "views/pack.md", "views/status.md"]
    assert (sorted(written), unchanged) == (every, [])
    before = {path: os.stat(root(place) / path).st_mtime_ns for path in written}
    assert compile_all(place) == ([], written)
    assert before == {path: os.stat(root(place) / path).st_mtime_ns for path in written}


def test_the_frontmatter_has_the_seeds_keys_in_the_seeds_order(place):
    """Every view is sealed and carries exactly the keys of the seed, then its seal."""
    compile_all(place)
    for data in shown_views(place).values():
        assert list(fields(data)) == [*SEED_KEYS, "seal"]
        assert seal.check(data).state == seal.VALID


def test_the_problem_view_shows_needs_tasks_and_files(place):
    """Scopes, nesting, marks, words and links stand as text that no title can break."""
    compile_all(place)
    text = (root(place) / "PROBLEM.md").read_text()
    assert "do not edit" in text.partition("# Problem\n\n")[2].split("\n")[0]
    assert r"### ◔ Make \*retries\* \|polite\| please \`now\` {{ 7 \* 7 }} · need-3f9a2c" in text
    assert "active · high" in text
    assert "> First line\n>\n> \\<b\\>third\\</b\\>\n" in text
    assert "- [/] Add jitter · task-5d0c9e · in progress · no priority" in text
    assert "#### ○ Child · need-77aa11" in text
    assert "](notes/wei%C3%9F%20%5Bx%5D%20%60b%60%7Cc.md) (references)" in text
    assert r"- [A \| \`b\` \[x\] é](" in text
    assert text.index("## alpha") < text.index("## No scope") < text.index("## Tasks without a need")


def test_numbers_never_matter(place):
    """The same records under other numbers, in the other order, give the same bytes."""
    compile_all(place)
    with opened(place) as index, closing(store.create(":memory:")) as db:
        events = [trusted(line) for (line,) in index.db.execute("SELECT line FROM events")]
        _fill_store(db, events)
        _renumber(db)
        same_bytes(place, index, db)


def _renumber(db):
    db.execute("PRAGMA foreign_keys = OFF")
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f'DROP TRIGGER "{name}"')
    db.execute("UPDATE needs SET id = 9000 - id, parent_need_id = 9000 - parent_need_id")
    db.execute("UPDATE tasks SET id = 9000 - id, need_id = 9000 - need_id")


def _fill_store(db, events):
    with store.transaction(db), store.capture(db, on=False):
        remember.add_events(db, events)
        db.execute("UPDATE events SET visible = 1")
        refold(db, db.execute("SELECT DISTINCT kind, uid FROM events").fetchall())


def same_bytes(place, index, db):
    """All views of other records beside the same files are what stands there."""
    with compiling.source_of(index) as live:
        source = Source(Records(db), live.config, live.files, live.read)
        for view in live.config.views:
            assert compile_view(source, view) == (root(place) / view.path).read_bytes()


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_events_does_not_matter(place, seed):
    """The same events, taken in one at a time in any order, compile to the same bytes."""
    compile_all(place)
    with opened(place) as index, closing(store.create(":memory:")) as db:
        events = [trusted(line) for (line,) in index.db.execute("SELECT line FROM events")]
        random.Random(seed).shuffle(events)
        for event in events:
            _fill_store(db, [event])
        same_bytes(place, index, db)


def test_needs_come_in_the_seeds_order(place):
    """Priority first and none last, then the newest, then the uid."""
    sql(
        place,
        "PRAGMA foreign_keys = ON",
        "DELETE FROM needs",
        *(
            ("INSERT INTO needs(uid, title, priority) VALUES (?, ?, ?)", (f"{digit}" * 32, title, priority))
            for digit, title, priority in (
                ("b", "late", None),
                ("c", "second", 3),
                ("a", "first", 1),
                ("d", "also", None),
            )
        ),
    )
    compile_all(place)
    lines = (root(place) / "PROBLEM.md").read_text().split("\n")
    order = [line.split()[2] for line in lines if line.startswith("### ")]
    assert order[:2] == ["first", "second"]
    assert sorted(order[2:]) == ["also", "late"]


def test_needs_that_are_one_anothers_parents_are_shown_once(place):
    """A circle of parents, which a merge can make, ends."""
    # The database lets nobody make one by hand.
    with opened(place) as index, store.transaction(index.db), store.capture(index.db, on=False):
        index.db.execute(
            "UPDATE needs SET parent_need_id = (SELECT id FROM needs WHERE title = 'Child') WHERE uid = ?", (NEED,)
        )
    compile_all(place)
    text = (root(place) / "PROBLEM.md").read_text()
    assert text.count("need-3f9a2c\n") == 1
    assert text.count("Child · ") == 1


def test_a_child_of_a_need_that_is_not_shown_says_so(place):
    """A resolved parent is named where it is not shown."""
    sql(
        place,
        *(("UPDATE needs SET status = ? WHERE uid = ?", (s, NEED)) for s in ("actionable", "in_progress", "resolved")),
    )
    compile_all(place)
    text = (root(place) / "PROBLEM.md").read_text()
    assert "### ○ Child · need-77aa11\n\nidentified · no priority · part of need-3f9a2c\n" in text


def test_compiled_at_is_the_newest_event_of_what_is_or_was_in_the_view(place):
    """A need that left the scope moves the time of the view that it left; another scope's need does not."""
    compile_all(place)
    first = fields(shown_views(place)["views/alpha.md"])
    time.sleep(1.1)
    sql(place, "INSERT INTO needs(title, scope) VALUES ('Elsewhere', 'beta')")
    assert compile_all(place, "views/alpha.md") == ([], ["views/alpha.md"])
    sql(place, ("UPDATE needs SET scope = 'beta' WHERE uid = ?", (NEED,)))
    compile_all(place)
    after = fields(shown_views(place)["views/alpha.md"])
    assert after["compiled_at"] > first["compiled_at"]
    assert after["created"] == first["created"]
    assert b"need-3f9a2c" not in shown_views(place)["views/alpha.md"].replace(b"part of need-3f9a2c", b"")
    config = find(place.root).config
    assert fields(shown_views(place)[".mlos/INDEX.md"])["compiled_at"] == config.created


def test_an_index_lists_what_git_tracks_by_path(place):
    """Tracked files and the views of the config, never itself, never the untracked."""
    (root(place) / "notes/untracked.md").write_text("x")
    compile_all(place)
    text = (root(place) / ".mlos/INDEX.md").read_text()
    assert "untracked.md" not in text
    assert "INDEX.md" not in text
    assert "[run.py](../run.py) · code · run.py" in text
    assert r"— what \<it\> is" in text
    listed = [line.split(" · ")[2].split(" — ")[0] for line in text.split("\n") if line.startswith("- [")]
    assert [path for path in listed if "/" not in path] == [".gitattributes", "PROBLEM.md", "run.py"]


def test_an_index_of_a_folder_is_exact(place):
    """`note_` is a folder's name and no pattern."""
    for path in ("note_/in.md", "noteX/out.md", "note_x/out.md"):
        (root(place) / path).parent.mkdir()
        (root(place) / path).write_text("x")
    config = root(place) / ".mlos/config.toml"
    config.write_text(
        config.read_text() + '[[view]]\npath = "I.md"\nkind = "index"\nfolder = "note_/"\ntitle = "Mine"\n'
    )
    git(root(place), "add", "-A")
    compile_all(place, "I.md")
    text = (root(place) / "I.md").read_text()
    assert ("in.md" in text, "out.md" in text, "# Mine" in text) == (True, False, True)


def test_a_context_pack_holds_texts_whole_and_lists_the_rest(place):
    """Text is fenced, exact and hashed; bytes that are no text are listed with their hash."""
    compile_all(place)
    text = (root(place) / "views/pack.md").read_text()
    assert "`````\n---\ntitle: " in text
    assert "text\n````\nin\n````\n`````\n" in text
    assert "- Linked: need-3f9a2c references" in text
    assert "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880" in text  # sha256 of bytes(range(256))
    assert "not shown, no text, 256 bytes" in text
    assert fields(text.encode())["source_transcript"] == "t.md"


def test_a_large_text_is_listed_only(place):
    """More than 64 KiB are not taken in."""
    path = next((root(place) / "notes").glob("wei*"))
    path.write_text("x" * 65_537)
    compile_all(place)
    assert "not shown, 65537 bytes" in (root(place) / "views/pack.md").read_text()


def test_a_pack_shows_no_content_of_views(place):
    """A view in a pack would change with every compile, so only its name stands there."""
    compile_all(place)
    commit(place)
    with opened(place) as index:
        (number,) = index.db.execute("SELECT id FROM artifacts WHERE file_path = 'PROBLEM.md'").fetchone()
    sql(
        place,
        ("INSERT INTO relationships(source_type, source_id, relationship_type, target_type, target_id)"
         " SELECT 'need', id, 'references', 'artifact', ? FROM needs WHERE uid = ?", (number, NEED)),
    )  # fmt: skip
    compile_all(place)
    assert "not shown, a compiled view" in (root(place) / "views/pack.md").read_text()
    assert compile_all(place)[0] == []


def test_a_moved_file_is_named_as_the_journal_names_it(place):
    """Only git log knows where a file went, so the view says that nothing stands at the path; verify agrees."""
    git(root(place), "mv", "notes/deep/data.bin", "moved.bin")
    commit(place, "move")
    compile_all(place)
    assert (
        "- notes/deep/data.bin (blocks; no such file here: moved or deleted)"
        in (root(place) / "PROBLEM.md").read_text()
    )
    commit(place)
    assert verifying.verify(place) == []


def test_a_clone_compiles_the_same_bytes(place, tmp_path, monkeypatch):
    """Full and shallow clones, in another time zone and another locale, with line ends of another system."""
    compile_all(place)
    commit(place)
    commit(place, "another, so that shallow differs")
    for name, options in (("full", ()), ("shallow", ("--depth", "1")), ("crlf", ("-c", "core.autocrlf=true"))):
        monkeypatch.setenv("TZ", "Pacific/Kiritimati")
        monkeypatch.setenv("LC_ALL", "C")
        time.tzset()
        clone = cloned(place, tmp_path / name, *options)
        assert set(states(clone).values()) == {"current"}, name
        with opened(clone) as index:
            for one in compiling.plan(index):
                assert one.data == (root(place) / one.path).read_bytes()
        for view in clone.config.views:
            (root(clone) / view.path).unlink()
        if name != "crlf":
            compile_all(clone)
            assert shown_views(clone) == shown_views(place)
    monkeypatch.undo()
    time.tzset()


def test_a_sparse_checkout_compiles_the_same_bytes(place, tmp_path):
    """What is left out of the work tree is in the tree all the same."""
    compile_all(place)
    commit(place)
    clone = cloned(place, tmp_path / "sparse")
    git(root(clone), "sparse-checkout", "set", "--no-cone", "/*", "!/notes/")
    assert not (root(clone) / "notes").exists()
    assert set(states(clone).values()) == {"current"}


def test_a_file_in_lfs_has_the_hash_of_its_pointer(place):
    """What git stores decides, as in a clone that never fetched the content."""
    from mlos_sync.edge import git as plumbing

    path = root(place) / "notes/deep/data.bin"
    compile_all(place)
    sha = "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880"
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize 256\n".encode()
    plumbing.stage_blob(place.root, "notes/deep/data.bin", plumbing.write_blob(place.root, pointer))
    compile_all(place)
    assert sha not in (root(place) / "views/pack.md").read_text().replace(f"oid sha256:{sha}", "")
    path.write_bytes(b"other")
    compile_all(place)
    assert "oid sha256" not in (root(place) / "views/pack.md").read_text()


def test_a_closing_by_a_commit_is_shown_and_published(place):
    """A trailer completes the task in the next compile, and the commit of that view verifies."""
    compile_all(place)
    commit(place)
    commit(place, f"work\n\nCloses: task-{TASK[:16]}")
    compile_all(place)
    assert "- [x] Add jitter" in (root(place) / "PROBLEM.md").read_text()
    commit(place)
    assert verifying.verify(place) == []


@pytest.mark.parametrize("edit", ["append", "foreign", "emptied"])
def test_a_hand_edit_stops_the_whole_run(place, edit):
    """Nothing is written while one view holds what we did not write, and the message says the way out."""
    compile_all(place)
    problem, index_file = root(place) / "PROBLEM.md", root(place) / ".mlos/INDEX.md"
    index_file.unlink()
    content = {"append": problem.read_bytes() + b"mine\n", "foreign": b"# my own\n", "emptied": b""}[edit]
    problem.write_bytes(content)
    with pytest.raises(RefusedError, match=r"PROBLEM\.md") as refused:
        compile_all(place)
    assert "--discard" in refused.value.hint
    assert problem.read_bytes() == content
    assert not index_file.exists()
    assert states(place)["PROBLEM.md"] == "edited"


def test_discard_keeps_the_edit(place):
    """The edit stands in the git directory afterwards, however often that happens in one second."""
    compile_all(place)
    for text in ("one\n", "two\n"):
        (root(place) / "PROBLEM.md").write_text(text)
        assert compile_all(place, discard=True)[0] == ["PROBLEM.md"]
    kept = sorted(Path(place.state, "discarded").iterdir())
    assert sorted(one.read_text() for one in kept) == ["one\n", "two\n"]
    assert set(states(place).values()) == {"current"}


def test_a_link_in_the_place_of_a_view_is_never_followed(place, tmp_path):
    """Neither with nor without --discard is anything written through or over a symbolic link."""
    (tmp_path / "target.md").write_text("precious")
    (root(place) / "PROBLEM.md").symlink_to(tmp_path / "target.md")
    for discard in (False, True):
        with pytest.raises(RefusedError, match="no regular file"):
            compile_all(place, discard=discard)
    assert (tmp_path / "target.md").read_text() == "precious"


def test_an_older_compile_is_simply_replaced(place):
    """A valid seal is ours, whichever clone made it."""
    compile_all(place)
    sql(place, "INSERT INTO needs(title) VALUES ('new')")
    assert states(place) == {
        "PROBLEM.md": "stale", ".mlos/INDEX.md": "current", "views/alpha.md": "current", "views/pack.md": "current",
        "views/status.md": "current",
    }  # fmt: skip
    assert compile_all(place)[0] == ["PROBLEM.md"]


def test_mode_and_line_ends_are_kept(place):
    """Of a file that stands there; git and the seal see the same as before."""
    compile_all(place)
    commit(place)
    target = root(place) / "PROBLEM.md"
    target.write_bytes(target.read_bytes().replace(b"\n", b"\r\n"))
    target.chmod(0o755)
    sql(place, "INSERT INTO needs(title) VALUES ('new')")
    assert compile_all(place)[0] == ["PROBLEM.md"]
    data = target.read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") > 0 and b"new" in data
    assert target.stat().st_mode & 0o777 == 0o755 and seal.check(data).state == seal.VALID
    assert states(place)["PROBLEM.md"] == "current"


def test_views_are_chosen_by_path(place):
    """Only the named ones are written, and an unknown name lists the known."""
    assert compile_all(place, "views/alpha.md") == (["views/alpha.md"], [])
    with pytest.raises(UsageError, match="nope") as wrong:
        compile_all(place, "nope.md")
    assert "PROBLEM.md" in wrong.value.hint


def test_a_merge_conflict_in_a_view_is_resolved_by_compiling(place):
    """Unmerged views are written anew with resolve, and refused without."""
    merging.remove(place)
    compile_all(place)
    commit(place)
    git(root(place), "branch", "side")
    for branch, title in (("main", "here"), ("side", "there")):
        git(root(place), "checkout", "-q", branch)
        sql(place, ("INSERT INTO needs(title, priority) VALUES (?, 1)", (title,)))
        compile_all(place)
        commit(place, title)
    git(root(place), "merge", "-q", "main", check=False)
    with pytest.raises(RefusedError):
        compile_all(place)
    assert "PROBLEM.md" in compile_all(place, resolve=True)[0]
    text = (root(place) / "PROBLEM.md").read_text()
    assert "here" in text and "there" in text and "<<<<" not in text
    commit(place, "merged")
    assert verifying.verify(place) == []


def test_a_pack_of_an_unknown_need_is_a_mistake_of_the_config(place):
    """The message names the view and the reference; a need that was deleted is still known."""
    config = root(place) / ".mlos/config.toml"
    good = config.read_text()
    config.write_text(good.replace("need-3f9a2c", "need-000000"))
    with pytest.raises(UsageError, match=r"views/pack\.md names need-000000"):
        compile_all(place)
    config.write_text(good)
    sql(place, "PRAGMA foreign_keys = ON", ("DELETE FROM needs WHERE uid = ?", (NEED,)))
    compile_all(place)
    assert "need-3f9a2c" in (root(place) / "views/pack.md").read_text()


def test_what_was_written_is_taken_in_at_once(place):
    """As a walk would have: new views, views that changed, and views that are no artifacts because a pattern says so."""
    (root(place) / ".mlosignore").write_text("views/alpha.md\n")
    for title in ("first", "second"):
        sql(place, ("INSERT INTO needs(title, scope, priority) VALUES (?, 'alpha', 1)", (title,)))
        assert quick(root(place), "compile").code == 0
        with opened(place) as index:
            held = dict(index.db.execute("SELECT file_path, content_hash FROM artifacts").fetchall())
        for view in place.config.views:
            found = hashlib.sha256((root(place) / view.path).read_bytes()).hexdigest()
            assert held.get(view.path) == (None if view.path == "views/alpha.md" else found), (title, view.path)
        assert quick(root(place), "rebuild", "--check").code == 0
    assert '"fresh": true' in quick(root(place), "status", "--json").out


def test_a_file_that_is_another_by_now_is_looked_at(place):
    """Somebody saved over a view between our write and the index."""
    compile_all(place)
    with opened(place) as index:
        sync.sync(index)
        ours = {"PROBLEM.md": (root(place) / "PROBLEM.md").read_bytes()}
        (root(place) / "PROBLEM.md").write_bytes(b"by hand\n")
        sync.register(index, ours)
        (held,) = index.db.execute("SELECT content_hash FROM artifacts WHERE file_path = 'PROBLEM.md'").fetchone()
    assert held == hashlib.sha256(b"by hand\n").hexdigest()


def test_a_pack_of_a_numbered_need_is_refused_with_its_lasting_name(place):
    """A merge may give a number to another need, and the pack would show that one without a word."""
    config = root(place) / ".mlos/config.toml"
    config.write_text(config.read_text().replace('need = "need-3f9a2c"', 'need = "need:1"'))
    told = quick(root(place), "compile", ok=False)
    first = quick(root(place), "need", "show", "need:1", "--json").json["row"]["uid"]
    assert told.code == 2 and "need:1, a number" in told.err and f'need = "need-{first[:6]}"' in told.err


def test_looking_writes_no_file_and_a_damaged_cache_is_made_anew(place):
    """`compile --check` keeps no compiled template; one that was cut short is compiled again."""
    quick(root(place), "compile", "--check", ok=False)
    assert not list(Path(place.state).glob("*.cache"))
    quick(root(place), "compile")
    kept = list(Path(place.state).glob("*.cache"))
    assert kept
    for file in kept:
        file.write_bytes(file.read_bytes()[:30])
    for view in find(place.root).config.views:
        (root(place) / view.path).unlink()
    quick(root(place), "compile")
    assert min(file.stat().st_size for file in kept) > 30


def test_a_view_that_a_sparse_checkout_leaves_out_is_not_written(place):
    """Somebody wants that folder out of the work tree; the other views are compiled as ever."""
    compile_all(place)
    commit(place)
    git(root(place), "sparse-checkout", "set", "--no-cone", "/*", "!/views/")
    assert not (root(place) / "views").exists()
    sql(place, "UPDATE needs SET title = 'another'")
    written, unchanged = compile_all(place)
    assert "PROBLEM.md" in written and "views/alpha.md" in unchanged
    assert not (root(place) / "views").exists()
