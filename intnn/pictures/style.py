"""What the style of the pictures adds to that of the conformance report, whose colours they share.

Blue (``shown``, ``reached``) is the integer network, orange (``missed``) the floats and what deserves a look, grey
(``unreachable``) what is meant to be so: three that the colour-blind tell apart, and every mark has a label.
"""

from intnn.conform.report.style import STYLE as SHARED

STYLE = (
    SHARED
    + """
h2 + p, .note { color: var(--soft); max-width: 46rem; font-size: .92rem; } h2 + p { margin-bottom: .9rem; }
h3 { font-size: .95rem; margin: 1.1rem 0 .3rem; font-weight: 600; } h3 span { font-weight: 400; color: var(--soft); }
svg { overflow: visible; display: block; }
svg text { font: 11px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
svg text.strong { fill: var(--ink); } svg text.title { fill: var(--ink); } svg .exponent { font-size: 8px; }
svg text.integer { fill: var(--shown); } svg text.float { fill: var(--missed); }
.grid { stroke: var(--line); stroke-width: 1; } .rule { stroke: var(--soft); stroke-width: 1; }
.mark { stroke: var(--ink); stroke-width: 1.5; }
.line { display: grid; grid-template-columns: 12rem 1fr 9.5rem; gap: 0 .9rem; align-items: center; font-size: .85rem; }
.line .value { font-variant-numeric: tabular-nums; } .line .name { text-align: right; }
.line .value, .line .name { line-height: 1.25; padding: .1rem 0; }
.line.begins { margin-top: .5rem; } .line.begins:first-child { margin-top: 0; }
.bar { stroke: currentColor; } .bar.shown { stroke: var(--shown); } .bar.reached { stroke: var(--reached); }
.bar.missed { stroke: var(--missed); } .bar.unreachable { stroke: var(--unreachable); }
.wide .bar { stroke-width: 7; } .middling .bar { stroke-width: 5; } .narrow .bar { stroke-width: 1.8; }
.strip { display: grid; grid-template-columns: 1fr 72px; gap: 0 .8rem; padding-left: 3.3rem; }
.strip > svg:only-child { grid-column: 1 / 3; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(17.5rem, 1fr)); gap: 1rem 1.6rem; }
.plots > div { max-width: 26rem; min-width: 0; } .plots h3 { margin-top: .2rem; }
.plot { width: 100%; height: auto; }
.dots { fill: none; stroke-linecap: round; stroke-width: 3.6; opacity: .6; }
.dots.large { stroke-width: 8; opacity: 1; }
.dots.medium { stroke-width: 6; opacity: 1; }
.curve { fill: none; stroke-width: 1.6; stroke-linejoin: round; } .dashed { stroke-dasharray: 4 3; }
.area { opacity: .28; stroke: none; }
.dots.integer, .curve.integer { stroke: var(--shown); } .dots.float, .curve.float { stroke: var(--missed); }
.curve.faint { stroke: var(--unreachable); } .dots.quiet { stroke: var(--unreachable); }
.area.integer { fill: var(--shown); } .area.float { fill: var(--missed); }
.hollow { fill: var(--page); stroke: var(--shown); stroke-width: 1.6; }
.ring { fill: none; stroke: var(--ink); stroke-width: 1.4; } .front { font-size: .88rem; padding-left: 1.6rem; }
details { margin: .9rem 0 0; font-size: .9rem; } summary { color: var(--soft); cursor: pointer; }
details table { font-variant-numeric: tabular-nums; } details td:first-child { min-width: 0; overflow-wrap: normal; }
.plots, .panel, .lines, .strip { break-inside: avoid; }
@media print { details { display: none; } body { font-size: 13px; } .plots > div { break-inside: avoid; }
  section { break-inside: auto; } }
@media (max-width: 40rem) {
  .line { grid-template: "name value" auto "bars bars" auto / 1fr auto; margin-bottom: .35rem; }
  .line svg { grid-area: bars; } .line .name { grid-area: name; text-align: left; } .line .value { grid-area: value; }
  .strip { padding-left: 3.1rem; } }
"""
)
