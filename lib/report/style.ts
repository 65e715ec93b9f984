/** The style of report.html: one column, readable on a phone, dark where the reader prefers it, plain on paper. */
export const style = `
:root { --ink: #1c2024; --faint: #62686f; --line: #d8dde2; --page: #fff; --card: #f5f7f9;
  --s0: #0b62b8; --s1: #c2410c; --s2: #15803d; --s3: #7e22ce; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --faint: #9aa3ad; --line: #343b43;
  --page: #14171a; --card: #1d2227; --s0: #6cb2ff; --s1: #ff9d66; --s2: #6fd894; --s3: #cfa3ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: .5rem 0 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p.note, figcaption, .legend { color: var(--faint); font-size: .9rem; margin: .2rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.card { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.card span { color: var(--faint); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--faint); font-weight: 600; }
td small { color: var(--faint); }
td small.up { color: var(--s2); }
td small.down { color: var(--s1); }
figure { margin: .8rem 0; }
svg { width: 100%; height: auto; }
svg text { fill: var(--faint); font-size: 11px; }
@media screen and (max-width: 36rem) { svg text { font-size: 18px; } }
polyline { fill: none; stroke-width: 1.8; }
line.grid { stroke: var(--line); }
line.mark { stroke: var(--faint); stroke-dasharray: 3 3; }
polyline.s0 { stroke: var(--s0); } polyline.s1 { stroke: var(--s1); }
polyline.s2 { stroke: var(--s2); } polyline.s3 { stroke: var(--s3); }
circle.s0 { fill: var(--s0); } circle.s1 { fill: var(--s1); } circle.s2 { fill: var(--s2); } circle.s3 { fill: var(--s3); }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin: 0 .3em 0 .8em; }
.key.s0::before { background: var(--s0); } .key.s1::before { background: var(--s1); }
.key.s2::before { background: var(--s2); } .key.s3::before { background: var(--s3); }
.bar { display: inline-block; height: .7em; background: var(--s0); border-radius: .2em; vertical-align: middle; }
pre { background: var(--card); padding: .8rem; overflow-x: auto; font-size: .85rem; border-radius: .5rem; }
@media print {
  :root { --ink: #000; --faint: #444; --card: #fff; --line: #bbb; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  .card { border: 1px solid var(--line); }
  figure, tr, .card { break-inside: avoid; }
}
`;
