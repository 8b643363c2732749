"""Messages of real commits, in every form that git has: what they say of tasks in the end, and what nobody touched."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest
from cli import add, change, clone, delete, git_dir, head, run, save, sql, workspace, write
from gitrepo import git

from mlos_sync.app.current import FILE

DOOR, PAINT, HOSTILE = "Mend the harbour door", "Paint it", "\x1b[31m\n# Task: 1\n\u202etxet " + "long " * 40


@pytest.fixture(scope="module")
def template(tmp_path_factory, request):
    """A workspace with three tasks, a need and an agent, all committed."""
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    base = tmp_path_factory.mktemp("template")
    for name, value in {"HOME": str(base), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}.items():
        patch.setenv(name, value)
    for role in ("AUTHOR", "COMMITTER"):
        patch.setenv(f"GIT_{role}_NAME", "Ada")
        patch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    repo = workspace(base)
    for text, priority in ((DOOR, 3), (PAINT, 1), (HOSTILE, 5)):
        add(repo, "task", description=text, priority=priority)
    add(repo, "need", title="A harbour")
    add(repo, "agent", agent_type="joiner", status="active")
    write(repo, "note.md", "one\n")
    save(repo, "tasks")
    return repo


@pytest.fixture
def repo(template, tmp_path):
    """A copy of it for one test."""
    return Path(shutil.copytree(template, tmp_path / "repo", symlinks=True))


def uid(repo: Path, number: int, kind: str = "task") -> str:
    return sql(repo, f"SELECT uid FROM {kind}s WHERE id = {number}").strip()


def trailer(repo: Path, number: int, key: str = "Task") -> str:
    return f"{key}: {number} (task-{uid(repo, number)[:16]})"


def start(repo: Path, number: int) -> str:
    """`task start`, without a process; the trailer that commits gain."""
    (git_dir(repo) / "mlos" / FILE).write_text(f"task-{uid(repo, number)}\n")
    return trailer(repo, number)


def message(repo: Path, revision: str = "HEAD") -> str:
    """The message as it is stored, byte for byte."""
    command = ["git", "-C", str(repo), "cat-file", "commit", revision]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return data.partition(b"\n\n")[2].decode("utf-8", "surrogateescape")


def commit(repo: Path, *arguments: str, ok: bool = True, **env: str) -> str:
    """An empty commit; its message, or what git said where it was refused."""
    done = git(repo, "commit", "-q", "--allow-empty", *arguments, check=False, env=env)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return message(repo) if ok else done.stderr


def editor(repo: Path, script: str) -> dict[str, str]:
    """An editor that shows the file to the test (`seen`) and then does what a script of the shell says with "$1"."""
    path = write(repo.parent, "editor", f'#!/bin/sh\ncp "$1" "{repo.parent}/seen"\n{script}\n')
    path.chmod(0o755)
    return {"GIT_EDITOR": str(path)}


def seen(repo: Path) -> str:
    return (repo.parent / "seen").read_bytes().decode("utf-8", "surrogateescape")


def configure(repo: Path, lines: str) -> None:
    """`[commits]` of the workspace, not committed."""
    with (repo / ".mlos/config.toml").open("a") as file:
        file.write(f"\n[commits]\n{lines}\n")


def trailers(repo: Path) -> list[str]:
    """The trailers of HEAD as git parses them."""
    return git(repo, "log", "-1", "--format=%(trailers:only,unfold)").stdout.split("\n")[:-2]


SUBJECT = 'sed -i "1s/.*/Subject/" "$1"'


# --- numbers


def test_numbers_of_every_key(repo):
    """Several on a line, folded, agents, and keys of the workspace's own from the moment that the config names them."""
    configure(repo, 'trailers = { task = ["Ticket"] }\nkeywords = true')
    told = commit(repo, "-m", "x", "-m", "It fixes task:2.", "-m", "Task: 1,\n  2\nNeed: 1\nAgent: 1\nTicket: 3 and 99")
    one, two, three = (f"(task-{uid(repo, n)[:16]})" for n in (1, 2, 3))
    need, agent = (f"({kind}-{uid(repo, 1, kind)[:16]})" for kind in ("need", "agent"))
    assert told == (
        f"x\n\nIt fixes task:2 {two}.\n\nTask: 1 {one},\n  2 {two}\nNeed: 1 {need}\nAgent: 1 {agent}\n"
        f"Ticket: 3 {three} and 99\n"
    )


@pytest.mark.parametrize("form", ["-F", "--amend", "-C", "merge", "no editor"])
def test_numbers_in_every_form_of_commit(repo, form):
    """Whatever the message comes from: a number in it gains its uid."""
    text, whole = "Done\n\nCloses: 1\n", f"Done\n\n{trailer(repo, 1, 'Closes')}\n"
    write(repo.parent, "message", text)
    if form == "-F":
        assert commit(repo, "-F", str(repo.parent / "message")) == whole
    elif form == "no editor":
        assert commit(repo, **editor(repo, 'printf "Done\\n\\nCloses: 1\\n" > "$1"')) == whole
    elif form == "merge":
        git(repo, "switch", "-q", "-c", "side")
        commit(repo, "-m", "side")
        git(repo, "switch", "-q", "main")
        git(repo, "merge", "-q", "--no-ff", "-F", str(repo.parent / "message"), "side")
        assert message(repo) == whole
    else:
        git(repo, "-c", "core.hooksPath=/nowhere", "commit", "-q", "--allow-empty", "-m", text)
        assert message(repo) == text
        assert commit(repo, *([form, "--no-edit"] if form == "--amend" else [form, "HEAD"])) == whole


def test_what_is_not_utf8_and_ends_in_crlf_survives(repo):
    """Bytes of another encoding, and ends of lines where git does not clean them."""
    git(repo, "config", "i18n.commitEncoding", "ISO-8859-1")
    data = b"\xe9t\xe9\r\n\r\nbody \xff\r\n\r\nTask: 1\r\nX: y\r\n"
    write(repo.parent, "message", data)
    mark = start(repo, 2)
    commit(repo, "--cleanup=verbatim", "-F", str(repo.parent / "message"))
    wanted = data.replace(b"Task: 1", trailer(repo, 1).encode()) + mark.encode() + b"\r\n"
    assert message(repo).encode("utf-8", "surrogateescape") == wanted


def test_comments_and_the_diff_are_not_touched(repo):
    """`commit -v`: below the cut line stand lines of files that look like trailers."""
    configure(repo, "keywords = true")
    write(repo, "note.md", "one\n\nTask: 1\nfixes task:1\n")
    git(repo, "add", "-A")
    mark = start(repo, 2)
    env = editor(repo, SUBJECT + '\nprintf "+Task: 1\\n# fixes task:1\\n" >> "$1"')
    told = git(repo, "commit", "-v", env=env)
    assert told.returncode == 0 and message(repo) == f"Subject\n\n{mark}\n"
    shown = seen(repo)
    assert "+Task: 1\n+fixes task:1\n" in shown and shown.index(mark) < shown.index("# Please") < shown.index(">8")


def test_the_file_keeps_its_mode(repo):
    """It is replaced in one step, and is the same to everybody who may read it."""
    hook = write(repo, ".git/hooks/prepare-commit-msg.before-mlos-sync", '#!/bin/sh\nchmod 640 "$1"\n')
    hook.chmod(0o755)
    commit(repo, "-m", "x", "-m", "Task: 1")
    assert stat.S_IMODE((repo / ".git/COMMIT_EDITMSG").stat().st_mode) == 0o640
    assert trailer(repo, 1) in message(repo)
    assert [path.name for path in (repo / ".git").iterdir() if path.name.startswith(".mlos")] == []


# --- the current task


@pytest.mark.parametrize(
    ("arguments", "before", "after"),
    [
        (["-m", "x"], "x\n\n", "\n"),
        (["-m", "x", "-m", "body"], "x\n\nbody\n\n", "\n"),
        (["-m", "x", "-s"], "x\n\nSigned-off-by: A Tester <tester@example.com>\n", "\n"),
        (["-m", "x", "-m", "Key: value"], "x\n\nKey: value\n", "\n"),
        (["-m", "x", "-m", "Task: 2"], "x\n\n{2}\n", "\n"),
    ],
)  # fmt: skip
def test_the_current_task_is_a_trailer(repo, arguments, before, after):
    """As git itself puts one in, and git's parser sees it."""
    mark = start(repo, 1)
    env = {"GIT_COMMITTER_NAME": "A Tester", "GIT_COMMITTER_EMAIL": "tester@example.com"}
    assert commit(repo, *arguments, **env) == before.replace("{2}", trailer(repo, 2)) + mark + after
    assert mark in trailers(repo)


@pytest.mark.parametrize("text", ["Task: 1", "Closes: 1", "Fixes: 2, task:1", "Task: task-{uid}"])
def test_a_task_is_not_named_twice(repo, text):
    """In whatever way the message refers to it."""
    start(repo, 1)
    told = commit(repo, "-m", "x", "-m", text.replace("{uid}", uid(repo, 1)[:8]))
    assert told.count(uid(repo, 1)[:8]) == 1


def test_nothing_of_the_configuration_is_executed(repo):
    """`git interpret-trailers` would run `trailer.*.command`."""
    for key in ("trailer.task.command", "trailer.task.cmd"):
        git(repo, "config", key, f"touch {repo.parent}/ran")
    mark = start(repo, 1)
    assert mark in commit(repo, "-m", "x") and not (repo.parent / "ran").exists()


def test_whose_messages_are_somebody_elses(repo):
    """Amend, -C, fixup, squash, revert, cherry-pick, merge and its conclusion, merge --squash: no task is added."""
    first = commit(repo, "-m", "first")
    git(repo, "switch", "-q", "-c", "side")
    write(repo, "side.md", "x\n")
    save(repo, "side")
    git(repo, "switch", "-q", "main")
    mark = start(repo, 1)
    assert commit(repo, "--amend", "--no-edit") == first
    assert commit(repo, "-C", "HEAD") == first
    for form in ("--fixup=HEAD", "--squash=HEAD"):
        assert mark not in commit(repo, form, **editor(repo, ":"))
    for told in (["cherry-pick", "side"], ["revert", "--no-edit", "HEAD"], ["revert", "--no-commit", "HEAD"]):
        git(repo, *told)
        assert mark not in message(repo), told
    assert mark not in commit(repo, "-m", "Take it back")  # REVERT_HEAD
    git(repo, "merge", "-q", "--no-ff", "--no-edit", "side")
    assert mark not in message(repo)
    git(repo, "switch", "-q", "-c", "other", "HEAD~3")
    git(repo, "merge", "-q", "--no-ff", "--no-commit", "side")
    assert mark not in commit(repo, "-m", "merged")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    git(repo, "merge", "-q", "--squash", "side")
    assert mark not in commit(repo, "-m", "squashed")
    assert mark in commit(repo, "-m", "mine")


def test_a_rebase_leaves_messages_but_numbers(repo):
    """200 picks are 200 times nothing; a reworded message is resolved, and what is stopped at is not claimed."""
    for text in ("one", "two"):
        write(repo, f"{text}.md", text)
        save(repo, text)
    mark = start(repo, 1)
    write(repo.parent, "todo", '#!/bin/sh\nsed -i "1s/pick/reword/;2s/pick/edit/" "$1"\n').chmod(0o755)
    env = editor(repo, 'printf "One\\n\\nTask: 2\\n" > "$1"') | {"GIT_SEQUENCE_EDITOR": str(repo.parent / "todo")}
    git(repo, "rebase", "-q", "-i", "HEAD~2", env=env)
    assert message(repo, "HEAD~1") == f"One\n\n{trailer(repo, 2)}\n" and message(repo) == "two\n"
    assert commit(repo, "-m", "in between") == "in between\n"
    git(repo, "rebase", "--continue")
    assert mark in commit(repo, "-m", "after it")


def test_an_empty_message_stays_empty(repo):
    """Whoever ends the editor without a word wants no commit; whoever wants an empty message gets it."""
    start(repo, 1)
    before = head(repo)
    assert "empty commit message" in commit(repo, ok=False, **editor(repo, ":"))
    assert head(repo) == before
    assert commit(repo, "--allow-empty-message", "-m", "") == ""
    assert commit(repo, "--allow-empty-message", **editor(repo, ":")) == ""


def test_a_template(repo):
    """Untouched, git stops, as it does without us; filled in, it has the trailer in the place for it."""
    mark = start(repo, 1)
    path = write(repo.parent, "template", "Subject:\n\nWhy:\n\nReviewed-by: Ada\n# a hint\n")
    assert "did not edit the message" in commit(repo, "-t", str(path), ok=False, **editor(repo, ":"))
    env = editor(repo, 'sed -i "1s/.*/Subject: door/" "$1"')
    assert commit(repo, "-t", str(path), **env) == f"Subject: door\n\nWhy:\n\nReviewed-by: Ada\n{mark}\n"
    assert "# a hint\n" in seen(repo)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "deleted", "elsewhere"])
def test_a_task_that_is_over_is_not_said(repo, status):
    """Completed, failed, cancelled, deleted, not on this branch: `task current` says why."""
    start(repo, 1)
    if status == "deleted":
        delete(repo, "task", "1")
    elif status == "elsewhere":
        (git_dir(repo) / "mlos" / FILE).write_text("task-" + "0" * 32)
    else:
        change(repo, "task", "1", status=status)
    assert commit(repo, "-m", "x") == "x\n"
    told = run(repo, "task", "current", "--json").json
    assert told["from"] == "start" and (status in told["problem"] or "no task of this branch" in told["problem"])


def test_each_work_tree_has_its_own(repo):
    """Also where a commit is made from a subfolder of one."""
    linked = repo.parent / "linked"
    git(repo, "worktree", "add", "-q", "-b", "side", str(linked))
    run(linked, "sync")
    mark = start(repo, 1)
    other = start(linked, 2)
    (linked / "sub").mkdir()
    git(linked / "sub", "commit", "-q", "--allow-empty", "-m", "x", env={"HOME": str(repo.parent)})
    assert message(linked) == f"x\n\n{other}\n"
    assert commit(repo, "-m", "x") == f"x\n\n{mark}\n"


def test_the_first_commit_of_all(tmp_path):
    """An unborn branch."""
    repo = workspace(tmp_path)
    git(repo, "update-ref", "-d", "HEAD")
    add(repo, "task", description=DOOR)
    mark = start(repo, 1)
    assert commit(repo, "-m", "first", "-m", "Closes: 1") == f"first\n\n{mark.replace('Task', 'Closes')}\n"


def test_a_git_directory_elsewhere(repo):
    """GIT_DIR counts: its index, its current task; never those of the repository that the files lie in."""
    mark = start(repo, 1)
    shutil.copytree(repo / ".git", repo.parent / "else.git")
    (repo.parent / "else.git/mlos" / FILE).write_text(f"task-{uid(repo, 2)}\n")
    where = {"GIT_DIR": str(repo.parent / "else.git"), "GIT_WORK_TREE": str(repo)}
    git(repo / ".mlos", "commit", "-q", "--allow-empty", "-m", "x", "-m", "Fixes: 3", env=where)
    told = git(repo, "log", "-1", "--format=%B", env=where).stdout
    assert trailer(repo, 3, "Fixes") in told and trailer(repo, 2) in told and mark not in told


@pytest.mark.parametrize(
    ("branch", "number"),
    [
        ("ada/task-{uid}-door", 2), ("task/2", 2), ("fix/task/2-door", 2), ("task-{uid}", 2), ("2-door", None),
        ("task-2", None), ("tasks/2", None), ("task/2x", None), ("mytask/2", None), ("task/2/task/1", None), ("task/99", None),
    ],
)  # fmt: skip
def test_the_task_of_a_branch(repo, branch, number):
    """Named with the word `task`, and only one of them."""
    configure(repo, 'current = ["branch"]')
    git(repo, "switch", "-q", "-c", branch.replace("{uid}", uid(repo, 2)[:7]))
    assert commit(repo, "-m", "x") == (f"x\n\n{trailer(repo, number)}\n" if number else "x\n")


def test_the_task_that_a_branch_was_given(repo):
    """Git's configuration beats the name, and a detached HEAD has none; it stands beside the task of `task start`."""
    configure(repo, 'current = ["branch", "agent"]')
    git(repo, "switch", "-q", "-c", "task/2")
    git(repo, "config", "branch.task/2.mlosTask", "task:3")
    mark = start(repo, 1)
    assert commit(repo, "-m", "x") == f"x\n\n{mark}\n{trailer(repo, 3)}\n"
    told = run(repo, "task", "current", "--json").json
    assert (told["row"]["id"], [one["row"]["id"] for one in told["others"]]) == (1, [3])
    git(repo, "switch", "-q", "--detach")
    assert commit(repo, "-m", "x") == f"x\n\n{mark}\n"


def test_the_task_of_an_agent(repo):
    """The one that MLOS_SYNC_AGENT has to finish; none where it has several, and only where the config says so."""
    change(repo, "agent", "1", assigned_tasks=["task:2", "task:3"])
    change(repo, "task", "3", status="completed")
    me = {"MLOS_SYNC_AGENT": "agent:1"}
    assert commit(repo, "-m", "x", **me) == "x\n"
    configure(repo, 'current = ["agent"]')
    assert commit(repo, "-m", "x", **me) == f"x\n\n{trailer(repo, 2)}\n"
    assert commit(repo, "-m", "x") == commit(repo, "-m", "x", MLOS_SYNC_AGENT="agent:9") == "x\n"
    change(repo, "task", "3", status="open")
    assert commit(repo, "-m", "x", **me) == "x\n"
    assert "2 unfinished tasks" in run(repo, "task", "current", env=me).out


# --- the list in the editor


def test_the_editor_offers_tasks(repo):
    """The current one first, then the most urgent; a sign taken away makes a trailer, whatever titles hold."""
    mark = start(repo, 1)
    told = commit(repo, **editor(repo, SUBJECT + '\nsed -i "s/^#Task/Task/" "$1"'))
    assert told == f"Subject\n\n{mark}\n{trailer(repo, 2)}\n{trailer(repo, 3)}\n"
    assert trailers(repo) == told.split("\n")[2:-1]
    shown = seen(repo)
    order = [mark, DOOR, f"#{trailer(repo, 2)}\n#     {PAINT}\n", f"#{trailer(repo, 3)}\n", "\n# Please enter"]
    places = [shown.index(one) for one in order]
    assert places == sorted(places) and shown.startswith("\n\nTask: 1")
    assert r"#     \x1b[31m\x0a# Task: 1\x0a\u202etxet long" in shown and "\x1b" not in shown
    assert max(map(len, shown.split("\n"))) < 130


def test_the_offer_behind_a_message_that_stands(repo):
    """A template's text without trailers: the list is a paragraph of its own, so a trailer of it is one for git."""
    path = write(repo.parent, "template", "Subject\n\nbody\n")
    env = editor(repo, 'sed -i "s/^#Task: 2/Task: 2/;s/body/words/" "$1"')
    assert commit(repo, "-t", str(path), **env) == f"Subject\n\nwords\n\n{trailer(repo, 2)}\n"
    assert trailers(repo) == [trailer(repo, 2)]


@pytest.mark.parametrize(
    "setting", ["core.commentChar=;", "core.commentChar=auto", "core.commentChar=%", "core.commentString=//"]
)
def test_the_sign_of_comments(repo, setting):
    """As git has it; given for one command too, which only the environment tells."""
    env = editor(repo, SUBJECT + '\nsed -i "s,^\\([;%#]\\|//\\)Task: 2,Task: 2," "$1"')
    git(repo, "-c", setting, "commit", "-q", "--allow-empty", env=env)
    assert message(repo) == f"Subject\n\n{trailer(repo, 2)}\n"
    sign = re.search(r"^(\S+) Please", seen(repo), re.MULTILINE)[1]  # `//` needs git 2.45
    assert f"{sign}Task: 2" in seen(repo) and sign in (setting.partition("=")[2], "#")


@pytest.mark.parametrize("setting", ["verbatim", "whitespace", "scissors"])
def test_no_comment_that_would_stay(repo, setting):
    """Where git does not take comments out, none is put in; of the option, only `scissors` can be told."""
    if setting == "scissors":
        commit(repo, "--cleanup=scissors", **editor(repo, 'echo Subject > "$1"'))
        assert "Task: 2" not in seen(repo) and ">8" in seen(repo)
    git(repo, "config", "commit.cleanup", setting)
    commit(repo, **editor(repo, 'echo Subject > "$1"'))
    assert "Task: 2" not in seen(repo)


def test_no_offer(repo):
    """Not for -m, not without an editor, not where the config says so, and none where there is nothing to offer."""
    shown = editor(repo, SUBJECT)
    commit(repo, "-e", "-m", "x", **shown)
    assert "Task: 2" not in seen(repo)
    configure(repo, "offer = false")
    commit(repo, **shown)
    assert "Task: 2" not in seen(repo)
    (repo / ".mlos/config.toml").write_text(
        (repo / ".mlos/config.toml").read_text().replace("[commits]\noffer = false", "")
    )
    for number in (1, 2, 3):
        change(repo, "task", str(number), status="completed")
    commit(repo, **shown)
    assert seen(repo).startswith("\n# Please")


# --- refusing, and going on


def test_an_unknown_reference_is_refused_where_the_config_says_so(repo):
    """With what is near it, and the ways out, both of which are ways out."""
    configure(repo, 'unknown = "refuse"')
    near = uid(repo, 1)
    typed = near[:4] + ("0" if near[4] != "0" else "1") + near[5:10]
    said = commit(repo, "-m", "x", "-m", f"Task: 12\nCloses: task-{typed}\nAgent: 1", ok=False)
    assert "there is no task:12" in said and f"task:1 (task-{near[:6]})  {DOOR}" in said and f"task-{typed}" in said
    assert said.isascii() and "\x1b" not in said and r"\x1b[31m" in said
    ways = [line.strip() for line in said.split("\n") if line.startswith("  git commit")]
    assert len(ways) == 2
    assert git(repo, *ways[1].split()[1:], "--allow-empty").returncode == 0
    assert message(repo).startswith("x\n\nTask: 12\n")
    env = editor(repo, 'sed -i "s/^Task: 12/Task: 2/;/^Closes/d" "$1"')
    git(repo, *ways[0].split()[1:], "--allow-empty", env=env)
    assert trailer(repo, 2) in message(repo)


def test_an_ambiguous_reference_is_refused_too(repo):
    """With the choices."""
    configure(repo, 'unknown = "refuse"')
    for digit in "12":
        sql(repo, f"INSERT INTO tasks(description, uid) VALUES ('x', 'abcdef{digit * 26}')")
    said = commit(repo, "-m", "x", "-m", "Task: task-abcdef", ok=False)
    assert "ambiguous" in said and "task:4" in said and "task:5" in said
    assert "was deleted" in (delete(repo, "task", "3") or commit(repo, "-m", "x", "-m", "Task: 3", ok=False))


def test_what_a_pull_brought_is_known(repo):
    """Though no command of ours has looked since."""
    configure(repo, 'unknown = "refuse"')
    save(repo, "strict")
    other = clone(repo, "other")
    add(other, "task", description="from elsewhere")
    save(other, "a task")
    git(repo, "pull", "-q", "--no-rebase", str(other), "main")
    assert "Task: 4" in commit(repo, "-m", "x", "-m", "Task: 4")


@pytest.mark.parametrize("unknown", ["observe", "refuse"])
@pytest.mark.parametrize("trouble", ["locked", "broken", "absent", "config"])
def test_a_trouble_of_ours_stops_no_commit(repo, trouble, unknown):
    """One line from each hook, and the message as it was typed."""
    configure(repo, f'unknown = "{unknown}"')
    database = git_dir(repo) / "mlos/index.db"
    held = sqlite3.connect(database, isolation_level=None)
    if trouble == "locked":
        held.execute("PRAGMA locking_mode = EXCLUSIVE")
        held.execute("BEGIN EXCLUSIVE")
    elif trouble == "broken":
        database.write_bytes(b"no database" * 1000)
    elif trouble == "absent":
        database.unlink()
    else:
        configure(repo, "no = toml = at all")
    done = git(repo, "commit", "-q", "--allow-empty", "-m", "x", "-m", "Task: 99")
    held.close()
    assert message(repo) == "x\n\nTask: 99\n"
    said = [line for line in done.stderr.split("\n") if "message" in line or "numbers" in line]
    assert len(said) == 2 and all("git goes on" in line for line in said)


# --- the commands


def test_the_commands_of_a_task(repo):
    """start, current, done, stop, and what they say."""
    row = run(repo, "task", "start", "2", "--agent", "1", "--json").json
    assert (row["status"], row["assigned_agent_id"]) == ("in_progress", 1)
    assert trailer(repo, 2) in commit(repo, "-m", "x")
    told = run(repo, "task", "current", "--json").json
    assert (told["row"]["uid"], told["from"], told["problem"], told["others"]) == (uid(repo, 2), "start", None, [])
    assert PAINT in run(repo, "task", "current").out
    row = run(repo, "task", "done", "--result", "White", "--json").json
    assert (row["status"], row["result"]) == ("completed", "White")
    assert commit(repo, "-m", "x") == "x\n" and run(repo, "task", "current", "--json").json["row"] is None
    assert run(repo, "task", "done", ok=False).code == 2
    assert run(repo, "task", "start", "2", ok=False).code == 4
    assert run(repo, "task", "start", "77", ok=False).code == 2


def test_stopping_and_finishing_another(repo):
    """`stop` leaves the status; `done REF` leaves the current task alone; one that a commit closed can be ended."""
    run(repo, "task", "start", "1")
    assert run(repo, "task", "done", "2", "--json").json["status"] == "completed"
    assert run(repo, "task", "current", "--json").json["row"]["id"] == 1
    assert run(repo, "task", "stop", "--json").json["row"]["status"] == "in_progress"
    assert run(repo, "task", "stop", "--json").json["row"] is None
    run(repo, "task", "start", "1")
    commit(repo, "-m", "x", "-m", "Closes: 1")
    assert run(repo, "task", "current", "--json").json["problem"] == "it is completed"
    assert run(repo, "task", "done", "--json").json["status"] == "completed"
    assert run(repo, "task", "current", "--json").json["row"] is None
