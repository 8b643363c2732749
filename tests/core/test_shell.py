"""Shell commands: what they certainly change, and how much of what they might change is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlos_sync.core.transcripts.commits import commits
from mlos_sync.core.transcripts.patches import Change
from mlos_sync.core.transcripts.shell import claimed, located, patch_in, unquoted


def done(command: str) -> list[tuple[str, str]]:
    """Operation and path of each change, the path behind the directory that it starts from."""
    return [(change.operation, located(change, None)[0]) for change in claimed(command)]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("rm a.py", [("delete", "a.py")]),
        ("  rm -f 'a b.py' c.py\n", [("delete", "a b.py"), ("delete", "c.py")]),
        ("rm -- -odd", [("delete", "-odd")]),
        ("rm x.py 2>/dev/null", [("delete", "x.py")]),
        ("rm x.py > /dev/null 2>&1", [("delete", "x.py")]),
        ("mv a.py b.py", [("move", "b.py"), ("delete", "a.py")]),
        ("mv a.py lib/", [("move", "lib/a.py"), ("delete", "a.py")]),
        ("mv x/Makefile y/Makefile", [("move", "y/Makefile"), ("delete", "x/Makefile")]),
        ("git mv a.py b.py", [("move", "b.py"), ("delete", "a.py")]),
        ("git rm -f a.py", [("delete", "a.py")]),
        ("cp -p a.py b.py", [("write", "b.py")]),
        ("sed -i 's/[a-z]*/x/g; s/$/y/' a.py b.py", [("edit", "a.py"), ("edit", "b.py")]),
        ("sed -i '' -e 's/a/b/' a.py", [("edit", "a.py")]),
        ("sed -i.bak -E 's/a/b/' a.py", [("edit", "a.py")]),
        ("sed -n 1,5p a.py", []),
        ("cd src && rm a.py && rm b.py", [("delete", "src/a.py"), ("delete", "src/b.py")]),
        ("cd src && cd lib && rm a.py", [("delete", "src/lib/a.py")]),
        ("mkdir -p d && rm a.py && git add .", [("delete", "a.py")]),
        ("# tidy up\nrm a.py # gone", [("delete", "a.py")]),
        ("rm \\\n  a.py", [("delete", "a.py")]),
        ("rm a\\ b.py", [("delete", "a b.py")]),
        ("bash -lc 'rm a.py'", [("delete", "a.py")]),
        ("/bin/zsh -lc \"rm 'a b.py'\"", [("delete", "a b.py")]),
        ("go test ./... > out.txt 2>&1", [("write", "out.txt")]),
        ("echo x >> a.txt", [("edit", "a.txt")]),
        ("rm a.py;", [("delete", "a.py")]),
    ],
)
def test_what_is_certain_is_claimed(command, expected):
    """One simple command, or a chain of known ones, with literal targets."""
    assert done(command) == expected


@pytest.mark.parametrize(
    "command",
    [
        "rm *.py",
        "rm $FILE",
        'rm "$FILE"',
        "rm `cat list`",
        "rm $(cat list)",
        "rm ~/a.py",
        "rm a{1,2}.py",
        "rm -r src",
        "rm -rf a.py",
        "rm dir/",
        "rm",
        "rm a.py || true",
        "rm a.py & ",
        "rm a.py | cat",
        "ls | rm a.py",
        "ls && rm a.py | cat && ls",
        "rm a.py |& cat",
        "rm a.py && ls | ",
        "rm a.py && ls | | head",
        "rm a.py && ls | xargs touch",
        "rm a.py && make | tail -3",
        "rm a.py && ls | cat > b.txt",
        "cat a.py | sed -i 's/a/b/' a.py",
        "cd lib | cat && rm a.py",
        "echo x | cd lib && rm a.py",
        "rm a.py; ls",
        "rm a.py\nls",
        "make && rm a.py",
        "(rm a.py)",
        "if true; then rm a.py; fi",
        "! rm a.py",
        "find . -name x | xargs rm",
        "mv a lib",
        "mv a.py b.py lib/",
        "mv -n a.py b.py",
        "git rm --cached a.py",
        "git rm -r src",
        "git checkout -- a.py",
        "sed -i 's/a/b/' *.py",
        "sed -i -f script a.py",
        "cat > $F <<'EOF'\nx\nEOF",
        "cat > a.py <<'EOF'\nx\n",
        "cat > a.py <<'EOF'\nx\nEOF\npython a.py",
        "cat <<'EOF' | tee a.py\nx\nEOF",
        "cd - && rm a.py",
        "cd && rm a.py",
        "echo 'rm a.py'",
        "grep -rn 'rm a.py' .",
        "sudo rm a.py",
        "X=1 rm a.py",
        "rm 'a.py",
        'rm "a.py',
        "rm a.py \\",
        "echo a > b.txt > c.txt",
        "echo x >& a.txt",
        "",
        "&&",
        "rm a.py &&",
        ">",
    ],
)
def test_what_is_not_certain_is_no_claim(command):
    """An expansion, a second command whose end is not told, a target that may be a directory: nothing at all."""
    assert done(command) == []


@pytest.mark.parametrize(
    "command",
    [
        "rm a.py && ls -l | head -3",
        "rm a.py && grep -rn 'a|b' . 2>&1 | grep -v c | wc -l",
        "rm a.py && git diff |\n  head",
        "git log | head -1 && rm a.py",
        "rm a.py && cat <<'EOF' | grep x\nrm b.py | cat\nEOF",
        "bash -lc 'rm a.py && ls | wc -l'",
    ],
)
def test_a_pipe_of_commands_that_change_nothing_leaves_the_others_certain(command):
    """The chain ends well only if its other links did; whether part of the pipe failed does not matter to files."""
    assert [(change.operation, change.path) for change in claimed(command)] == [("delete", "a.py")]


def test_a_patch_in_a_pipe_is_not_certain():
    """The end of the pipe says nothing of `apply_patch`."""
    patch = "*** Begin Patch\n*** Add File: a.py\n+x\n*** End Patch\n"
    assert patch_in(f"apply_patch <<'EOF'\n{patch}EOF") == patch
    assert patch_in(f"apply_patch <<'EOF' | tail -3\n{patch}EOF") == ""


@pytest.mark.parametrize(
    ("command", "contents"),
    [
        ("cat > a.py <<'EOF'\nx = '$y' `z` \\n\nEOF", b"x = '$y' `z` \\n\n"),
        ("cat <<'EOF' > a.py\n'x' \"y\nEOF\n", b"'x' \"y\n"),
        ('cat > a.py <<"END OF"\nx\nEND OF', b"x\n"),
        ("cat > a.py <<EOF\nplain\nEOF", b"plain\n"),
        ("cat >a.py <<-'EOF'\n\tx\n\tEOF", b"x\n"),
        ("cat > a.py <<'EOF'\nEOF", b""),
        ("cat > a.py << 'EOF' && chmod +x a.py\nx\nEOF", b"x\n"),
        ("tee a.py <<'EOF'\nx\nEOF", b"x\n"),
        ("cat > a.py <<< 'x'", b"x\n"),
        ("echo 'a  b' > a.py", b"a  b\n"),
        ("echo -n a b > a.py", b"a b"),
        ("printf 'a\\nb\\n' > a.py", b"a\nb\n"),
        ("printf '%s\\n' a b > a.py", b"a\nb\n"),
        ("> a.py", b""),
        (": > a.py", b""),
    ],
)
def test_a_literal_text_is_the_content(command, contents):
    """What a redirection writes is known where the command prints nothing but literals."""
    (change,) = claimed(command)
    assert (change.operation, change.path, change.contents) == ("write", "a.py", (contents,))


@pytest.mark.parametrize(
    "command",
    ["cat > a.py <<EOF\n$HOME\nEOF", "echo 'a\\nb' > a.py", "printf '%d' 1 > a.py", "make > a.py", "cat b.py > a.py"],
)
def test_a_text_that_is_not_literal_is_no_content(command):
    """The file is written all the same."""
    (change,) = claimed(command)
    assert (change.operation, change.path, change.contents) == ("write", "a.py", ())


PATCH = "*** Begin Patch\n*** Add File: a.py\n+x\n*** Delete File: b.py\n*** End Patch"


@pytest.mark.parametrize(
    "command",
    [
        f"apply_patch <<'EOF'\n{PATCH}\nEOF",
        f"apply_patch '{PATCH}'",
        f"cd sub && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        unquoted(["bash", "-lc", f"apply_patch <<'EOF'\n{PATCH}\nEOF\n"]),
        unquoted(["apply_patch", PATCH]),
    ],
)
def test_a_patch_in_a_command_is_read(command):
    """As a here-document or as an argument, with its text for those who know that it failed."""
    assert [change.operation for change in claimed(command)] == ["create", "delete"]
    assert patch_in(command).strip() == PATCH
    assert claimed(command)[0].contents == (b"x\n",)


def test_directories_are_joined_to_where_the_call_ran():
    """An absolute directory replaces, a relative one goes below, and none is invented."""
    assert located(Change("edit", "a", directory="/x"), "/w") == ("a", "/x")
    assert located(Change("edit", "a", directory="x"), "/w/") == ("a", "/w/x")
    assert located(Change("edit", "a", directory="x"), None) == ("x/a", None)
    assert located(Change("edit", "/a", directory="x"), None) == ("/a", None)
    assert located(Change("edit", "a"), "/w") == ("a", "/w")


# --- commits


@pytest.mark.parametrize(
    ("printed", "sha", "subject"),
    [
        ("[main abc1234] Say why", "abc1234", "Say why"),
        ("[feat/x-1 0123456789a] a [b] c", "0123456789a", "a [b] c"),
        ("[main (root-commit) abc1234] First", "abc1234", "First"),
        ("[detached HEAD abc1234] Off", "abc1234", "Off"),
        ("lint ok\n[main abc1234] Said\r\n 1 file changed", "abc1234", "Said"),
    ],
)
def test_git_prints_the_commits_that_it_makes(printed, sha, subject):
    """In the form of any branch, the first commit, and no branch at all."""
    assert commits("git add -A && git commit -m 'x'", printed) == ((sha, subject),)


@pytest.mark.parametrize(
    "command",
    [
        "git commit -m \"$(cat <<'EOF'\nIt's\nEOF\n)\"",
        "git -C /w -c user.name=x commit",
        "cd x; GIT_EDITOR=true git rebase --continue",
        "if a; then git cherry-pick 1; fi",
        "git merge x",
        "git revert HEAD",
    ],
)
def test_commands_that_make_commits(command):
    """Wherever a command may begin."""
    assert commits(command, "[main abc1234] x") == (("abc1234", "x"),)


@pytest.mark.parametrize(
    "command", ["grep -rn 'git commit' logs", "cat git commit", "git log", "git commit-tree x", "my-git commit", "echo"]
)
def test_commands_that_only_show_commits(command):
    """A line in what was searched or read is no commit of the session."""
    assert commits(command, "[main abc1234] x") == ()


# --- any text


PIECES = [
    "rm ",
    "a.py",
    "'",
    '"',
    "\\",
    "\n",
    " && ",
    "cat > ",
    " <<'EOF'",
    "EOF",
    ">",
    "<",
    "&",
    "|",
    "$",
    "#",
    ";",
    "cd x",
]


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_any_text_is_survived(command):
    """No command raises, and every path is one."""
    for change in claimed(command):
        assert change.path.strip() and change.path.encode()
    patch_in(command)
    commits(command, command)


@pytest.mark.parametrize(
    "piece",
    ["a ", "'a'", "a&&", "cat <<A &&", "\\\n", "<<A ", "git commit\n", "git -C a ", "[a ", "A=b ", "-f ", '"\\', "\t"],
)
def test_reading_takes_linear_time(piece):
    """Four times the text takes about four times as long."""

    def seconds(times: int) -> float:
        text = "rm " + piece * times
        start = time.process_time()
        claimed(text)
        commits(text, text)
        return time.process_time() - start

    seconds(10)
    few = min(seconds(3_000) for _ in range(3))
    assert min(seconds(12_000) for _ in range(3)) < 9 * few + 0.05
