#!/bin/sh
# The main job, from an empty repository to a clone that knows everything: `make demo` runs this.
# Every command is shown before its output. Any step that does not do what it says ends the demo with an error.
set -eu

source=$(cd "$(dirname "$0")/../sample_vault" && pwd)
place=$(mktemp -d "${TMPDIR:-/tmp}/mlos-sync-demo.XXXXXX")
trap 'rm -rf "$place"' EXIT INT TERM
export HOME="$place/home" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null NO_COLOR=1
export GIT_AUTHOR_NAME=Tamsin GIT_AUTHOR_EMAIL=tamsin@harbor.example
export GIT_COMMITTER_NAME=Tamsin GIT_COMMITTER_EMAIL=tamsin@harbor.example
mkdir -p "$HOME" && cp -R "$source" "$place/harbor" && cd "$place/harbor"

exec 2>&1

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; eval "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
if [ ! -t 1 ]; then exec 2>&1

say() { printf '\n# %s\n' "$*"; }; fi

say 'A repository becomes a workspace'
run 'git init --quiet --initial-branch=main .'
run 'mlos-sync init'

say 'Every file is an artifact, by content hash; transcripts become sessions'
run 'mlos-sync sync'
run 'mlos-sync transcripts'

say 'A need becomes actionable, and its task appears'
run 'mlos-sync need add "The three nightly jobs must not knock together" --priority 2 --scope harbor --status active'
run 'mlos-sync need set need:1 --status actionable'
run 'mlos-sync task list'

say 'Any door is a good door: a row typed into the sqlite3 program is checked and captured too'
if command -v sqlite3 >/dev/null; then
    run "sqlite3 .git/mlos/index.db \"INSERT INTO needs(title, status, priority, scope) VALUES ('Old reports must stay readable', 'active', 4, 'harbor')\""
    run "sqlite3 .git/mlos/index.db \"INSERT INTO needs(title, priority) VALUES ('Nonsense', 9)\" || true"
else
    run "mlos-sync need add 'Old reports must stay readable' --status active --priority 4 --scope harbor"
fi
run 'git add --all && git commit --quiet -m "Harbor, as it stands"'

say 'A file is written as a transcript says, and committed for the task'
transcript=.specstory/history/2026-03-11_16-40-07Z-add-jittered-backoff-helper.md
run "awk '/^\`\`\`\$/{on=0} on{if(n++)print last; last=\$0} /^\`\`\`python\$/{on=1}' $transcript > pipeline/backoff.py"
run 'mlos-sync sync'
run 'git add pipeline && git commit --quiet -m "Bring in the jittered backoff" -m "Task: 1"'
run 'git log -1 --format=%B'

say 'Why does this file exist? Session, commit, task, need, each with its evidence'
run 'mlos-sync why pipeline/backoff.py' | tee "$place/why"
for word in proved Bring task-; do grep -q "$word" "$place/why" || fail "why does not answer $word"; done

say 'Documents are compiled from the records'
run 'mlos-sync link need:1 references artifact:pipeline/backoff.py'
run 'mlos-sync compile'
run 'cat PROBLEM.md'
run 'git add --all && git commit --quiet -m "Compile the views"'

say 'A hand edit of a compiled document is refused by git itself'
run 'echo "- and one more thing" >> PROBLEM.md'
if run 'git commit --quiet --all -m "Just a small edit"'; then fail 'the edit was not refused'; fi
run 'git restore --source=HEAD --staged --worktree -- PROBLEM.md'
run 'mlos-sync verify'

say 'A clone needs nothing but git'
run 'git clone --quiet . ../clone'
run 'mlos-sync -C ../clone rebuild'
run 'mlos-sync dump --canonical > ../here.txt'
run 'mlos-sync -C ../clone dump --canonical > ../there.txt'
run 'cmp ../here.txt ../there.txt && echo "the canonical dumps of both clones are equal"'
