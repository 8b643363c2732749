"""The contract of the command line: one JSON document with the fields that scripts rely on, exit codes, errors without
a traceback, and nothing left behind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest
from cli import add, changed, link, need, run, save, sql, synced, workspace, write
from gitrepo import git, make_repo

NEED = {"id", "uid", "title", "description", "status", "priority", "scope", "created_at", "updated_at",
        "source_transcript", "parent_need_id"}  # fmt: skip
TASK = {"id", "uid", "need_id", "description", "status", "priority", "assigned_agent_id", "result", "created_at",
        "updated_at", "assigned_date", "source_transcript"}  # fmt: skip
AGENT = {"id", "uid", "agent_type", "status", "kernel_version", "provisioned_artifacts", "assigned_tasks", "model",
         "monitored_needs", "session_transcript", "started_at", "completed_at", "result_summary"}  # fmt: skip
ARTIFACT = {"id", "uid", "title", "description", "file_path", "artifact_type", "content_hash", "created_at", "updated_at",
            "source_transcript"}  # fmt: skip
EDGE = {"source", "type", "target", "evidence", "metadata"}
TIME = "2026-11-20T10:00:00Z"


@pytest.fixture
def repo(tmp_path):
    return workspace(tmp_path)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """One workspace for all tests that only look: a note, a need with its task, an agent, an edge, a commit."""
    repo = workspace(tmp_path_factory.mktemp("full"))
    need(repo, "Know why", status="actionable", priority=2, scope="core")
    add(repo, "agent", agent_type="researcher", status="active")
    write(repo, "notes/note.md", "---\ntitle: A note\n---\none\ntwo\n")
    synced(repo)
    link(repo, "need:1", "references", "artifact:notes/note.md", '{"why": "said so"}')
    save(repo, "The note\n\nTask: 1")
    synced(repo)
    return repo


def document(repo, *args, **options):
    """The JSON of a command, without what all of them share."""
    found = run(repo, *args, "--json", **options).json
    assert found.pop("schema_version") == 1
    return found


def failing(repo, codes, *args, **options):
    """A command that must fail: one line that says what is wrong, one that says what to do, nothing on stdout."""
    result = run(repo, *args, ok=False, **options)
    assert result.code in (codes if isinstance(codes, tuple) else (codes,)), (
        f"{args!r} -> {result.code}\n{result.out}{result.err}"
    )
    assert result.out == ""
    first, *rest = result.err.strip("\n").split("\n")
    assert first.startswith("mlos-sync: ") and len(first) > 20, result.err
    assert len(rest) == 1 and rest[0].startswith("  hint: ") and len(rest[0]) > 12, result.err
    return first


def test_init_and_status(tmp_path):
    """init says where things are, twice is once, and status knows the rest."""
    repo = make_repo(tmp_path)
    first = document(repo, "init")
    assert first["workspace"] == str(repo) and first["database"] == str(repo / ".git/mlos/index.db")
    assert {one["state"] for one in first["hooks"]} == {"installed"} and {"name", "path", "state"} <= set(
        first["hooks"][0]
    )
    before = tree_of(repo)
    assert document(repo, "init") == first
    assert tree_of(repo) == before
    found = document(repo, "status")
    assert set(found) >= {
        "fresh", "head", "changes", "artifacts", "needs", "tasks", "agents", "relationships", "pending_events", "watcher",
        "hooks", "conflicts", "observations",
    }  # fmt: skip
    assert set(found["changes"]) == {"added", "modified", "deleted"}
    assert {"running", "since", "coverage"} <= set(found["watcher"]) and found["head"] is None


def test_init_in_another_folder(tmp_path):
    """DIR and -C name the repository from outside."""
    repo = make_repo(tmp_path)
    write(repo, "deep/x.md", "x\n")
    assert document(tmp_path, "init", "repo")["workspace"] == str(repo)
    assert document(tmp_path, "-C", "repo", "init")["workspace"] == str(repo)
    assert document(tmp_path, "-C", "repo/deep", "status")["needs"] == 0
    assert "deep/x.md" in document(repo / "deep", "sync")["added"]


def test_status_exit_code(repo):
    """Behind the files: 1 with --exit-code, else 0."""
    assert run(repo, "status", "--exit-code", ok=False).code == (0 if document(repo, "status")["fresh"] else 1)
    run(repo, "sync")
    assert run(repo, "status", "--exit-code").code == 0
    write(repo, "new.md", "x\n")
    assert run(repo, "status", "--exit-code", ok=False).code == 1
    assert document(repo, "status")["changes"]["added"] == ["new.md"]


def test_needs(repo):
    """add, set, list with filters, show, delete: the row with all columns of the table and its whole uid."""
    row = document(
        repo, "need", "add", "Know why", "--description", "each file", "--priority", "2", "--scope", "core", "--status",
        "active", "--transcript", ".specstory/x.md",
    )  # fmt: skip
    assert set(row) >= NEED and len(row["uid"]) == 32 and row["id"] == 1
    assert (row["title"], row["priority"], row["scope"], row["status"]) == ("Know why", 2, "core", "active")
    child = document(repo, "need", "add", "Below", "--parent", "need:1")
    assert child["parent_need_id"] == 1
    # Of digits alone it would be a number, as one uid in sixteen begins
    bare = next(row["uid"][:n] for n in range(6, 33) if not row["uid"][:n].isdecimal())
    for ref in ("1", "need:1", f"need-{row['uid'][:6]}", bare, row["uid"], f"need:{bare}"):
        assert document(repo, "need", "show", ref)["row"]["id"] == 1, ref
    assert set(document(repo, "need", "show", "1")) == {"row", "edges"}
    changed_row = document(repo, "need", "set", "1", "--status", "actionable", "--scope", "")
    assert changed_row["status"] == "actionable" and changed_row["scope"] is None
    assert [one["id"] for one in document(repo, "need", "list")["rows"]] == [1, 2]
    assert document(repo, "need", "list", "--status", "identified")["rows"] == [child]
    assert document(repo, "need", "list", "--parent", "1")["rows"][0]["id"] == 2
    assert document(repo, "need", "list", "--scope", "nowhere")["rows"] == []
    assert document(repo, "need", "delete", "2")["uid"] == child["uid"]
    assert [one["id"] for one in document(repo, "need", "list")["rows"]] == [1]


def test_tasks_and_agents(repo):
    """The same for tasks and agents; an actionable need has got its task."""
    document(repo, "need", "add", "Know why", "--status", "actionable", "--priority", "1")
    (made,) = document(repo, "task", "list")["rows"]
    assert set(made) >= TASK and (made["need_id"], made["status"], made["priority"]) == (1, "open", 1)
    agent = document(repo, "agent", "start", "researcher", "--model", "m-1", "--need", "1", "--task", "1")
    assert set(agent) >= AGENT and agent["status"] == "active" and agent["started_at"].endswith("Z")
    assert json.loads(agent["monitored_needs"]) == [1] and json.loads(agent["assigned_tasks"]) == [1]
    task = document(repo, "task", "add", "Do it", "--need", "1", "--agent", "agent:1", "--assigned-date", "2026-11-20")
    assert (task["assigned_agent_id"], task["assigned_date"]) == (1, "2026-11-20")
    assert document(repo, "task", "set", "2", "--status", "completed", "--result", "done")["result"] == "done"
    assert [one["id"] for one in document(repo, "task", "list", "--status", "completed")["rows"]] == [2]
    ended = document(repo, "agent", "end", "1", "--summary", "found it")
    assert (ended["status"], ended["result_summary"]) == ("completed", "found it") and ended["completed_at"].endswith(
        "Z"
    )
    assert document(repo, "agent", "set", "agent:1", "--model", "m-2")["model"] == "m-2"
    assert [one["id"] for one in document(repo, "agent", "list", "--type", "researcher")["rows"]] == [1]
    edges = document(repo, "agent", "show", "1")["edges"]
    assert {(one["type"], one["target"]) for one in edges} >= {("monitors", "need:1")} and set(edges[0]) >= EDGE
    assert document(repo, "task", "show", "1")["row"]["id"] == 1
    assert document(repo, "task", "delete", "task:2")["id"] == 2
    assert document(repo, "agent", "delete", "1")["id"] == 1
    assert document(repo, "agent", "list")["rows"] == []


def test_many_records_from_json_lines(repo):
    """--from adds all or none, from a file or standard input."""
    lines = "".join(json.dumps({"title": f"Need {n}", "priority": 1 + n % 5}) + "\n" for n in range(20))
    assert [one["id"] for one in document(repo, "need", "add", "--from", "-", stdin=lines)["rows"]] == [*range(1, 21)]
    write(repo, "rows.jsonl", '{"description": "one", "need_id": "need:3"}\n\n{"description": "two", "need_id": 4}\n')
    assert [one["need_id"] for one in document(repo, "task", "add", "--from", "rows.jsonl")["rows"]] == [3, 4]
    for bad in ('{"title": "ok"}\n{"title": \n', '{"title": "ok"}\n[1]\n', '{"title": "ok"}\n{"titel": "x"}\n'):
        failing(repo, 2, "need", "add", "--from", "-", stdin=bad)
    failing(repo, 4, "need", "add", "--from", "-", stdin='{"title": "ok"}\n{"title": "x", "priority": 9}\n')
    failing(repo, 3, "need", "add", "--from", "missing.jsonl")
    assert len(document(repo, "need", "list")["rows"]) == 20


@pytest.mark.parametrize(
    "line",
    [
        '{"title": null}', '{"title": ["x"]}', '{"title": {"x": 1}}', "{}",
        '{"title": "x", "priority": 1.5}', '{"title": "x", "priority": "high"}',
        '{"title": "x", "parent_need_id": [1]}', '{"title": "x", "priority": 123456789012345678901234567890}',
        '{"title": "x\\u0000y"}', '{"title": "\\ud800"}', '{"title": "x", "created_at": "yesterday"}',
        '{"title": "x", "id": 7}', '{"title": "x", "uid": "zz"}', '{"title": "x", "created_at": 5}',
        '{"title": "x", "title; DROP TABLE needs": 1}', '{"title": NaN}',
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(full, line):
    """Whatever JSON holds: usage (2) or a rule of the database (4), in words."""
    failing(full, (2, 4), "need", "add", "--from", "-", stdin=line + "\n")


def test_links(repo):
    """link, links, unlink: any two ends, by any reference, with properties."""
    for title in ("One", "Two"):
        document(repo, "need", "add", title)
    write(repo, "note.md", "x\n")
    sha = save(repo, "note")
    run(repo, "sync")
    edge = document(repo, "link", "need:1", "blocks", "need:2", "--meta", '{"why": "order"}')
    assert (edge["source"], edge["type"], edge["target"], edge["metadata"]) == (
        "need:1",
        "blocks",
        "need:2",
        {"why": "order"},
    )
    document(repo, "link", "artifact:note.md", "references", "need:1")
    document(repo, "link", f"commit:{sha[:10]}", "enables", "need:1")
    edges = document(repo, "links", "need:1")["edges"]
    assert all(set(one) >= EDGE for one in edges)
    assert {(one["source"], one["type"]) for one in edges} == {
        ("need:1", "blocks"), ("artifact:note.md", "references"), (f"commit:{sha}", "enables"),
    }  # fmt: skip
    assert len(document(repo, "links", "note.md")["edges"]) == 1
    document(repo, "unlink", "need:1", "blocks", "need:2")
    assert document(repo, "links", "need:2")["edges"] == []
    failing(repo, 2, "unlink", "need:1", "blocks", "need:2")
    failing(repo, 2, "link", "need:1", "likes", "need:2")
    failing(repo, 2, "link", "need:1", "blocks", "need:9")
    failing(repo, 2, "link", "1", "blocks", "need:2")
    failing(repo, 4, "link", "need:1", "blocks", "need:1")


@pytest.mark.parametrize("meta", ["{bad", "[1]", "5", "", '"x"', "NaN"])
def test_properties_of_an_edge_are_a_json_object(full, meta):
    """--meta that is none: refused in words, and no edge is made."""
    before = document(full, "links", "task:1")["edges"]
    failing(full, (2, 4), "link", "need:1", "blocks", "task:1", "--meta", meta)
    assert document(full, "links", "task:1")["edges"] == before


def test_artifacts(full):
    """list and show: the table's columns, by path from any folder, with and without the kind."""
    rows = document(full, "artifact", "list")["rows"]
    assert all(set(row) >= ARTIFACT for row in rows)
    note = next(row for row in rows if row["file_path"] == "notes/note.md")
    assert note["title"] == "A note" and note["artifact_type"] == "document" and len(note["content_hash"]) == 64
    assert document(full, "artifact", "list", "--type", "document")["rows"] == [note]
    for folder, path in (
        (full, "notes/note.md"),
        (full / "notes", "note.md"),
        (full / "notes", str(full / "notes/note.md")),
    ):
        assert document(folder, "artifact", "show", path)["row"] == note
    assert document(full, "artifact", "show", "artifact:notes/note.md")["row"] == note
    failing(full, 2, "artifact", "show", "nothing.md")
    failing(full, 2, "artifact", "show", "../outside.md")


def test_why(full):
    """From file to need, by path, by line and by reference; from a record to what it led to."""
    found = document(full, "why", "notes/note.md")
    assert set(found) >= {"artifact", "sessions", "commits", "tasks", "needs"}
    assert found["artifact"]["file_path"] == "notes/note.md" and found["sessions"] == []
    (commit,) = found["commits"]
    assert set(commit) >= {"sha", "subject", "at", "tasks", "evidence"} and commit["subject"] == "The note"
    assert commit["evidence"] == "declared" and len(commit["tasks"]) == 1 and commit["at"].endswith("Z")
    assert [row["id"] for row in found["tasks"]] == [1] and [row["id"] for row in found["needs"]] == [1]
    assert set(found["tasks"][0]) >= TASK and set(found["needs"][0]) >= NEED
    assert document(full / "notes", "why", "note.md:4")["commits"] == [commit]
    assert document(full, "why", "artifact:notes/note.md")["commits"] == [commit]
    for reference in ("need:1", "task:1", "agent:1", f"commit:{commit['sha'][:12]}"):
        assert document(full, "why", reference)["row"]
    assert "notes/note.md" in document(full, "why", "need:1")["artifacts"]
    assert "unknown" in run(full, "why", "notes/note.md").out
    failing(full, 2, "why", "nothing.md")
    failing(full, 2, "why", "need:99")


def test_what_explains(full):
    """transcripts, conflicts, log, dump, hooks status."""
    assert set(document(full, "transcripts")) >= {"sessions", "problems"}
    assert document(full, "conflicts") == {"conflicts": []}
    events = document(full, "log", "need:1")["events"]
    assert [one["op"] for one in events] == ["create"] and events[0]["actor"]
    assert len(document(full, "log")["events"]) >= 4
    assert {one["state"] for one in document(full, "hooks", "status")["hooks"]} == {"installed"}
    assert run(full, "dump", "--canonical").out == run(full, "dump", "--canonical").out != ""
    failing(full, 2, "transcripts", "show", "abcdef")


def test_sync_publish_rebuild(repo):
    """The commands that move state say what they did."""
    found = document(repo, "sync")
    assert set(found) >= {"added", "modified", "moved", "deleted", "unchanged", "skipped", "seconds"}
    assert document(repo, "publish") == {"segment": None, "events": 0}
    run(repo, "need", "add", "Know why")
    assert document(repo, "publish")["events"] == 1
    found = document(repo, "rebuild")
    assert found["events"] == 1 and found["artifacts"] >= 2 and found["seconds"] >= 0
    assert document(repo, "rebuild", "--check") == {"identical": True, "differences": []}


def test_rebuild_check_finds_what_differs(repo):
    """Exit 1, and the lines that only one side has."""
    run(repo, "need", "add", "Know why")
    sql(repo, "INSERT INTO context(id, capture, door) VALUES (1, 0, 'x')", "UPDATE needs SET title = 'Altered'",
        "DELETE FROM context")  # fmt: skip
    done = run(repo, "rebuild", "--check", "--json", ok=False)
    assert done.code == 1 and not done.json["identical"] and "Altered" in "".join(done.json["differences"])
    run(repo, "rebuild")
    assert document(repo, "rebuild", "--check")["identical"]


def test_hooks(repo):
    """install, uninstall, status."""
    names = {"pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-merge"}
    names |= {"post-checkout", "post-rewrite", "pre-push"}
    assert {one["name"] for one in document(repo, "hooks", "status")["hooks"]} == names
    assert {one["state"] for one in document(repo, "hooks", "uninstall")["hooks"]} == {"missing"}
    assert {one["state"] for one in document(repo, "status")["hooks"]} == {"missing"}
    assert {one["state"] for one in document(repo, "hooks", "install")["hooks"]} == {"installed"}


def test_unknown_and_ambiguous_references(repo):
    """Nothing of that name: 2. Several: 4, with the choices."""
    uids = ["abcdef" + "0" * 26, "abcdef" + "1" * 26]
    for uid in uids:
        sql(repo, f"INSERT INTO needs(title, uid) VALUES ('x', '{uid}')")
    for ref in ("9", "need:9", "need-123456", "0", "99999999999999999999999", "task:1", "x", "", "need:", "need:-1"):
        failing(repo, 2, "need", "show", ref)
    said = failing(repo, 4, "need", "show", "need-abcdef")
    assert "need:1" in said and "need:2" in said
    failing(repo, 4, "need", "set", "abcdef", "--title", "y")
    failing(repo, 4, "need", "delete", "abcdef")
    failing(repo, 4, "links", "need-abcdef")
    assert document(repo, "need", "show", "abcdef0")["row"]["uid"] == uids[0]
    failing(repo, 2, "links", "need:9")
    failing(repo, 2, "log", "need:9")
    failing(repo, 2, "links", "commit:abcdef")


def test_bad_values(full):
    """A status or number that the rules do not know is refused with the rule (4); what is no number at all is usage (2)."""
    assert "identified" in failing(full, 4, "need", "add", "x", "--status", "wished")
    assert "priority" in failing(full, 4, "need", "add", "x", "--priority", "9")
    failing(full, 4, "need", "add", "   ")
    failing(full, 4, "task", "add", "x", "--status", "identified")
    failing(full, 4, "need", "set", "1", "--status", "resolved")
    failing(full, 4, "task", "set", "1", "--priority", "0")
    failing(full, 4, "agent", "start", "")
    failing(full, 2, "need", "set", "1")
    failing(full, 2, "need", "add")
    failing(full, 2, "task", "add", "x", "--need", "99")
    failing(full, 2, "need", "add", b"caf\xe9")
    failing(full, 2, "dump")


@pytest.mark.parametrize(
    "arguments",
    [["need", "add", "x", "--priority", "high"], ["need", "list", "--colour", "red"], ["nothing"], ["need", "nothing"], ["link", "need:1"]],
)  # fmt: skip
def test_usage(full, arguments):
    """Options and commands that do not exist end with 2 and say so on stderr."""
    result = run(full, *arguments, ok=False)
    assert result.code == 2 and result.out == "" and result.err


COMMANDS = [
    ["sync"], ["status"], ["rebuild"], ["rebuild", "--check"], ["publish"], ["need", "list"], ["need", "add", "x"],
    ["task", "show", "1"], ["agent", "end", "1"], ["artifact", "list"], ["link", "need:1", "blocks", "need:2"],
    ["links", "need:1"], ["why", "x"], ["dump", "--canonical"], ["hooks", "status"], ["hooks", "install"], ["conflicts"],
    ["transcripts"], ["log"], ["uninstall"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_outside_a_workspace(tmp_path, command):
    """No repository, or one without .mlos: exit 3, what to type next, and nothing is made."""
    failing(tmp_path, 3, *command)
    repo = make_repo(tmp_path)
    assert "is no workspace" in failing(repo, 3, *command)
    assert sorted(os.listdir(repo)) == [".git"] and not (repo / ".git/mlos").exists()


def test_places_where_no_workspace_can_be(tmp_path):
    """A missing folder, no repository for init, a bare repository, the inside of .git."""
    failing(tmp_path, 3, "-C", "missing", "status")
    failing(tmp_path, 3, "init")
    failing(tmp_path, 3, "init", "missing")
    git(make_repo(tmp_path), "init", "-q", "--bare", "../bare.git")
    failing(tmp_path / "bare.git", 3, "init")
    failing(tmp_path / "repo" / ".git", 3, "status")
    assert sorted(os.listdir(tmp_path / "repo")) == [".git"]


def test_git_is_missing(full, tmp_path):
    """Without git on PATH: said, with what to do."""
    assert "git" in failing(full, 3, "status", env={"PATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unknown key", 'workspace = "{0}"\ncreated = "x"\nsyrup = 1\n'),
        ("no TOML", "workspace = \n"),
        ("no UTF-8", b"\xff\xfe"),
        ("empty", ""),
        ("wrong type", "workspace = 5\ncreated = 5\n"),
        ("view", 'workspace = "{0}"\ncreated = "x"\n[[view]]\npath = "../x.md"\nkind = "problem"\n'),
        ("view kind", 'workspace = "{0}"\ncreated = "x"\n[[view]]\npath = "x.md"\nkind = "poem"\n'),
        ("view key", 'workspace = "{0}"\ncreated = "x"\n[[view]]\npath = "x.md"\nkind = "problem"\nshell = "rm"\n'),
        ("view list", 'workspace = "{0}"\ncreated = "x"\nview = 3\n'),
        ("ignore", 'workspace = "{0}"\ncreated = "x"\nignore = "*"\n'),
    ],
)
def test_a_config_that_cannot_be_read(repo, name, text):
    """Said with the file's name and how to get it back; git commit is not stopped."""
    write(repo, ".mlos/config.toml", text)
    for command in (["status"], ["need", "add", "x"], ["init"], ["rebuild"]):
        assert "config.toml" in failing(repo, 2, *command)
    write(repo, "note.md", "x\n")
    git(repo, "add", "note.md")
    git(repo, "commit", "-q", "-m", "goes on")


def test_a_config_that_is_a_folder(repo):
    """No traceback, no way round it: exit 3."""
    (repo / ".mlos/config.toml").unlink()
    write(repo, ".mlos/config.toml/inside", "x\n")
    for command in (["status"], ["init"], ["uninstall"]):
        failing(repo, 3, *command)


@pytest.mark.parametrize("what", [".mlos", ".mlos/config.toml", ".mlos/journal"])
def test_links_are_not_followed(repo, tmp_path, what):
    """.mlos, its config or journal as a symbolic link: nothing is written outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (repo / what).rename(outside / "it")
    (repo / what).symlink_to(outside / "it")
    before = tree_of(outside)
    commands = [["publish"]] if what == ".mlos/journal" else [["status"], ["init"], ["need", "add", "x"], ["sync"]]
    if what == ".mlos/journal":
        run(repo, "need", "add", "x")
    for command in commands:
        failing(repo, 3, *command)
    assert tree_of(outside) == before


@pytest.mark.parametrize("command", [["dump", "--canonical"], ["need", "list"], ["need", "list", "--json"], ["log"]])
def test_a_reader_that_goes_away(repo, command):
    """`| head`: no message, no exit code that means something else."""
    sql(repo, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
              " INSERT INTO needs(title) SELECT 'a need with a long title ' || i FROM n")  # fmt: skip
    run(repo, "sync")
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "mlos_sync", *command], cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    process.stdout.read(10)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), said) == (0, b"")


@pytest.mark.parametrize("redirection", ["<&-", "<&- 2>&-", "</dev/null"])
def test_closed_standard_input(full, redirection):
    """Commands that read nothing need no standard input."""
    program = f'exec "$0" -I -m mlos_sync need list --json {redirection}'
    done = subprocess.run(["sh", "-c", program, sys.executable], cwd=full, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["rows"] and done.stderr == ""


def test_closed_standard_input_where_it_is_read(full):
    """--from - with nothing to read from is an error in words."""
    program = 'exec "$0" -I -m mlos_sync need add --from - <&-'
    done = subprocess.run(["sh", "-c", program, sys.executable], cwd=full, capture_output=True, text=True)
    assert done.returncode in (2, 3) and "bug" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-"])
def test_closed_standard_output(repo, redirection):
    """Nowhere to print to: the record is made, and there is no traceback."""
    program = f'exec "$0" -I -m mlos_sync need add Silent {redirection}'
    done = subprocess.run(["sh", "-c", program, sys.executable], cwd=repo, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "bug" not in done.stderr
    assert [row["title"] for row in document(repo, "need", "list")["rows"]] == ["Silent"]


def test_a_full_disk_for_output(full):
    """/dev/full: said in words, with exit 3."""
    with open("/dev/full", "w") as target:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "mlos_sync", "need", "list"],
            cwd=full,
            stdout=target,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 3 and "Traceback" not in done.stderr and "bug" not in done.stderr


HOSTILE = "a\x1b[31m red\x07 \r over \u202e turned \u200b end \x9b31m\ttab\nline"


def test_control_characters(repo):
    """Escaped for people wherever a title is shown, in JSON as they are, in an ASCII terminal no traceback."""
    row = document(repo, "need", "add", HOSTILE, "--status", "actionable")
    assert row["title"] == HOSTILE
    run(repo, "link", "need:1", "blocks", "task:1", "--meta", json.dumps({"x": HOSTILE}))
    for command in (["need", "list"], ["need", "show", "1"], ["task", "list"], ["log"], ["links", "need:1"], ["why", "need:1"],
                    ["need", "set", "1", "--scope", HOSTILE]):  # fmt: skip
        said = run(repo, *command).out
        assert all(c == "\n" or c.isprintable() for c in said), (command, said)
    run(repo, "need", "list", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert document(repo, "need", "list")["rows"][0]["title"] == HOSTILE
    said = run(repo, "need", "show", HOSTILE, ok=False).err
    assert all(c == "\n" or c.isprintable() for c in said)
    said = run(repo, "need", "delete", "1").out
    assert all(c == "\n" or c.isprintable() for c in said)


def test_quiet_and_streams(repo):
    """--quiet, before the command or behind it, keeps results and errors and drops notes; notes are on stderr."""
    for words in (["--quiet", "need", "list", "--json"], ["need", "list", "--quiet", "--json"]):
        for path in (repo / ".git/mlos").glob("index.db*"):
            path.unlink()
        assert run(repo, *words).err == ""
    assert run(repo, "need", "add", "--json", "--", "--quiet").json["title"] == "--quiet"
    for path in (repo / ".git/mlos").glob("index.db*"):
        path.unlink()
    assert "rebuilt" in run(repo, "need", "list", "--json").err
    assert "hint" in run(repo, "--quiet", "need", "show", "9", ok=False).err


def test_times_are_utc(repo):
    """Fractions and zones are taken and told in UTC; text that is no time is usage."""
    line = json.dumps({"title": "x", "created_at": "2026-11-20T12:00:00.250+02:00"})
    assert document(repo, "need", "add", "--from", "-", stdin=line)["rows"][0]["created_at"] == TIME
    failing(repo, 2, "need", "add", "--from", "-", stdin=json.dumps({"title": "x", "created_at": "soon"}))


def test_nothing_of_the_workspace_is_run_or_imported(repo):
    """Modules and programs lying in the work tree are files, not code."""
    for name in ("yaml.py", "sqlite3.py", "sitecustomize.py", "mlos_sync.py", "json/__init__.py"):
        write(repo, name, "raise SystemExit('run by mistake')\n")
    write(repo, "git", "#!/bin/sh\ntouch ran\n").chmod(0o755)
    env = {"PATH": f".:{os.environ['PATH']}", "PYTHONPATH": str(repo)}
    run(repo, "sync", env=env)
    run(repo, "need", "add", "x", env=env)
    git(repo, "add", "-A")
    git(
        repo, "commit", "-q", "-m", "all", env={"PATH": f".:{os.environ['PATH']}", "PYTHONPATH": str(repo)}, check=False
    )
    assert not (repo / "ran").exists() or "ran" in str(changed(repo))


def tree_of(folder):
    """path -> kind, mode and hash of everything below a folder, git's directory included."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        else:
            found[name] = f"{path.stat().st_mode:o}"
    return found


def journal_only(tree):
    """A tree less the journal, which stays."""
    return {name: value for name, value in tree.items() if name != ".mlos" and not name.startswith(".mlos/journal")}


@pytest.mark.parametrize("attributes", [None, "*.bin binary\n", "no line end", "# >>> mine\n*.md text\n"])
def test_uninstall_gives_back_every_byte(tmp_path, attributes):
    """A tree of hashes before init and after uninstall: hooks of others, attributes, config, git's directory."""
    repo = make_repo(tmp_path)
    write(repo, "note.md", "x\n")
    if attributes is not None:
        write(repo, ".gitattributes", attributes)
    hook = write(repo, ".git/hooks/pre-commit", "#!/bin/sh\n# mine\nexit 0\n")
    hook.chmod(0o750)
    (repo / ".git/hooks/commit-msg").symlink_to("pre-commit")
    before = tree_of(repo)
    run(repo, "init")
    run(repo, "sync")
    run(repo, "hooks", "install")
    found = document(repo, "uninstall")
    assert isinstance(found["removed"], list) and found["removed"]
    after = tree_of(repo)
    assert journal_only(after) == before
    failing(repo, 3, "status")


def test_uninstall_with_records_keeps_the_journal_alone(tmp_path):
    """Committed records stay in .mlos/journal; nothing else of ours is left, in .git neither."""
    repo = workspace(tmp_path)
    run(repo, "need", "add", "Kept")
    write(repo, "note.md", "x\n")
    save(repo, "records")
    run(repo, "uninstall")
    left = sorted(str(path.relative_to(repo)) for path in repo.rglob("*") if "mlos" in str(path.relative_to(repo)))
    assert all(name == ".mlos" or name.startswith(".mlos/journal") for name in left), left
    assert any(name.endswith(".jsonl") for name in left)
    run(repo, "init")
    assert [row["title"] for row in document(repo, "need", "list")["rows"]] == ["Kept"]


def test_uninstall_refuses_while_records_are_in_no_commit(repo):
    """What only this clone has would be lost: said, with what to do, and nothing is removed. A segment stays."""
    run(repo, "need", "add", "Only here")
    before = tree_of(repo / ".mlos")
    failing(repo, (3, 4), "uninstall")
    assert tree_of(repo / ".mlos") == before
    run(repo, "publish")
    run(repo, "uninstall")
    run(repo, "init")
    assert [row["title"] for row in document(repo, "need", "list")["rows"]] == ["Only here"]
