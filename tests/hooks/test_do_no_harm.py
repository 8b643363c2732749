"""Do no harm: one history, made twice, in a plain repository and in a workspace with our hooks whose records change all the
time. After every step git must have done the same: but for our segments, and the uids in messages.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cli import add, assert_rebuild_is_equal, change, need, segments, synced, write
from gitrepo import git, make_repo

from mlos_sync.app import setup

SEGMENT = re.compile(r"\.mlos/journal/\d{4}/")
UID = re.compile(r" \((?:task|need)-[0-9a-f]{16}\)")
ID = re.compile(r"\b[0-9a-f]{7,64}\b")
# What git says of how much a commit holds: our segment is one more file, and its long name widens the column of names.
# And how far a long work is, from second to second.
COUNTED = re.compile(
    r"^ \d+ files? changed.*$|^Rewrite .*$|^ (?:create|delete|rename) mode .*\.jsonl$|^ .*\.jsonl +\| .*$", re.MULTILINE
)
# What `pre-push` says of segments that a revert took away is ours to say, and stops nothing.
TOLD = re.compile(r"^mlos-sync: the push goes on, .*\n(?: .*\n|\n)*", re.MULTILINE)
COLUMN = re.compile(r" +\| +(\d+) [+-]*$", re.MULTILINE)


@dataclass
class Side:
    """One of the two repositories. Commits are known by what they are, less what is ours."""

    repo: Path
    names: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)

    def git(self, *arguments: str, **more):
        """Git here, at the time of the step."""
        return git(self.repo, *arguments, **more)

    def name(self, commit: str) -> str:
        """A commit as text that is the same on both sides where the commits are."""
        if commit not in self.names:
            self.learn(commit)
        return self.names[commit]

    def learn(self, *tips: str) -> None:
        """Read the commits that some commits reach, parents first."""
        for line in self.git("rev-list", "--topo-order", "--reverse", *tips).stdout.split():
            if line not in self.names:
                head, _, message = self.git("cat-file", "commit", line).stdout.partition("\n\n")
                lines = [self.plain(one) for one in head.split("\n") if not one.startswith("tree ")]
                message = ID.sub(lambda found: self.names.get(found[0], "ID"), UID.sub("", message))
                told = "\n".join([self.tree(line), *lines, message])
                number = self.known.setdefault(told, f"#{len(self.known)}")
                self.names[line] = number

    def plain(self, line: str) -> str:
        """A header line of a commit, with its parent by name."""
        key, _, value = line.partition(" ")
        return f"parent {self.names[value]}" if key == "parent" else line

    def tree(self, treeish: str) -> str:
        """A tree without our segments."""
        listed = self.git("ls-tree", "-r", "-z", "--full-tree", treeish).stdout.split("\0")
        entries = [one.partition("\t")[::2] for one in listed if not SEGMENT.search(one)]
        return "\n".join(
            f"{about} {self.names.get(path, path)}" for about, path in entries
        )  # a note is named by its commit

    def said(self, text: str) -> str:
        """What git printed, less ids, counts and segments."""
        text = COLUMN.sub(r" | \1", COUNTED.sub("", UID.sub("", TOLD.sub("", text))))
        return "\n".join(line for line in ID.sub("ID", text).split("\n") if line.strip() and not SEGMENT.search(line))

    def refs(self) -> dict[str, str]:
        """Every ref and what it points at; HEAD too."""
        found = {"HEAD": self.git("symbolic-ref", "-q", "HEAD", check=False).stdout or self.head()}
        for line in self.git(
            "for-each-ref", "--format=%(refname) %(objecttype) %(objectname) %(*objectname)"
        ).stdout.splitlines():
            ref, kind, name, peeled, *_ = [*line.split(" "), ""]
            target = peeled or name
            is_commit = kind == "commit" or peeled
            found[ID.sub(lambda id_: self.names.get(id_[0], "ID"), ref)] = (
                f"{kind} {self.name(target) if is_commit else target}"
            )
        return found

    def head(self) -> str:
        """What a detached or unborn HEAD is at."""
        tip = self.git("rev-parse", "-q", "--verify", "HEAD", check=False).stdout.strip()
        return self.name(tip) if tip else "unborn"

    def reflogs(self) -> dict[str, list[str]]:
        """Every reflog: what each entry points at, and its message."""
        found = {}
        folder = self.repo / ".git" / "logs"
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entries = [line.split("\t", 1) for line in path.read_text().splitlines()]
                found[str(path.relative_to(folder))] = [
                    f"{self.entry(about.split(' ')[1])} {' '.join(about.split(' ')[2:])} {ID.sub('ID', UID.sub('', told))}"
                    for about, told in (one if len(one) == 2 else (one[0], "") for one in entries)
                ]
        return found

    def entry(self, commit: str) -> str:
        """A commit of a reflog."""
        return "none" if set(commit) == {"0"} else self.name(commit)

    def state(self) -> dict[str, object]:
        """Everything that a user can see of git."""
        index = self.git("ls-files", "-s", "-t", "-z").stdout.split("\0")
        dirty = self.git("status", "--porcelain=v1", "--untracked-files=all", "--ignored", "-z").stdout.split("\0")
        halted = (
            "MERGE_HEAD",
            "CHERRY_PICK_HEAD",
            "REVERT_HEAD",
            "rebase-merge",
            "rebase-apply",
            "BISECT_LOG",
            "index.lock",
        )
        return {
            "refs": self.refs(),
            "reflogs": self.reflogs(),
            "index": [one for one in index if not SEGMENT.search(one)],
            "status": [one for one in dirty if not SEGMENT.search(one)],
            "files": {
                str(path.relative_to(self.repo)): (ID.sub("ID", path.read_text()), path.stat().st_mode)
                for path in sorted(self.repo.rglob("*"))
                if path.is_file() and ".git" not in path.relative_to(self.repo).parts and not SEGMENT.search(str(path))
            },
            "stash": [self.said(line) for line in self.git("stash", "list").stdout.splitlines()],
            "halted": [name for name in halted if (self.repo / ".git" / name).exists()],
        }  # fmt: skip


class Both:
    """The two repositories, and the clock of the history."""

    def __init__(self, tmp_path: Path) -> None:
        ours = make_repo(tmp_path / "ours", "--template=")
        setup.initialise(str(ours))
        plain = make_repo(tmp_path / "plain", "--template=")
        for path in (".mlos/config.toml", ".mlos/journal/.gitattributes", ".gitattributes"):
            write(plain, path, (ours / path).read_bytes())
        self.ours, self.plain = Side(ours), Side(plain)
        self.sides = (self.plain, self.ours)
        self.ours.known = self.plain.known
        self.steps = 0
        add(ours, "task", description="Close me")
        add(ours, "task", description="And me")

    def do(self, step: str) -> None:
        """One step on both sides, and a record that changed before it on one."""
        self.steps += 1
        self.record()
        codes, states = [], []
        for side in self.sides:
            codes.append(self.run(side, step))
            states.append(side.state())
        assert codes[0] == codes[1], f"step {self.steps}: {step}"
        for what, expected in states[0].items():
            assert states[1][what] == expected, f"step {self.steps}: {step}: {what}"

    def record(self) -> None:
        """What people do beside git: records that a commit takes along, and commands that look."""
        if self.steps % 6 == 0:
            need(self.ours.repo, f"Before step {self.steps}")
        elif self.steps % 6 == 2:
            change(self.ours.repo, "task", "2", priority=self.steps % 5 + 1)
        elif self.steps % 6 == 4:
            synced(self.ours.repo)

    def run(self, side: Side, step: str) -> tuple[int, str, str]:
        """A step: `write PATH TEXT`, or a git command; what came of it."""
        words = shlex.split(step)
        if words[0] == "write":
            write(side.repo, words[1], words[2].replace("\\n", "\n") + "\n")
            return 0, "", ""
        date = f"{1_700_000_000 + self.steps * 60} +0000"
        env = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "FILTER_BRANCH_SQUELCH_WARNING": "1"}
        done = side.git(*words, check=False, env=env)
        return done.returncode, side.said(done.stdout), side.said(done.stderr)


HISTORY = """
add -A
commit -m 'the workspace'
write note.md one
write other.md one
write docs/guide.md guide
add -A
commit -m 'first'
write note.md two
commit -a -m 'second, in place\\n\\nTask: 1'
write note.md three
write other.md staged
add other.md
commit -m 'only a path\\n\\nCloses: 1' note.md
status --porcelain
commit -m 'what was staged'
write note.md four
write other.md more
add other.md
commit -i note.md -m 'with what is staged'
commit --allow-empty -m 'empty'
commit --amend --allow-empty -m 'empty, amended\\n\\nFixes: task:2'
commit --amend --allow-empty --no-edit
commit -m 'nothing to commit'
write note.md five
commit -a --no-verify -m 'past the hooks'
tag -a -m kept v1
tag light
switch -c side HEAD~2
write side.md one
add side.md
commit -m 'side one'
write side.md two
commit -a -m 'side two'
checkout main
merge --no-edit side
switch -c topic HEAD~1
write topic.md one
add topic.md
commit -m 'topic one'
write topic.md two
commit -a --fixup HEAD
-c sequence.editor=true rebase -i --autosquash HEAD~2
rebase main
switch main
merge --ff-only topic
switch -c clash HEAD~3
write note.md theirs
commit -a -m 'clash'
switch main
write note.md ours
commit -a -m 'ours'
merge clash
status --porcelain
merge --abort
merge clash
write note.md both
add note.md
commit --no-edit
revert --no-edit HEAD~1
revert --abort
revert --no-edit -m 1 HEAD
cherry-pick side~1
cherry-pick --skip
cherry-pick clash
cherry-pick --abort
cherry-pick -n side~1
reset --hard
switch -c squashed HEAD~2
merge --squash side
write squashed.md x
add squashed.md
commit -m 'squashed'
switch -c onto main~3
write onto.md 1
add onto.md
commit -m 'onto one'
write onto.md 2
commit -a -m 'onto two\\n\\nCloses: 2'
write onto.md 3
commit -a -m 'onto three'
rebase --apply main
rebase --onto main~1 main
switch -c conflicting main~4
write note.md conflicting
commit -a -m 'conflicting'
rebase main
rebase --skip
rebase main
switch main
write note.md stashed
write untracked.md x
stash push -u -m 'put aside'
stash list
stash pop
stash push
write note.md instead
commit -a -m 'instead'
stash pop
checkout --theirs note.md
reset
checkout note.md
stash drop
clean -fdx
reset --soft HEAD~1
commit -m 'softly again'
reset --mixed HEAD~1
commit -a -m 'mixed again'
reset --hard HEAD~1
rm other.md
commit -m 'removed'
mv docs/guide.md docs/moved.md
commit -m 'moved'
format-patch -q -o ../patches HEAD~2..HEAD
checkout HEAD~2
am ../patches/0001-removed.patch ../patches/0002-moved.patch
commit --allow-empty -m 'detached'
switch -c from-detached
switch main
merge --no-edit -s ours from-detached
merge --no-edit onto squashed
bisect start
bisect bad HEAD
bisect good v1
bisect reset
branch -f topic HEAD~1
branch -m clash renamed
branch -D renamed
update-ref refs/heads/made HEAD~1
filter-branch -f --msg-filter 'sed 1s/o/O/' main~3..main
clone -q . ../clone
pull --no-rebase ../clone main
-C ../clone commit -q --allow-empty -m 'in the clone'
pull --ff-only ../clone main
pull --rebase ../clone main
push ../clone main:pushed
checkout --orphan fresh
commit -m 'a beginning'
rm -rf docs
commit -m 'and its end'
switch main
merge --allow-unrelated-histories --no-edit -s ours fresh
notes add -m remark
gc -q
"""


def test_git_does_the_same_with_us_and_without(tmp_path):
    """A hundred and more operations, each compared in full."""
    both = Both(tmp_path)
    for step in HISTORY.strip().split("\n"):
        both.do(step)
    operations = [step for step in HISTORY.split("\n") if step and not step.startswith(("write ", "add "))]
    assert len(operations) >= 40
    ours = both.ours.repo
    assert len(segments(ours)) > 10
    assert both.ours.git("fsck", "--strict").returncode == 0
    assert_rebuild_is_equal(ours)
