"""How pages look that need nothing else: light or dark as the reader prefers, narrow or wide.

Plotly writes colours into each element, so those that must follow the reader's light or dark are overridden.
"""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1a1a; --soft: #5a5a5a; --line: #d9d9d9; --tint: #f4f6f8;
  --link: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #ececec; --soft: #ababab; --line: #3a3f45;
  --tint: #20242a; --link: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p, ul { max-width: 46rem; }
a { color: var(--link); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { text-align: left; color: var(--soft); font-weight: 600; }
td[style*="right"] { white-space: nowrap; }
td:first-child, th:first-child { padding-left: 0; }
tbody tr:hover { background: var(--tint); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .875rem; }
pre { background: var(--tint); padding: .8rem 1rem; overflow-x: auto; border-radius: 4px; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; }
.main-svg { background: transparent !important; }
.main-svg .bg { fill: transparent !important; }
[class$="tick"] text, [class$="title"], .legendtext, .annotation-text { fill: var(--ink) !important; }
.gridlayer path, .zerolinelayer path { stroke: var(--line) !important; }
[style*="stroke: rgb(26, 26, 26)"] { stroke: var(--ink) !important; }
.updatemenu-header rect, .updatemenu-dropdown-button rect { fill: var(--tint) !important; fill-opacity: 1 !important;
  stroke: var(--line) !important; }
.updatemenu-container text { fill: var(--ink) !important; }
@media print { body { max-width: none; } .wide { overflow: visible; } }
"""
