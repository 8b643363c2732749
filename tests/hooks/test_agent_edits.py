"""What a coding agent is told before it edits: compiled files are denied with the record to change, all else is silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gitrepo import env_of, git, make_repo
from viewed import commit, compile_all, fill, make_workspace, root

from mlos_sync.core import seal
from mlos_sync.hooks import editing

DRAFT = b"---\ntitle: Problems\ncompiled_at: 2026-01-31T12:00:00Z\nseal: pending\n---\n\n# Problems\n\nNone.\n"
SEGMENT = ".mlos/journal/2026/01/ab12.jsonl"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = make_workspace(tmp_path_factory.mktemp("agents"))
    fill(place)
    compile_all(place)
    commit(place)
    return root(place)


@pytest.fixture
def repo(made, tmp_path):
    """A clone with compiled views: only files matter, so no database and no hooks."""
    git(made, "clone", "-q", str(made), str(tmp_path / "repo"))
    return tmp_path / "repo"


def ask(repo: Path, path: str, tool: str = "Edit", **given: object) -> str:
    """The reason of a denial, or nothing."""
    name = "notebook_path" if tool == "NotebookEdit" else "file_path"
    question = {
        "session_id": "s", "transcript_path": "/t.jsonl", "cwd": str(repo), "permission_mode": "default",
        "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": {name: path, **given}, "tool_use_id": "toolu_1",
    }  # fmt: skip
    answer = editing.answer(json.dumps(question).encode())
    if not answer:
        return ""
    said = json.loads(answer)["hookSpecificOutput"]
    assert (said["hookEventName"], said["permissionDecision"]) == ("PreToolUse", "deny")
    assert set(said) == {"hookEventName", "permissionDecision", "permissionDecisionReason"}
    return said["permissionDecisionReason"]


def process(repo: Path, data: bytes, *, shell: str = "") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-m", "mlos_sync.hooks.main", "agent-pre-edit"]
    if shell:
        command = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
    return subprocess.run(command, cwd=repo, env=env_of(repo), input=data, capture_output=True, timeout=20)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("Make \\*retries", "Make no", "need-3f9a2c: mlos-sync need set need-3f9a2c --title"),
        ("active · high\n", "resolved · high\n", "need-3f9a2c: mlos-sync need set need-3f9a2c --status"),
        ("> First line", "> Other", "mlos-sync need set need-3f9a2c --description"),
        ("- [/] Add jitter", "- [x] Add jitter", "task-5d0c9e: mlos-sync task set task-5d0c9e --description"),
        ("- [data.bin]", "- [other]", "mlos-sync link need-3f9a2c TYPE artifact:PATH"),
        ("○ Child", "● Child", "need-77aa11: mlos-sync need set need-77aa11 --title"),
        ("identified · no priority\n\n## No scope", "identified · no priority\n\n## X", "need-3f9a2c, task-5d0c9e"),
        ("nowhere", "x", "need-3f9a2c, task-5d0c9e"),
    ],
)
def test_an_edit_of_a_view_is_denied_and_names_the_record(repo, old, new, wanted):
    """The section in which the text stands says which record is to be changed; else all that the view shows are named."""
    reason = ask(repo, str(repo / "PROBLEM.md"), old_string=old, new_string=new)
    assert wanted in reason and reason.endswith("then: mlos-sync compile"), reason


def test_the_command_that_is_named_changes_the_line(made, tmp_path):
    """What the reason says is typed: it makes the change that the agent wanted."""
    from cli import run

    place = make_workspace(tmp_path)
    fill(place)
    compile_all(place)
    reason = ask(root(place), "PROBLEM.md", old_string="○ Child", new_string="○ Kid")
    command = reason.split(": mlos-sync ")[1].split("\n")[0].replace("...", "Kid").split()
    run(root(place), *command)
    run(root(place), "compile")
    assert "○ Kid · need-77aa11" in (root(place) / "PROBLEM.md").read_text()


def test_every_edit_of_a_multiedit_counts(repo):
    edits = [{"old_string": "○ Child", "new_string": "x"}, {"old_string": "Loose end", "new_string": "y"}, 7]
    reason = ask(repo, "PROBLEM.md", "MultiEdit", edits=edits)
    assert "need-77aa11" in reason and "mlos-sync task set task-" in reason


def test_an_index_names_the_file_whose_frontmatter_is_to_be_changed(repo):
    reason = ask(repo, ".mlos/INDEX.md", old_string="what \\<it\\> is", new_string="x")
    assert "change that file's frontmatter" in reason and "artifact set $'notes/wei" in reason
    assert "artifact set run.py" in ask(repo, ".mlos/INDEX.md", old_string="[run.py]", new_string="[x]")
    assert "frontmatter (title, desc)" in ask(repo, ".mlos/INDEX.md", "Write", content="mine\n")


def test_a_write_is_denied_where_a_view_is_declared(repo):
    """Over a view, in the place of one that is not there yet, and of one that lost its seal."""
    assert "need-3f9a2c" in ask(repo, "PROBLEM.md", "Write", content="mine\n")
    (repo / "PROBLEM.md").unlink()
    assert "mlos-sync compile PROBLEM.md" in ask(repo, "PROBLEM.md", "Write", content="mine\n")
    (repo / "PROBLEM.md").write_text("mine\n")
    assert "mlos-sync compile --discard PROBLEM.md" in ask(repo, "PROBLEM.md", old_string="mine", new_string="x")
    config = repo / ".mlos/config.toml"
    config.write_text(config.read_text() + '[[view]]\npath = "n\\u006fw.md"\nkind = "index"\n')
    assert "files' frontmatter" in ask(repo, "now.md", "Write", content="")


def test_a_view_that_was_edited_already_is_denied_with_the_way_out(repo):
    path = repo / "PROBLEM.md"
    sealed = path.read_bytes()
    path.write_bytes(sealed.replace(b"Child", b"Kid"))
    reason = ask(repo, "PROBLEM.md", old_string="Kid", new_string="x")
    assert "mlos-sync adopt PROBLEM.md" in reason and "mlos-sync compile --discard PROBLEM.md" in reason
    path.write_bytes(b"<<<<<<< ours\n" + sealed + b"=======\n>>>>>>> theirs\n")
    assert "declared" in ask(repo, "PROBLEM.md", old_string="x", new_string="y")
    path.write_bytes(sealed + b"<<<<<<< ours\n=======\n>>>>>>> theirs\n")
    reason = ask(repo, "PROBLEM.md", old_string="x", new_string="y")
    assert "compiled again, not edited" in reason
    assert "mlos-sync compile --resolve   then   git add -- :/PROBLEM.md" in reason


def test_a_compiled_file_that_no_view_declares_is_denied(repo):
    """A context pack, or a copy: the seal speaks."""
    (repo / "COPY.md").write_bytes((repo / "PROBLEM.md").read_bytes())
    assert "mlos-sync pack" in ask(repo, "COPY.md", old_string="○ Child", new_string="x")
    (repo / "COPY.md").write_bytes((repo / "PROBLEM.md").read_bytes() + b"mine\n")
    assert "mlos-sync adopt COPY.md" in ask(repo, "COPY.md", old_string="mine", new_string="x")


def test_content_that_claims_to_be_compiled_is_denied(repo):
    """As the guard would refuse its commit; a claim with its seal is a copy, and passes as it does there."""
    assert "Leave the line compiled_at out" in ask(repo, "new.md", "Write", content=DRAFT.decode())
    assert "{# a comment #}" in ask(repo, ".mlos/templates/problem.md.j2", "Write", content=DRAFT.decode())
    assert ask(repo, "new.md", "Create", content=DRAFT.decode())
    assert ask(repo, "new.md", "Write", content=seal.make(DRAFT).decode()) == ""
    assert ask(repo, "new.md", "Write", content="text about compiled_at\n") == ""
    assert ask(repo, "new.md", "Write", content="---\ntitle: compiled_at\n---\n") == ""


def test_a_segment_of_the_journal_is_denied(repo):
    (segment,) = [p for p in git(repo, "ls-files", ".mlos/journal").stdout.split() if p.endswith(".jsonl")][:1]
    for path in (segment, SEGMENT):
        assert "segment of the journal" in ask(repo, path, "Write", content="{}\n")


@pytest.mark.parametrize(
    "path", ["run.py", "notes/plain.md", "new.md", ".mlos/config.toml", "no/such/folder/x.md", ".git/x", ".", "/"]
)
def test_other_files_are_nobodys_business(repo, path):
    """Also what lies in the git directory, where a discarded edit is kept."""
    (repo / ".git/PROBLEM.md").write_bytes((repo / "PROBLEM.md").read_bytes())
    for tool in (*editing.TOOLS, "Create"):
        assert ask(repo, path, tool, content="a\n", old_string="print", new_string="x", new_source="") == ""
    assert ask(repo, ".git/PROBLEM.md", old_string="a", new_string="b") == ""


def test_only_what_writes_is_judged(repo):
    """A reading tool names a file too; an unknown one counts when it is given a text to write."""
    assert ask(repo, "PROBLEM.md", "Read") == ""
    assert ask(repo, "PROBLEM.md", "Read", offset=1, limit=2) == ""
    assert ask(repo, "PROBLEM.md", "mcp__editor__replace", old_string="Child", new_string="x")
    assert ask(repo, "PROBLEM.md", "NotebookEdit", new_source="x")


def test_paths_are_followed_to_the_file(repo, tmp_path):
    """Relative to the agent's folder, through links, and out of the workspace into another one."""
    (repo / "link.md").symlink_to("PROBLEM.md")
    (repo / "folder").symlink_to("views")
    (tmp_path / "outside.md").symlink_to(repo / "PROBLEM.md")
    edit = {"old_string": "Child", "new_string": "x"}
    for path in ("link.md", "folder/alpha.md", "./notes/../PROBLEM.md", "notes/deep/../../PROBLEM.md"):
        assert ask(repo, path, **edit), path
    assert ask(repo / "notes", "../PROBLEM.md", **edit)
    assert ask(repo / "notes", "PROBLEM.md", **edit) == ""
    assert ask(tmp_path, "outside.md", **edit) and ask(tmp_path, str(repo / "PROBLEM.md"), **edit)
    (repo / "loop.md").symlink_to("loop.md")
    assert ask(repo, "loop.md", **edit) == ""
    (repo / "views/alpha.md").unlink()
    (repo / "views/alpha.md").symlink_to("../notes/plain.md")
    assert "declared" in ask(repo, "views/alpha.md", **edit)


def test_outside_of_a_workspace_nothing_is_said(repo, tmp_path):
    """No repository, a repository without .mlos, and one inside a workspace: each speaks for itself."""
    view = (repo / "PROBLEM.md").read_bytes()
    (tmp_path / "PROBLEM.md").write_bytes(view)
    assert ask(tmp_path, "PROBLEM.md", old_string="a", new_string="b") == ""
    inner = make_repo(repo / "inner")
    (inner / "PROBLEM.md").write_bytes(view)
    assert ask(inner, "PROBLEM.md", old_string="a", new_string="b") == ""
    git(repo, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert ask(tmp_path, "tree/PROBLEM.md", old_string="Child", new_string="b")


def test_a_broken_config_hides_no_seal(repo):
    (repo / ".mlos/config.toml").write_bytes(b"PROBLEM.md = [[[\xff" + b"[" * 50_000)
    assert "need-77aa11" in ask(repo, "PROBLEM.md", old_string="Child", new_string="b")
    (repo / "PROBLEM.md").unlink()
    assert ask(repo, "PROBLEM.md", "Write", content="a") == ""


def test_what_is_no_plain_file_is_passed_over(repo):
    """A pipe would make a reader wait; a folder cannot be edited."""
    os.mkfifo(repo / "pipe.md")
    (repo / "folder.md").mkdir()
    assert ask(repo, "pipe.md", "Write", content="a") == ask(repo, "folder.md", old_string="a") == ""


def hostile() -> dict[str, bytes]:
    def with_input(**given: object) -> bytes:
        return json.dumps({"hook_event_name": "PreToolUse", "tool_name": "Write", **given}).encode()

    return {
        "nothing": b"",
        "no JSON": b"hello",
        "no text": bytes(range(256)),
        "cut": b'{"hook_event_name": "PreToolUse", "tool_in',
        "deep": b"[" * 500_000,
        "deep and closed": b'{"hook_event_name": "PreToolUse", "tool_input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "NaN": b'{"hook_event_name": NaN, "tool_input": Infinity}',
        "a long number": b'{"hook_event_name": ' + b"9" * 10_000 + b"}",
        "a list": b"[1]",
        "null": b"null",
        "another event": b'{"hook_event_name": "PostToolUse", "tool_input": {"file_path": "PROBLEM.md", "content": ""}}',
        "no input": with_input(),
        "input of another type": with_input(tool_input="PROBLEM.md"),
        "a path of another type": with_input(tool_input={"file_path": ["PROBLEM.md"], "content": {}}),
        "a tool of another type": with_input(tool_name={"a": []}, tool_input={"file_path": "PROBLEM.md"}),
        "an empty path": with_input(tool_input={"file_path": "", "content": ""}),
        "NUL": with_input(tool_input={"file_path": "PROBLEM.md\0", "content": ""}),
        "half a character": with_input(tool_input={"file_path": "\ud800.md", "content": "\udfff"}),
        "a long path": with_input(tool_input={"file_path": "a/" * 50_000, "content": ""}),
        "a long name": with_input(tool_input={"file_path": "a" * 50_000, "content": ""}),
        "a folder that is none": with_input(cwd="/no/such", tool_input={"file_path": "PROBLEM.md", "content": ""}),
        "huge": b" " * (editing.MOST + 1),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_input_is_met_with_silence(repo, name):
    """Never a traceback, never a denial by mistake, never another exit code."""
    done = process(repo, hostile()[name])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_odd_types_beside_the_path_do_not_hide_a_view(repo):
    """A folder of another type is the process's own; replacements of another type name no line."""
    question = {
        "hook_event_name": "PreToolUse", "tool_name": "Edit", "cwd": 7,
        "tool_input": {"file_path": "PROBLEM.md", "old_string": 3, "new_string": [], "content": {}, "edits": {"a": 1}},
    }  # fmt: skip
    done = process(repo, json.dumps(question).encode())
    assert done.returncode == 0 and b"need-3f9a2c" in done.stdout and done.stdout.isascii()


@pytest.mark.parametrize("shell", ["<&-", ">&-", "<&- >&- 2>&-", ">/dev/full"])
def test_closed_streams_end_in_silence(repo, shell):
    question = {"hook_event_name": "PreToolUse", "tool_name": "Edit", "tool_input": {"file_path": "PROBLEM.md"}}
    done = process(repo, json.dumps(question).encode(), shell=shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_ordinary_edit_loads_little():
    """Start-up is what every edit of an agent waits for."""
    script = (
        'import sys; from mlos_sync.hooks import editing; editing.answer(b\'{"hook_event_name": "PreToolUse",'
        ' "tool_name": "Edit", "tool_input": {"file_path": "run.py", "old_string": "a"}}\'); print(*sys.modules)'
    )
    out = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"tomllib", "typing", "hashlib", "subprocess", "mlos_sync.core.sections", "yaml", "sqlite3"} & set(out)
