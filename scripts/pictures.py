#!/usr/bin/env python3
"""Draws the pictures of the book, as SVG with text as text and colours for light and dark. `--check`: fails if one is stale."""

import json
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "images"
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b2733; text-anchor: middle }
.small { font-size: 11px; fill: #4a5a6a }
.left { text-anchor: start }
.page { fill: #ffffff }
.box { fill: #eef2f6; stroke: #8296aa }
.guard { fill: #d9ecff; stroke: #1668b8; stroke-width: 2 }
.zone { fill: none; stroke: #8296aa; stroke-dasharray: 5 4 }
.line { stroke: #4a5a6a; stroke-width: 1.5; fill: none; marker-end: url(#head) }
.stop { stroke: #b3261e; stroke-width: 1.5; fill: none; marker-end: url(#stop) }
.tip { fill: #4a5a6a } .halt { fill: #b3261e } .no { fill: #b3261e }
@media (prefers-color-scheme: dark) {
  text { fill: #e4eaf0 } .small { fill: #a9b8c6 } .page { fill: #161c23 } .box { fill: #26313c; stroke: #6d8196 }
  .guard { fill: #123a5e; stroke: #5aa9f5 } .zone { stroke: #6d8196 } .line { stroke: #a9b8c6 } .tip { fill: #a9b8c6 }
  .stop { stroke: #f2776d } .halt, .no { fill: #f2776d }
}
"""
HEADS = """<defs>
<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker>
<marker id="stop" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="halt" d="M0 0 8 4 0 8z"/></marker>
</defs>"""


def picture(width, height, title, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", HEADS,
        f'<rect class="page" width="{width}" height="{height}" rx="8"/>', *parts, "</svg>", ""])


def text(x, y, line, kind=""):
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(line)}</text>'


def box(x, y, width, height, *lines, kind="box"):
    first = y + height / 2 + 5 - (len(lines) - 1) * 8
    texts = [text(x + width / 2, first + nth * 16, line, "small" if nth else "") for nth, line in enumerate(lines)]
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>' + "".join(texts)


def arrow(x1, y1, x2, y2, label="", kind="line"):
    above = text((x1 + x2) / 2, (y1 + y2) / 2 - 6, label, "small") if label else ""
    return f'<path class="{kind}" d="M{x1} {y1} {x2} {y2}"/>{above}'


def request():
    """What happens to a request in the guard, in order, and where it may end."""
    steps = [
        ("head", "deadline, one reading", "framing.* limits.*"), ("path", "corrected, a route of Wire", "target.*"),
        ("method, headers, query", "", "method.* headers.* query.*"), ("token", "before the body", "token.*"),
        ("body, JSON", "size, time, one reading", "body.* json.*"),
        ("schema and rules", "as Wire applies them", "user.* patch.* group.* filter.*"),
    ]
    parts = [box(14, 175, 122, 56, "client", "Entra ID, Okta, ..."), box(710, 175, 105, 56, "Wire", "nginz, spar"),
             '<rect class="guard" x="250" y="40" width="390" height="330" rx="8"/>', text(445, 28, "wire-scim-guard"),
             arrow(136, 190, 248, 68, "request"), arrow(642, 345, 712, 234),
             text(700, 310, "only now", "small"), arrow(710, 190, 643, 120), text(690, 128, "answer", "small"), arrow(250, 216, 138, 216, "SCIM error", "stop"),
             text(190, 236, "names the rule and", "small"), text(190, 250, "what to change", "small")]
    for nth, (name, how, rules) in enumerate(steps):
        y = 56 + nth * 51
        parts.append(box(264, y, 176, 42, name, *([how] if how else [])))
        parts.append(text(450, y + 26, rules, "small left no"))
        if nth:
            parts.append(arrow(352, y - 9, 352, y - 1))
    return picture(830, 390, "How the guard processes a request", parts)


def boundaries():
    parts = []
    for x, width, title, trust in ((20, 190, "clients", "trusted for nothing"), (320, 190, "the guard", ""),
                                   (620, 190, "backend", "trusted for its answers")):
        parts += [f'<rect class="zone" x="{x}" y="30" width="{width}" height="170" rx="8"/>', text(x + width / 2, 22, title)]
        parts.append(text(x + width / 2, 218, trust, "small"))
    parts += [box(40, 60, 150, 44, "SCIM clients", "have a token"), box(40, 130, 150, 44, "anyone else", "on the network"),
              box(340, 75, 150, 84, "wire-scim-guard", "8080 and 8443: clients", "9090: operators", kind="guard"),
              box(640, 60, 150, 44, "nginz", "adds Z-* headers"), box(640, 130, 150, 44, "spar", "/i is internal"),
              arrow(190, 82, 338, 100, "judged"), arrow(190, 152, 338, 130, "refused", "stop"),
              arrow(490, 100, 638, 82, "forwarded"), arrow(490, 130, 638, 152),
              box(320, 250, 190, 44, "operator", "config, schemas, registry"), arrow(415, 250, 415, 162, ""),
              text(470, 240, "trusted", "small")]
    return picture(830, 310, "Trust boundaries", parts)


def placements():
    rows = [
        ("between nginz and spar", ["client", "ingress", "nginz", "GUARD", "spar"], "recommended"),
        ("between ingress and nginz", ["client", "ingress", "GUARD", "nginz", "spar"], "ingress-nginx, Envoy Gateway"),
        ("at the edge", ["client", "GUARD", "nginz", "spar"], "the guard terminates TLS"),
        ("for ldap-scim-bridge", ["directory", "bridge", "GUARD", "spar"], "inside the cluster"),
        ("in front of Wire Cloud", ["client", "GUARD", "Wire Cloud"], "with TLS to Wire"),
    ]
    parts = []
    for nth, (name, chain, note) in enumerate(rows):
        y = 24 + nth * 62
        parts += [text(20, y + 16, name, "left"), text(20, y + 33, note, "small left")]
        for at, who in enumerate(chain):
            x = 232 + at * 118
            parts.append(box(x, y, 88, 40, "guard" if who == "GUARD" else who, kind="guard" if who == "GUARD" else "box"))
            if at:
                parts.append(arrow(x - 30, y + 20, x - 2, y + 20))
    return picture(830, 340, "Where the guard can be placed", parts)


def dashboard():
    """The panels of the dashboard, in their places."""
    panels = json.loads((ROOT / "conf/grafana/wire-scim-guard.json").read_text())["panels"]
    parts, row_height, y = [], {"row": 28, "panel": 40}, 16
    for at, panel in enumerate(panels):
        place = panel["gridPos"]
        if panel["type"] == "row":
            parts.append(text(20, y + 18, panel["title"], "left"))
            y += row_height["row"]
        else:
            parts.append(box(20 + place["x"] * 33, y, 256, 32, panel["title"]))
            following = panels[at + 1]["gridPos"] if at + 1 < len(panels) else None
            if following is None or following["y"] != place["y"]:
                y += row_height["panel"]
    return picture(830, y + 8, "The panels of the dashboard", parts)


def main():
    stale = []
    for draw in (request, boundaries, placements, dashboard):
        path, drawn = FOLDER / f"{draw.__name__}.svg", draw()
        if "--check" not in sys.argv:
            path.write_text(drawn)
        elif not path.exists() or path.read_text() != drawn:
            stale.append(str(path))
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run scripts/pictures.py")


main()
