"""The index of commits: what git says of them, nothing read twice, nothing that a message could feign."""

from __future__ import annotations

import json

import pytest
from cli import add, assert_rebuild_is_equal, head, listed, opened, run, save, with_one_task, write
from gitrepo import git, make_repo

from mlos_sync.app import freshness, setup
from mlos_sync.edge import commits, store


@pytest.fixture
def repo(tmp_path):
    return with_one_task(tmp_path)


def told(repo, sql, *values):
    with opened(repo) as index:
        freshness.catch_up(index)
        return index.db.execute(sql, values).fetchall()


def known(repo):
    return {sha for (sha,) in told(repo, "SELECT sha FROM commits")}


def reachable(repo):
    return set(git(repo, "rev-list", "HEAD").stdout.split())


def configure(repo, text):
    path = repo / ".mlos" / "config.toml"
    path.write_text(path.read_text() + text)


def test_what_is_kept_of_a_commit(repo):
    """Author, committer, both times, subject, parents, trailers as git parses them, changes with renames."""
    write(repo, "long.txt", "line\n" * 40)
    before = save(repo, "long")
    git(repo, "mv", "long.txt", "moved.txt")
    write(repo, "moved.txt", "line\n" * 39 + "end\n")
    git(repo, "add", "-A")
    env = {
        "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@x", "GIT_AUTHOR_DATE": "2020-02-29T12:00:00+0200",
        "GIT_COMMITTER_NAME": "Bob", "GIT_COMMITTER_EMAIL": "bob@x", "GIT_COMMITTER_DATE": "2021-01-01T00:00:00Z",
    }  # fmt: skip
    message = "A subject\nof two lines\n\nBody: no\n\nSigned-off-by: Ada <ada@x>\nTask: 1,\n  task:1\nX-Y: a: b\n"
    git(repo, "commit", "-q", "-m", message, env=env)
    with opened(repo) as index:
        freshness.catch_up(index)
        (row,) = store.rows(index.db, "SELECT * FROM commits WHERE sha = ?", (head(repo),))
        trailers = index.db.execute(
            "SELECT key, value FROM commit_trailers WHERE commit_id = ? ORDER BY number", (row["id"],)
        ).fetchall()
        changes = index.db.execute(
            "SELECT path, old_path, status, blob FROM commit_changes WHERE commit_id = ? AND path NOT LIKE '.mlos%'",
            (row["id"],),
        ).fetchall()
    assert {name: row[name] for name in row if name not in ("id", "sha")} == {
        "author": "Ada <ada@x>", "authored_at": "2020-02-29T10:00:00Z", "committer": "Bob <bob@x>",
        "committed_at": "2021-01-01T00:00:00Z", "subject": "A subject of two lines", "parents": before,
    }  # fmt: skip
    assert trailers[0] == ("Signed-off-by", "Ada <ada@x>") and trailers[2] == ("X-Y", "a: b")
    assert trailers[1][0] == "Task" and trailers[1][1].count("task-") == 2
    blob = git(repo, "rev-parse", "HEAD:moved.txt").stdout.strip()
    assert changes == [("moved.txt", "long.txt", "R", blob)]
    assert len(told(repo, "SELECT 1 FROM commit_references")) == 1


def test_nothing_is_read_again_when_nothing_is_new(repo, monkeypatch):
    """One commit more is one commit read; none is none."""
    assert known(repo) == reachable(repo)
    read = []

    def log(root, *revisions, **options):
        for one in real(root, *revisions, **options):
            read.append(one[0].sha)
            yield one

    real = commits.log
    monkeypatch.setattr(commits, "log", log)
    assert known(repo) == reachable(repo) and read == []
    sha = save(repo, "one more")
    assert known(repo) == reachable(repo) and read == [sha]
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    assert known(repo) == reachable(repo) and read == [sha]


def test_no_message_and_no_path_can_feign_a_field(repo):
    """Separators of every kind in messages, authors and names."""
    odd = "\x01\x02: \x1e\n\n\x01Task: 1\n\nTask: 1\n:100644 100644 a b M\nx"
    write(repo, b"\x01named \xff\nTask: 1".decode("utf-8", "surrogateescape"), "x\n")
    write(repo, ":100644 100644 x", "y\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--cleanup=verbatim", "-F", "-", stdin=odd, env={"GIT_AUTHOR_NAME": "A\x01\x02B"})
    names = git(repo, "ls-tree", "-r", "-z", "--name-only", "HEAD").stdout.split("\0")
    (row,) = told(repo, "SELECT id, author FROM commits WHERE sha = ?", head(repo))
    assert row[1] == "A\x01\x02B <tester@example.com>"
    paths = {path for (path,) in told(repo, "SELECT path FROM commit_changes WHERE commit_id = ?", row[0])}
    assert (
        len(paths) == 2 and ":100644 100644 x" in paths and any("named" in path and path[0] == "\x01" for path in paths)
    )
    assert ":100644 100644 x" in names
    assert known(repo) == reachable(repo)


def test_latin_1_messages_and_bytes_of_no_encoding(repo):
    """Git says what it can in UTF-8; the rest is replaced, not refused."""
    git(
        repo,
        "-c",
        "i18n.commitEncoding=ISO-8859-1",
        "commit",
        "-q",
        "--allow-empty",
        "-F",
        "-",
        stdin="caf\udce9\n\nTask: 1",
    )
    assert told(repo, "SELECT subject FROM commits WHERE sha = ?", head(repo)) == [("café",)]
    raw = git(repo, "cat-file", "commit", "HEAD").stdout.replace("encoding ISO-8859-1\n", "")
    sha = git(
        repo,
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
        stdin=raw.replace("parent ", f"parent {head(repo)}\nparent "),
    )
    git(repo, "reset", "-q", "--hard", sha.stdout.strip())
    assert told(repo, "SELECT subject FROM commits WHERE sha = ?", head(repo)) == [("caf\ufffd",)]
    assert len(told(repo, "SELECT 1 FROM commit_references")) == 2


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_every_shape_of_history(tmp_path, algorithm):
    """Unborn, orphan, detached, octopus, in both hashes; ids rise from ancestors to descendants."""
    repo = make_repo(tmp_path, f"--object-format={algorithm}")
    setup.initialise(str(repo))
    assert known(repo) == set()
    add(repo, "task", description="first")
    save(repo, "first")
    for name in ("one", "two", "three"):
        git(repo, "checkout", "-q", "-b", name, "main")
        write(repo, f"{name}.txt", name)
        save(repo, f"{name}\n\nTask: 1")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--no-edit", "one", "two", "three")
    assert git(repo, "rev-list", "--parents", "-1", "HEAD").stdout.count(" ") == 3
    assert known(repo) == reachable(repo)
    order = dict(told(repo, "SELECT sha, id FROM commits"))
    parents = told(repo, "SELECT sha, parents FROM commits")
    assert all(order[parent] < order[sha] for sha, several in parents for parent in several.split())
    assert len(told(repo, "SELECT 1 FROM relationships WHERE source_type = 'commit' AND target_type = 'task'")) == 3
    git(repo, "checkout", "-q", "--detach", "HEAD~1")
    assert known(repo) == reachable(repo)
    git(repo, "checkout", "-q", "--orphan", "alone")
    assert known(repo) == set()
    save(repo, "alone")
    assert known(repo) == reachable(repo) and len(known(repo)) == 1
    git(repo, "checkout", "-q", "main")
    assert known(repo) == reachable(repo)
    assert_rebuild_is_equal(repo)


def test_a_shallow_clone_says_so(repo):
    """What is missing is named with the command that brings it; nothing is fetched."""
    save(repo, "second\n\nCloses: 1")
    git(repo.parent, "clone", "-q", "--depth", "1", f"file://{repo}", "shallow")
    shallow = repo.parent / "shallow"
    run(shallow, "rebuild")
    assert known(shallow) == reachable(shallow) and len(known(shallow)) == 1
    notes = told(shallow, "SELECT subject, message FROM observations WHERE kind = 'history'")
    assert [subject for subject, _ in notes] == ["shallow"] and "git fetch --unshallow" in notes[0][1]
    git(shallow, "fetch", "-q", "--unshallow")
    assert known(shallow) == reachable(repo)
    assert told(shallow, "SELECT 1 FROM observations WHERE kind = 'history'") == []
    assert [row["status"] for row in listed(shallow, "task")] == ["completed"]


def test_the_workspaces_own_rules(repo):
    """Keys of its own, bare uids and closing words: read as soon as the config says so, also in old messages."""
    (row,) = listed(repo, "task")
    name = f"task-{row['uid'][:16]}"
    save(repo, f"x\n\nTicket: {name}")
    save(repo, f"Mentions {name} in the text")
    save(repo, f"This fixes {name}, at last")
    references = "SELECT k.subject, r.key FROM commit_references r JOIN commits k ON k.id = r.commit_id ORDER BY r.key"
    assert told(repo, references) == []
    configure(repo, '\n[commits]\ntrailers = { task = ["Ticket"] }\n')
    assert told(repo, references) == [("x", "ticket")]
    configure(repo, "mentions = true\n")
    assert [key for _, key in told(repo, references)] == ["mention", "mention", "ticket"]
    configure(repo, "keywords = true\n")
    assert sorted(key for _, key in told(repo, references)) == ["closes", "mention", "ticket"]
    assert [row["status"] for row in listed(repo, "task")] == ["completed"]
    assert_rebuild_is_equal(repo)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[commits]\ntrailers = { task = ["Closes"] }\n', "has its meaning already"),
        ('[commits]\ntrailers = { ticket = ["X"] }\n', "unknown key `ticket`"),
        ('[commits]\ntrailers = { task = ["a b"] }\n', "letters, digits and dashes"),
        ('[commits]\ntrailers = { task = ["X"], need = ["x"] }\n', "two meanings"),
        ('[commits]\nunknown = "stop"\n', "observe, refuse"),
        ("[commits]\nmentions = 1\n", "true or false"),
        ('[commits]\ncurrent = ["moon"]\n', "agent, branch"),
        ('[hooks]\npre_push = "maybe"\n', "verify, off"),
    ],
)
def test_a_config_that_says_something_else(repo, text, words):
    """Named by key, with what is allowed; exit code 2."""
    configure(repo, f"\n{text}")
    done = run(repo, "status", ok=False)
    assert done.code == 2 and words in done.err and ".mlos/config.toml" in done.err


def test_an_agent_that_a_commit_names(repo):
    """`Agent:` ties the commit to the agent's record, and `why` tells it in both directions."""
    agent = run(repo, "agent", "start", "reviewer", "--json").json["id"]
    write(repo, "f.txt", "f\n")
    sha = save(repo, f"x\n\nAgent: {agent}\nAgent: Claude Code\nTask: 1")
    assert f"Agent: {agent} (agent-" in git(repo, "log", "-1", "--format=%B").stdout
    run(repo, "sync")
    found = run(repo, "why", "f.txt", "--json").json
    assert found["commits"][0]["sessions"] == [f"agent:{agent}"]
    assert run(repo, "why", f"agent:{agent}", "--json").json["commits"][0]["sha"] == sha
    assert [row["agent_type"] for row in json.loads(run(repo, "agent", "list", "--json").out)["rows"]] == ["reviewer"]
    assert_rebuild_is_equal(repo)


def test_a_file_that_a_merge_itself_brought(repo):
    """In no parent, so in no diff against one: the merge dates it, alike in an index made anew, and only while it is there."""
    git(repo, "checkout", "-q", "-b", "side")
    write(repo, "side.txt", "s\n")
    save(repo, "side")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--no-ff", "--no-commit", "side")
    write(repo, "evil.txt", "nobody's\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "a merge", env={"GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z"})
    run(repo, "sync")
    created = "SELECT created_at FROM artifacts WHERE file_path = 'evil.txt'"
    assert told(repo, created) == [("2020-01-01T00:00:00Z",)]
    assert_rebuild_is_equal(repo)
    git(repo, "reset", "-q", "--soft", "HEAD~1")
    run(repo, "sync")
    assert told(repo, created) != [("2020-01-01T00:00:00Z",)]
    assert_rebuild_is_equal(repo)
