"""A compiled pipeline as a picture: tasks from left to right, groups around them (SVG)."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

__all__ = ["picture"]

Json = dict[str, Any]

_WIDTH, _HEIGHT = 112, 40
_GAP_X, _GAP_Y = 34, 16
_PAD, _TITLE = 14, 22
_STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1b1f24; text-anchor: middle; }
  .group text { font-size: 12px; fill: #4a5560; text-anchor: start; }
  .task rect { fill: #e7f0fb; stroke: #2f6fb3; }
  .group > rect { fill: none; stroke: #8a94a0; stroke-dasharray: 5 4; }
  path { fill: none; stroke: #4a5560; stroke-width: 1.4; marker-end: url(#arrow); }
"""


@dataclass
class _Box:
    """A task, or a group of tasks: its size, and where it lies in the group around it."""

    label: str
    width: float = _WIDTH
    height: float = _HEIGHT
    x: float = 0
    y: float = 0
    inner: list[_Box] = field(default_factory=list)
    edges: list[tuple[_Box, _Box]] = field(default_factory=list)
    bare: bool = False


def picture(spec: Json, title: str) -> str:
    """The picture of one compiled pipeline, for a page: it holds no script and loads nothing.

    Args:
        spec: the pipeline's specification, as the first document of its YAML.
        title: what the picture is of.
    """
    whole = _laid_out(spec["root"]["dag"], spec["components"], "", bare=True)
    order = ", ".join(_names(whole))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc" '
        f'viewBox="0 0 {whole.width:g} {whole.height:g}" '
        f'width="{whole.width:g}" height="{whole.height:g}">'
    )
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#4a5560;stroke:none;'
        'marker-end:none"/></marker></defs>'
    )
    lines = [
        head,
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">Tasks in their order: {escape(order)}.</desc>',
        f"<style>{_STYLE}</style>",
        arrow,
        f'<rect width="{whole.width:g}" height="{whole.height:g}" fill="#ffffff"/>',
        *_drawn(whole, 0, 0),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _laid_out(dag: Json, components: Json, label: str, *, bare: bool = False) -> _Box:
    """A graph with its tasks in columns: each stands right of all that it waits for."""
    tasks = dag["tasks"]
    boxes = {name: _box(name, task, components) for name, task in tasks.items()}
    waits = {name: set(task.get("dependentTasks", ())) for name, task in tasks.items()}
    columns = _columns(waits)
    top = _PAD if bare else _PAD + _TITLE
    x, bottom = float(_PAD), 0.0
    heights = [sum(boxes[n].height for n in c) + _GAP_Y * (len(c) - 1) for c in columns]
    for column, height in zip(columns, heights):
        y = top + (max(heights) - height) / 2
        for name in column:
            boxes[name].x, boxes[name].y = x, y
            y += boxes[name].height + _GAP_Y
            bottom = max(bottom, y - _GAP_Y)
        x += max(boxes[name].width for name in column) + _GAP_X
    edges = [
        (boxes[before], boxes[name])
        for name, befores in waits.items()
        for before in sorted(befores)
        if not _is_beyond(before, befores - {before}, waits)
    ]
    inner = list(boxes.values())
    return _Box(label, x - _GAP_X + _PAD, bottom + _PAD, inner=inner, edges=edges, bare=bare)


def _box(name: str, task: Json, components: Json) -> _Box:
    label = task["taskInfo"]["name"]
    component = components[task["componentRef"]["name"]]
    if "dag" not in component:
        return _Box(label, width=max(_WIDTH, 8.2 * len(label) + 16))
    label = "one of" if name.startswith("condition-branches") else label
    return _laid_out(component["dag"], components, label)


def _columns(waits: dict[str, set[str]]) -> list[list[str]]:
    """Names by the longest way from a start; in a column those that came first are on top."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = max((of(before) + 1 for before in waits[name]), default=0)
        return depth[name]

    columns: list[list[str]] = [[] for _ in range(max(map(of, waits)) + 1)]
    for name in sorted(waits, key=lambda name: (len(name), name)):  # condition-9 before -10
        columns[depth[name]].append(name)
    return columns


def _is_beyond(before: str, others: set[str], waits: dict[str, set[str]]) -> bool:
    """Whether an arrow says nothing new: another task that is waited for waits for it too."""
    seen: set[str] = set()
    open_ = list(others)
    while open_:
        name = open_.pop()
        if before in waits[name]:
            return True
        open_ += waits[name] - seen
        seen |= waits[name]
    return False


def _names(box: _Box) -> list[str]:
    inner = sorted(box.inner, key=lambda each: (each.x, each.y))
    return [name for each in inner for name in (_names(each) if each.inner else [each.label])]


def _drawn(box: _Box, x: float, y: float) -> list[str]:
    """The box and what is in it, with its corner at a place."""
    if not box.inner:
        place = f'x="{x:g}" y="{y:g}" width="{box.width:g}" height="{box.height:g}" rx="7"'
        text = f'<text x="{x + box.width / 2:g}" y="{y + box.height / 2 + 5:g}">'
        return [f'<g class="task"><rect {place}/>{text}{escape(box.label)}</text></g>']
    lines = []
    if not box.bare:
        place = f'x="{x:g}" y="{y:g}" width="{box.width:g}" height="{box.height:g}" rx="10"'
        text = f'<text x="{x + _PAD:g}" y="{y + _TITLE - 3:g}">{escape(box.label)}</text>'
        lines.append(f'<g class="group"><rect {place}/>{text}</g>')
    lines += [_arrow(a, b, x, y) for a, b in box.edges]
    return lines + [line for each in box.inner for line in _drawn(each, x + each.x, y + each.y)]


def _arrow(a: _Box, b: _Box, x: float, y: float) -> str:
    """A curve from the right of one box to the left of another."""
    x0, y0 = x + a.x + a.width, y + a.y + a.height / 2
    x1, y1 = x + b.x, y + b.y + b.height / 2
    bend = max(_GAP_X / 2, (x1 - x0) / 2)
    return f'<path d="M{x0:g} {y0:g}C{x0 + bend:g} {y0:g} {x1 - bend:g} {y1:g} {x1:g} {y1:g}"/>'
