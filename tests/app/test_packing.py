"""Packing: a folder with the document and the files, and the agent it was made for."""

import hashlib
import json
import os

import pytest
from viewed import NEED, OTHER, make_filled, opened, root, sql

from mlos_sync.app import packing
from mlos_sync.core import seal
from mlos_sync.edge import files
from mlos_sync.errors import SurroundingsError, UsageError


@pytest.fixture
def place(tmp_path):
    return make_filled(tmp_path)


def agents(index):
    return index.db.execute("SELECT count(*) FROM agents").fetchone()[0]


def test_a_pack_holds_document_and_files(place, tmp_path):
    """The document is sealed, and every copy has the bytes and the hash that it names."""
    out = tmp_path / "out"
    with opened(place) as index:
        made = packing.pack(index, [("need", NEED)], "researcher", str(out))
    odd = next(path for path in made["files"] if "wei" in path)
    assert made["files"] == ["CONTEXT_PACK.md", "files/notes/deep/data.bin", odd]
    document = (out / "CONTEXT_PACK.md").read_bytes()
    assert seal.check(document).state == seal.VALID
    for path in made["files"][1:]:
        data = (out / path).read_bytes()
        assert data == (root(place) / path.removeprefix("files/")).read_bytes()
        assert hashlib.sha256(data).hexdigest().encode() in document
    assert b"](files/notes/wei%C3%9F%20%5Bx%5D%20%60b%60%7Cc.md)" in document
    assert f"- Agent: researcher (agent-{made['agent']['uid'][:6]})".encode() in document


def test_the_agent_is_registered_with_what_it_got(place, tmp_path):
    """A provisioning row that watches the needs, edges to what it was given, and an event with an author."""
    with opened(place) as index:
        made = packing.pack(index, [("need", NEED), ("need", OTHER), ("need", NEED)], None, str(tmp_path / "out"))
        row = made["agent"]
        assert (row["agent_type"], row["status"]) == ("agent", "provisioning")
        given = {
            path for (path,) in index.db.execute(
                "SELECT file_path FROM artifacts WHERE id IN (SELECT value FROM json_each(?))", (row["provisioned_artifacts"],)
            )
        }  # fmt: skip
        assert {f"files/{path}" for path in given} == set(made["files"]) - {"CONTEXT_PACK.md"}
        assert len(json.loads(row["monitored_needs"])) == 2
        edges = (
            "SELECT count(*) FROM relationships WHERE source_type = 'agent' AND source_id = ? AND relationship_type = ?"
        )
        assert index.db.execute(edges, (row["id"], "consumed")).fetchone() == (2,)
        assert index.db.execute(edges, (row["id"], "monitors")).fetchone() == (2,)
        (line,) = index.db.execute("SELECT line FROM events WHERE kind = 'agent'").fetchone()
        assert (json.loads(line)["actor"], json.loads(line)["door"]) == ("Ada <ada@example.org>", "cli")


def test_the_work_tree_as_it_stands_is_packed(place, tmp_path):
    """Untracked files too, and edits that are not committed."""
    (root(place) / "draft.md").write_text("draft\n")
    with opened(place) as index:
        (number,) = index.db.execute("SELECT id FROM artifacts WHERE file_path = 'draft.md'").fetchone()
    sql(
        place,
        ("INSERT INTO relationships(source_type, source_id, relationship_type, target_type, target_id)"
         " SELECT 'need', id, 'references', 'artifact', ? FROM needs WHERE uid = ?", (number, OTHER)),
    )  # fmt: skip
    with opened(place) as index:
        made = packing.pack(index, [("need", OTHER)], "a", str(tmp_path / "out"))
    assert made["files"] == ["CONTEXT_PACK.md", "files/draft.md"]


def test_links_are_not_followed(place, tmp_path):
    """A symbolic link is named and not copied, wherever it leads."""
    (tmp_path / "secret").write_text("secret")
    with opened(place):
        pass
    target = root(place) / "notes/deep/data.bin"
    target.unlink()
    target.symlink_to(tmp_path / "secret")
    with opened(place) as index:
        made = packing.pack(index, [("need", NEED)], "a", str(tmp_path / "out"))
    assert len(made["files"]) == 2
    assert "it cannot be read" in (tmp_path / "out/CONTEXT_PACK.md").read_text()


@pytest.mark.parametrize("inside", ["full", "file"])
def test_a_folder_that_is_not_empty_is_refused(place, tmp_path, inside):
    """Nothing in it is touched, and no agent is registered."""
    out = tmp_path / "out"
    if inside == "full":
        out.mkdir()
        (out / "mine").write_text("x")
    else:
        out.write_text("x")
    with opened(place) as index:
        with pytest.raises(UsageError):
            packing.pack(index, [("need", NEED)], "a", str(out))
        assert agents(index) == 0
    assert out.is_file() or os.listdir(out) == ["mine"]


@pytest.mark.parametrize("needs", [[], [("task", NEED)], [("need", "0" * 32)]])
def test_a_pack_is_for_needs(place, tmp_path, needs):
    """None, another kind, or an unknown one is a mistake of the call."""
    with opened(place) as index, pytest.raises(UsageError):
        packing.pack(index, needs, "a", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_pack_that_fails_leaves_nothing(place, tmp_path, monkeypatch, there):
    """Neither files nor an agent, and a folder that was there stays."""
    out = tmp_path / "out"
    if there:
        out.mkdir()

    def full(*_args, **_options):
        raise SurroundingsError("the disk is full")

    monkeypatch.setattr(files, "write", full)
    with opened(place) as index:
        with pytest.raises(SurroundingsError):
            packing.pack(index, [("need", NEED)], "a", str(out))
        assert agents(index) == 0
    assert out.exists() == there
    assert not there or os.listdir(out) == []


def test_what_changed_since_is_told(place, tmp_path):
    """Changed and vanished files, by path; an untouched pack says nothing."""
    out = str(tmp_path / "out")
    with opened(place) as index:
        packing.pack(index, [("need", NEED)], "a", out)
        assert packing.changed(index, out) == []
    (root(place) / "notes/deep/data.bin").write_bytes(b"new")
    next((root(place) / "notes").glob("wei*")).unlink()
    with opened(place) as index:
        told = packing.changed(index, out)
    assert [one["state"] for one in told] == ["changed", "gone"]
    with opened(place) as index, pytest.raises(UsageError):
        packing.changed(index, str(tmp_path))


def test_what_changed_since_a_pack_was_made(tmp_path):
    """By the command: nothing, then a file that changed and one that went."""
    from cli import need, quick, save, workspace, write

    repo = workspace(tmp_path)
    for name in ("a.md", "b.md"):
        write(repo, name, name)
    save(repo, "files")
    need(repo, "Know")
    quick(repo, "sync")
    for name in ("a.md", "b.md"):
        quick(repo, "link", "need:1", "references", f"artifact:{name}")
    out = str(tmp_path / "pack")
    assert quick(repo, "pack", "--need", "need:1", "--out", out).code == 0
    assert quick(repo, "pack", "--status", out).code == 0
    write(repo, "a.md", "other")
    (repo / "b.md").unlink()
    done = quick(repo, "pack", "--status", out, "--json", ok=False)
    assert done.code == 1
    assert done.json["changed"] == [{"path": "a.md", "state": "changed"}, {"path": "b.md", "state": "gone"}]
    assert quick(repo, "pack", "--need", "need:1", ok=False).code == 2
    assert quick(repo, "pack", "--status", str(repo), ok=False).code == 2
