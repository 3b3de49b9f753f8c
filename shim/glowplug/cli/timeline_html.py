"""One start as a page: bars on a scale of seconds. It holds all that it needs, runs no script, loads nothing."""

from html import escape

from glowplug.cli import phases, screen, timeline_text
from glowplug.cli.bars import Phase
from glowplug.outcomes.starts import Start

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2026; --soft: #68707c; --line: #d8dce2; --paper: #fff;
  --restored: #2e8b57; --cold: #3b6fb6; --fallback: #c77d0a; --rest: #9aa2ad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a1ad; --line: #363c45; --paper: #15181c; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
.outcome { display: inline-block; padding: .1rem .6rem; border-radius: .3rem; color: #fff; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1rem 0 1.5rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 400; white-space: nowrap; padding: .15rem .75rem .15rem 0; }
td.s { text-align: right; white-space: nowrap; padding-right: .75rem; font-variant-numeric: tabular-nums; }
td.b { width: 100%; border-left: 1px solid var(--line); border-right: 1px solid var(--line); padding: 0; }
td.b i { display: block; height: 1.05rem; border-radius: .15rem; min-width: 2px; }
tfoot td { color: var(--soft); font-size: .85rem; padding-top: .2rem; }
.scale { display: flex; justify-content: space-between; }
.restored { background: var(--restored); } .cold { background: var(--cold); }
.fallback { background: var(--fallback); } i.rest { background: var(--rest); }
"""


def page(start: Start) -> str:
    """HTML. Whatever comes from a container is text in it, never markup."""
    title, *about = (screen.plain(line) for line in timeline_text.about(start))
    kind = start.outcome.partition(":")[0]
    kind = kind if kind in timeline_text.COLOURS else "cold"
    facts = "".join(
        f"<dt>{escape(name.strip())}</dt><dd>{escape(value.strip())}</dd>\n"
        for name, _, value in (line.partition(":") for line in about)
        if name.strip() != "outcome"  # it is above
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<h1>{escape(title)}</h1>
<span class="outcome {kind}">{escape(screen.plain(start.outcome))}</span>
<dl>
{facts}</dl>
{_table(phases.of(start), kind)}
</html>
"""


def _table(found: list[Phase], kind: str) -> str:
    if not found:
        return "<p>No time of this start is on record.</p>"
    total_s = (found[-1].begin_s + found[-1].length_s) or 1.0
    rows = "\n".join(_row(phase, total_s, kind) for phase in found)
    marks = "".join(f"<span>{screen.seconds(total_s * quarter / 4)}</span>" for quarter in range(5))
    return f"""<table>
<tbody>
{rows}
</tbody>
<tfoot><tr><td><td><td class="scale">{marks}</tr></tfoot>
</table>"""


def _row(phase: Phase, total_s: float, kind: str) -> str:
    colour = "rest" if phase.name == phases.REST else kind
    left, width = (100 * part / total_s for part in (phase.begin_s, phase.length_s))
    name, took = escape(screen.plain(phase.name)), screen.seconds(phase.length_s)
    return (
        f'<tr title="{name}: {took}, {width:.1f} %"><th scope="row">{name}<td class="s">{took}'
        f'<td class="b"><i class="{colour}" style="margin-left:{min(left, 99.5):.2f}%;width:{width:.2f}%"></i></tr>'
    )
