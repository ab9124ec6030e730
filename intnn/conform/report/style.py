"""The style of the HTML page: light and dark, on paper, and at the width of a phone."""

STYLE = """
:root { color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f24; --soft: #59636e; --line: #d5dbe1; --panel: #f5f7f9;
  --pass: #1a7f37; --mismatch: #c4230f; --died: #8250df;
  --shown: #2166ac; --reached: #8fc1de; --missed: #e08214; --unreachable: #c3c9cf;
  --heat0: #e9edf0; --heat1: #fdd0a2; --heat2: #fdae6b; --heat3: #f16913; --heat4: #c43c03; --heat5: #6b1d02; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12161b; --ink: #e6eaee; --soft: #9aa5b0; --line: #333c46; --panel: #1b2128;
  --pass: #4ac26b; --mismatch: #ff7a66; --died: #b592f5;
  --shown: #5aa2e0; --reached: #2c567c; --missed: #e8963a; --unreachable: #4a535d;
  --heat0: #242c35; --heat1: #5a2a0c; --heat2: #9c430d; --heat3: #d9661a; --heat4: #f79a4d; --heat5: #ffe0b8; } }
@media print { :root { color-scheme: light;
  --page: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; --panel: #f5f7f9;
  --pass: #1a7f37; --mismatch: #c4230f; --died: #8250df;
  --shown: #2166ac; --reached: #8fc1de; --missed: #e08214; --unreachable: #c3c9cf;
  --heat0: #e9edf0; --heat1: #fdd0a2; --heat2: #fdae6b; --heat3: #f16913; --heat4: #c43c03; --heat5: #6b1d02; }
  section, tr, .layer, .bars li { break-inside: avoid; } h2 { break-after: avoid; } .scroll { overflow: visible; } }
* { box-sizing: border-box; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 64rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; line-height: 1.35; margin: 0 0 .4rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
p { margin: .4rem 0; } .soft { color: var(--soft); } small { color: var(--soft); font-size: .85rem; }
code, pre, .row, .number { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
  font-size: .9em; }
header { border-left: .4rem solid var(--tone); background: var(--panel); padding: 1rem 1.2rem; border-radius: .3rem; }
header .word { color: var(--tone); font-weight: 700; letter-spacing: .06em; font-size: .9rem; margin: 0; }
.pass { --tone: var(--pass); } .mismatch { --tone: var(--mismatch); } .died { --tone: var(--died); }
dl { display: grid; grid-template-columns: fit-content(14rem) 1fr; gap: .15rem 1rem; margin: .6rem 0 0; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .3rem; padding: .7rem .9rem;
  margin: .5rem 0; white-space: pre-wrap; user-select: all; }
.chain { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; padding: 0; margin: .8rem 0; }
.chain li { border: 1px solid var(--line); border-radius: .3rem; padding: .25rem .6rem; font-size: .85rem;
  background: var(--panel); color: var(--soft); }
.chain li.here { border: 2px solid var(--mismatch); color: var(--ink); font-weight: 600; }
.chain li.after { border-style: dashed; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } .number { text-align: right; white-space: nowrap; }
th.number { font-family: inherit; font-size: inherit; }
td { overflow-wrap: break-word; } td:first-child { overflow-wrap: anywhere; min-width: 7rem; }
td.number:first-child { min-width: 0; } td.outcome { min-width: 10rem; }
td.wrong { color: var(--mismatch); font-weight: 700; }
td.outcome { font-weight: 600; color: var(--tone, var(--ink)); }
.bars { list-style: none; padding: 0; margin: .5rem 0; } .bars li { margin: .7rem 0; }
.meter { height: .6rem; background: var(--heat0); border-radius: .3rem; overflow: hidden; margin: .15rem 0; }
.meter div { height: 100%; background: var(--shown); } .bars .full .meter div { background: var(--pass); }
.matrix td { padding: .25rem .7rem .25rem 0; min-width: 4.6rem; }
.matrix svg { display: block; width: 100%; height: .5rem; }
.matrix td:first-child { white-space: nowrap; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; color: var(--soft); margin: .4rem 0; }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; margin-right: .35rem;
  vertical-align: -.08rem; }
.shown { background: var(--shown); fill: var(--shown); } .reached { background: var(--reached); fill: var(--reached); }
.missed { background: var(--missed); fill: var(--missed); }
.unreachable { background: var(--unreachable); fill: var(--unreachable); }
.h0 { background: var(--heat0); fill: var(--heat0); } .h1 { background: var(--heat1); fill: var(--heat1); }
.h2 { background: var(--heat2); fill: var(--heat2); } .h3 { background: var(--heat3); fill: var(--heat3); }
.h4 { background: var(--heat4); fill: var(--heat4); } .h5 { background: var(--heat5); fill: var(--heat5); }
.layer { margin: .9rem 0; } .layer h3 { font-size: .95rem; margin: 0 0 .2rem; font-weight: 600; }
.layer h3 span { font-weight: 400; color: var(--soft); } .layer svg { display: block; max-width: 100%; height: auto; }
.layer.inferred svg { outline: 1px dashed var(--soft); outline-offset: 2px; }
.layer text { font: 8px ui-monospace, monospace; fill: var(--soft); }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem;
  border-top: 1px solid var(--line); padding-top: .6rem; }
@media (max-width: 40rem) { body { padding: .8rem .7rem 2rem; } dl { grid-template-columns: 1fr; gap: 0; }
  .spare { display: none; } dd { margin-bottom: .4rem; } h1 { font-size: 1.15rem; } }
"""
