"""A workspace with needs, tasks, files and views, for the tests of what is compiled from it.

place = make_workspace(tmp_path)      # real git, hooks and database, one commit of files
sql(place, "INSERT INTO needs(title) VALUES (?)", ("better",))
compile_all(place)                    # what `mlos-sync compile` does
commit(place)                         # publishes what is pending, then commits everything
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from copies import copied
from gitrepo import git, make_repo

from mlos_sync.app import compiling, opening, publishing, setup, sync
from mlos_sync.app.opening import Index
from mlos_sync.edge.workspace import Workspace, find, shipped

NEED = "3f9a2c4155d01e7788990011aabbccdd"
OTHER = "77aa11223344556677889900aabbccdd"
TASK = "5d0c9e8155d01e7788990011aabbccdd"
VIEWS = """
[[view]]
path = "views/alpha.md"
kind = "problem"
scope = "alpha"

[[view]]
path = "views/pack.md"
kind = "context_pack"
need = "need-3f9a2c"

[[view]]
path = "views/status.md"
kind = "status"
"""
FILES = {
    "run.py": b"print(1)\n",
    "notes/plain.md": b"no frontmatter\n",
    "notes/wei\xc3\x9f [x] `b`|c.md": b'---\ntitle: "A | `b`\\n[x] \xc3\xa9"\ndesc: "what <it> is"\n---\ntext\n````\nin\n````\n',
    "notes/deep/data.bin": bytes(range(256)),
}


def make_workspace(tmp_path: Path, *options: str) -> Workspace:
    """A repository with hooks, the standard views and some more, and files that are committed; `options` of init. All that
    are made here are copies of what a process makes once."""
    return _copied(_make_workspace, tmp_path, *options)


def make_filled(tmp_path: Path) -> Workspace:
    """The same with records, pending."""
    return _copied(_make_filled, tmp_path)


def make_compiled(tmp_path: Path) -> Workspace:
    """The same with records, its views compiled, all committed."""
    return _copied(_make_compiled, tmp_path)


def make_marked(tmp_path: Path) -> Workspace:
    """The same, and git asks us about all its views."""
    return _copied(_make_marked, tmp_path)


def _copied(make: Callable[..., Workspace], tmp_path: Path, *options: str) -> Workspace:
    return find(str(copied(make, tmp_path, *options) / "repo"))


def _make_workspace(tmp_path: Path, *options: str) -> Workspace:
    repo = make_repo(tmp_path, *options)
    made = setup.initialise(str(repo)).workspace
    config = repo / ".mlos/config.toml"
    config.write_text(config.read_text() + VIEWS)
    for path, data in FILES.items():
        target = Path(os.fsdecode(os.path.join(os.fsencode(str(repo)), path.encode("latin-1"))))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--no-verify", "-m", "files")
    return find(made.root)


def _make_filled(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path)
    fill(made)
    return made


def _make_compiled(tmp_path: Path) -> Workspace:
    made = make_filled(tmp_path)
    compile_all(made)
    commit(made)
    return made


def _make_marked(tmp_path: Path) -> Workspace:
    made = make_filled(tmp_path)
    setup.initialise(made.root)  # the config has views that .gitattributes does not name yet
    compile_all(made)
    commit(made)
    return made


def root(place: Workspace) -> Path:
    """The work tree."""
    return Path(place.root)


def sql(place: Workspace, *statements: tuple[str, tuple[object, ...]] | str) -> None:
    """Run statements as another program would: plain sqlite3 on the database."""
    with contextlib.closing(sqlite3.connect(place.database, isolation_level=None)) as db:
        for one in statements:
            text, values = (one, ()) if isinstance(one, str) else one
            db.execute(text, values)


def fill(place: Workspace) -> None:
    """Three needs, two tasks and two edges to files."""
    with opened(place) as index:
        numbers = dict(index.db.execute("SELECT file_path, id FROM artifacts").fetchall())
    odd = next(path for path in numbers if path and path.startswith("notes/wei"))
    sql(
        place,
        ("INSERT INTO needs(uid, title, description, status, priority, scope, source_transcript) VALUES (?, ?, ?, ?, ?, ?, ?)",
         (NEED, "Make *retries* |polite|\nplease `now` {{ 7 * 7 }}", "First line\n\n<b>third</b>", "active", 2, "alpha", "t.md")),
        ("INSERT INTO needs(uid, title, scope, parent_need_id) SELECT ?, 'Child', 'alpha', id FROM needs WHERE uid = ?",
         (OTHER, NEED)),
        "INSERT INTO needs(title, priority) VALUES ('Unscoped', 1)",
        ("INSERT INTO tasks(uid, need_id, description, status) SELECT ?, id, 'Add jitter', 'in_progress' FROM needs WHERE uid = ?",
         (TASK, NEED)),
        "INSERT INTO tasks(description) VALUES ('Loose end')",
        *(
            ("INSERT INTO relationships(source_type, source_id, relationship_type, target_type, target_id)"
             " SELECT 'need', id, ?, 'artifact', ? FROM needs WHERE uid = ?", (kind, numbers[path], NEED))
            for kind, path in (("references", odd), ("blocks", "notes/deep/data.bin"))
        ),
    )  # fmt: skip


@contextlib.contextmanager
def opened(place: Workspace) -> Iterator[Index]:
    """The index, brought up to date; the config is read anew."""
    index = opening.open_index(place.root)
    try:
        sync.sync(index)
        yield index
    finally:
        index.db.close()


def compile_all(place: Workspace, *names: str, **options: bool) -> tuple[list[str], list[str]]:
    """What `mlos-sync compile` does: (written, unchanged)."""
    with opened(place) as index:
        done = compiling.compile_views(index, names, **options)
    return list(done.written), done.unchanged


def commit(place: Workspace, message: str = "a change") -> str:
    """Publish what is pending and commit all there is; the commit's id."""
    with opened(place) as index:
        publishing.publish(index)
    git(root(place), "add", "-A")
    git(root(place), "commit", "-q", "--no-verify", "--allow-empty", "-m", message)
    return git(root(place), "rev-parse", "HEAD").stdout.strip()


def shown_views(place: Workspace) -> dict[str, bytes]:
    """The bytes of every view on disk."""
    return {view.path: (root(place) / view.path).read_bytes() for view in find(place.root).config.views}


def cloned(place: Workspace, target: Path, *options: str) -> Workspace:
    """A clone with a rebuilt database."""
    git(root(place).parent / "repo", "clone", "-q", *options, f"file://{place.root}", str(target))
    found = find(str(target))
    setup.rebuild(found)
    return found


def template(kind: str) -> str:
    """The template that is shipped for a kind of view."""
    return (Path(shipped("templates")) / f"{kind}.md.j2").read_bytes().decode()
