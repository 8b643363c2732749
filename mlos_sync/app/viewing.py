"""Compiled views: what each kind shows. One way for `compile`, `verify` and `pack`.

The three queries are those of the seed, made exact: the order never depends on a date of a file, NULLs come last, and
a folder is a folder and no pattern. Compiled views stand in other views by what the config says of them alone: a view
that showed the content of another one would be out of date as soon as both were compiled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from mlos_sync.app import outlook
from mlos_sync.app.gathering import Content, File, Need, Records, Source, front
from mlos_sync.app.naming import find_record
from mlos_sync.core import ids, views
from mlos_sync.core.guard import pathspec
from mlos_sync.core.paths import shown, sort_key
from mlos_sync.core.vocabulary import OPEN_TASKS
from mlos_sync.edge.workspace import MARKER, View, own_template, shipped
from mlos_sync.errors import RefusedError, UsageError

COMPILED = "not shown, a compiled view"
_TYPES = {"context_pack": "context_pack"}  # kind of view -> type of artifact, where it is no document

_NAMED = re.compile("need-([0-9a-f]{6,32})")


def compile_view(source: Source, view: View) -> bytes:
    """A view's bytes, sealed. Raises UsageError when the config or the tree's own template asks for what cannot be,
    RefusedError when that template may not run here (`is_withheld`)."""
    source = replace(source, files=_with_views(source))
    pages: dict[str, Callable[[Source, View], object]] = {
        "problem": _problem, "index": _index, "context_pack": _context_pack, "status": _status,
    }  # fmt: skip
    if view.kind not in source.templates:
        return views.render_shipped(shipped("templates"), view.kind, pages[view.kind](source, view), source.cache)
    own = source.templates[view.kind]
    if own is None:
        raise RefusedError(f"{shown(view.path)} {WITHHELD}", ALLOW)
    return _rendered(view, own, pages[view.kind](source, view))


WITHHELD = "has a template of the workspace's own, which this clone does not run; only its seal is checked"
ALLOW = "if you trust it: git config mlos-sync.templates true"


def again(path: str) -> str:
    """What to type where a view is out of date. What another commit closed, or a lock kept from this one, is published by the
    next: then compiling changes nothing, and a commit of the records alone is what is missing."""
    return (
        f"compile it again:   mlos-sync compile   then   git add -- {pathspec(path)}   and commit\n"
        "if it is unchanged: mlos-sync publish   then   git commit"
    )


def is_withheld(source: Source, view: View) -> bool:
    """Whether a view cannot be compiled here, because its template came with the tree and nobody allowed such."""
    return view.kind in source.templates and source.templates[view.kind] is None


def _rendered(view: View, own: str, page: object) -> bytes:
    """What the tree's own template makes of a page: somebody else's program, so whatever it raises is its mistake."""
    try:
        return views.render(own, page)
    except Exception as error:
        line = getattr(error, "lineno", None)
        words = " ".join(str(error).split()) or type(error).__name__
        place = f"{own_template(view.kind)}{f', line {line}' if line else ''}"
        raise UsageError(f"{place}: {words}", "mend the template, or take it away: git rm it, then compile") from None


def title_of(view: View) -> str:
    """A view's title: the config alone decides, so that an index can show it before the view is compiled."""
    if view.kind == "problem":
        standard = f"Problem: {view.scope}" if view.scope is not None else "Problem"
    elif view.kind == "index":
        folder = _folder(view)
        standard = f"Index of {folder}" if folder else "Index"
    elif view.kind == "status":
        standard = f"Status: {view.scope}" if view.scope is not None else "Status"
    else:
        standard = f"Context pack for {view.need}"
    return view.title or standard


def about(view: View) -> str:
    """A view's description."""
    if view.kind == "problem":
        where = f"the scope {view.scope}" if view.scope is not None else "this workspace"
        return f"What {where} needs, most urgent first, with the tasks that follow from it."
    if view.kind == "index":
        return f"The files of {_folder(view) or 'this workspace'} that git tracks."
    if view.kind == "status":
        where = f"the scope {view.scope}" if view.scope is not None else "this workspace"
        return f"What can be done now in {where}, most urgent first, and what the rest waits for."
    return f"What an agent that works on {view.need} has to know."


def _folder(view: View) -> str:
    return (view.folder or "").strip("/")


def _with_views(source: Source) -> dict[str, File]:
    shown = {
        view.path: File(title_of(view), about(view), _TYPES.get(view.kind, "document"), COMPILED)
        for view in source.config.views
    }
    return {**source.files, **shown}


def _problem(source: Source, view: View) -> views.ProblemPage:
    """The seed's query, children under their parents; the whole workspace's view has a heading per scope."""
    records, scope = source.records, view.scope
    needs = records.open_needs(scope)
    linked = _related(source)
    needs = [
        replace(need, item=need.item._replace(related=linked[need.uid])) if need.uid in linked else need
        for need in needs
    ]
    if scope is None:
        shown_ones = records.of(records.ever("need")) + [("task", uid) for uid in records.ever("task")]
        scopes = sorted({need.item.scope for need in needs}, key=lambda one: (one is None, one or ""))
        loose = tuple(task for task in records.tasks_by_need.get(None, ()) if task.status in OPEN_TASKS)
    else:
        shown_ones = records.of(records.needs_ever_in.get(scope, set()))
        scopes, loose = [scope or None], ()
    groups = []
    for one in scopes:
        items = tuple(_nested([need for need in needs if need.item.scope == one], records.names("need")))
        heading = one if one is not None or len(scopes) == 1 else "No scope"
        groups.append(views.Group(heading if scope is None else None, items))
    tasks = [task for group in groups for need in group.needs for task in need.tasks]
    tags = [one for one in scopes if one]
    head = front(source, _slug("problem", scope), title_of(view), about(view), shown_ones, tags)
    open_tasks = sum(task.status in OPEN_TASKS for task in (*tasks, *loose))
    return views.ProblemPage(view.path, head, tuple(groups), loose, len(needs), open_tasks)


def _status(source: Source, view: View) -> views.StatusPage:
    """What `mlos-sync ready` says, and what is running."""
    ready, running, blocked, circles = outlook.steps(source.records, view.scope)
    tags = [view.scope] if view.scope else []
    slug = _slug("status", view.scope)
    head = front(source, slug, title_of(view), about(view), outlook.records(source.records), tags)
    return views.StatusPage(view.path, head, tuple(ready), tuple(running), tuple(blocked), tuple(circles))


def _nested(needs: list[Need], shown: Mapping[str, str]) -> Iterable[views.NeedItem]:
    """Each need once, children after their parent. Where needs are one another's parents, the first one begins."""
    inside = {need.uid for need in needs}
    children: dict[str | None, list[Need]] = {}
    for need in needs:
        children.setdefault(need.parent if need.parent in inside else None, []).append(need)
    done: set[str] = set()
    for root in (*children.get(None, ()), *needs):
        stack = [(root, 0)]
        while stack:
            need, depth = stack.pop()
            if need.uid in done:
                continue
            done.add(need.uid)
            above = shown.get(need.parent or "") if depth == 0 else None
            yield need.item._replace(depth=depth, part_of=above)
            stack += [(child, depth + 1) for child in reversed(children.get(need.uid, ()))]


def _related(source: Source) -> dict[str, tuple[views.Related, ...]]:
    """Need -> the files that edges join with it, by path."""
    found: dict[str, set[views.Related]] = {}
    for edge in source.records.need_edges:
        if edge.alive:
            file = source.files.get(edge.path)
            relation = edge.type if edge.outward else f"{edge.type} this need"
            one = views.Related(edge.path, file.title if file else "", relation, file is not None)
            found.setdefault(edge.need, set()).add(one)
    return {
        need: tuple(sorted(some, key=lambda one: (sort_key(one.path), one.relation))) for need, some in found.items()
    }


def unlisted(source: Source, view: View) -> tuple[str, ...]:
    """The files of an index's folder that it does not list, because git does not track them."""
    if view.kind != "index":
        return ()
    own = {one.path for one in source.config.views}
    return tuple(path for path in source.untracked if path.startswith(_below(view)) and path not in own)


def _below(view: View) -> str:
    return _folder(view) + "/" if _folder(view) else ""


def _index(source: Source, view: View) -> views.IndexPage:
    """The files of a folder, ordered by path: dates come from `git log`, so a view must not order by them."""
    below = _below(view)
    folders: dict[str, list[views.FileItem]] = {}
    for path in sorted((p for p in source.files if p.startswith(below) and p != view.path), key=sort_key):
        file = source.files[path]
        item = views.FileItem(path, file.title, file.description, file.kind)
        folders.setdefault(path.rpartition("/")[0], []).append(item)
    ordered = sorted(folders.items(), key=lambda pair: sort_key(pair[0]))
    shown = tuple(views.Folder(name or None, tuple(items)) for name, items in ordered)
    head = front(source, _slug("index", _folder(view) or None), title_of(view), about(view), ())
    return views.IndexPage(view.path, head, shown, sum(len(folder.files) for folder in shown))


def _context_pack(source: Source, view: View) -> views.PackPage:
    uid = _named_need(source.records, view)
    linked: dict[str, list[str]] = {}
    name = source.records.names("need").get(uid, ids.shown("need", uid))
    for edge in source.records.need_edges:
        if edge.need == uid and edge.alive and edge.outward:
            linked.setdefault(edge.path, []).append(f"{name} {edge.type}")
    return pack_page(source, view.path, [uid], linked, title=title_of(view), desc=about(view))


def _named_need(records: Records, view: View) -> str:
    """The uid of the need that the config names; one that was deleted since is still named."""
    where = f"mend `need` of {view.path} in {MARKER}; mlos-sync need list shows what there is"
    named = _NAMED.fullmatch(view.need or "")
    if named is None:
        reference = ids.parse(view.need or "", "need")
        if reference is None or reference.kind != "need":
            raise UsageError(f"the view {view.path} names {view.need}, which is no need", where)
        uid = find_record(records.db, reference)[1]
        lasting = records.names("need").get(uid, ids.shown("need", uid))
        raise UsageError(
            f"the view {view.path} names {view.need}, a number, which a merge may give to another need",
            f'write what lasts into {MARKER}: need = "{lasting}"',
        )
    there = "SELECT DISTINCT uid FROM events WHERE kind = 'need' AND visible = 1 AND uid GLOB ? ORDER BY uid"
    found: list[str] = [uid for (uid,) in records.db.execute(there, (named[1] + "*",))]
    alive = set(records.names("need"))
    found = [uid for uid in found if uid in alive] or found
    if not found:
        raise UsageError(f"the view {view.path} names {view.need}, and there is no such need", where)
    if len(found) > 1:
        raise RefusedError(f"the view {view.path} names {view.need}, and several needs begin so", where)
    return found[0]


def pack_page(
    source: Source,
    path: str,
    needs: list[str],
    linked: Mapping[str, Iterable[str]],
    *,
    title: str,
    desc: str,
    agent: str | None = None,
    folder: str = "",
) -> views.PackPage:
    """A context pack of needs and of the files in `linked` (path -> what says so); files stand below `folder`."""
    wanted = set(needs)
    items = tuple(need.item for need in source.records.needs if need.uid in wanted)
    entries = [_entry(source, one, tuple(sorted(set(edges))), folder) for one, edges in linked.items()]
    entries.sort(key=lambda one: (one.target is None, one.kind, one.title, sort_key(one.path)))
    origins = ", ".join(sorted({item.source_transcript for item in items if item.source_transcript}))
    tags = sorted({item.scope for item in items if item.scope})
    slug = "context-pack-" + "-".join(ids.shown("need", uid) for uid in sorted(needs))
    head = front(source, slug, title, desc, source.records.of(wanted), tags, origins)
    return views.PackPage(path, head, items, agent, tuple(entries))


def _entry(source: Source, path: str, edges: tuple[str, ...], folder: str) -> views.PackEntry:
    file = source.files.get(path)
    if file is None:
        gone = "no such file here: moved or deleted"
        return views.PackEntry(path, None, path.rpartition("/")[2], "", "missing", edges, None, None, gone)
    content = source.read(path) if not file.note else None
    text, note = _text(content) if content else (None, file.note or "it cannot be read")
    sha = content.sha256 if content else None
    return views.PackEntry(path, folder + path, file.title, file.description, file.kind, edges, sha, text, note)


def _text(content: Content) -> tuple[str | None, str]:
    """A content's text, or why it is not shown."""
    if content.size > views.TEXT_LIMIT:
        return None, f"not shown, {content.size} bytes"
    try:
        text = content.head.decode("utf-8")
    except UnicodeDecodeError:
        return None, f"not shown, no text, {content.size} bytes"
    if "\0" in text:
        return None, f"not shown, no text, {content.size} bytes"
    text = text.replace("\r\n", "\n")
    return text if text.endswith("\n") or not text else text + "\n", ""


def _slug(kind: str, name: str | None) -> str:
    """An id of plain letters; where letters were lost a few digits of the name's hash tell it from others."""
    if name is None:
        return kind
    plain = re.sub("[^A-Za-z0-9]+", "-", name).strip("-").lower()
    return "-".join(filter(None, (kind, plain, "" if plain == name else ids.derived_uid(name)[: ids.SHORTEST])))
