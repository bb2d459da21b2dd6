/** The style of the HTML report: light or dark like the reader's system, in one column on a phone. */
export const PAGE_STYLE: string = `
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --card: #ffffff; --ink: #16191f; --soft: #5b6472; --line: #e1e5eb; --accent: #1d5fd1; --good: #e8f0fe;
  --s0: #7a828f; --s1: #1d5fd1; --s2: #0b8a7c; --s3: #c76a05; --s4: #8b3fd1; --s5: #c92a4b; --s6: #5a8a0c; --s7: #b5327f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #101318; --card: #191d24; --ink: #e8ebf0; --soft: #9aa4b2; --line: #2b313b; --accent: #7fb0ff; --good: #1c2b45;
    --s0: #99a2b0; --s1: #6ea6ff; --s2: #3ecbb8; --s3: #f5a54a; --s4: #c08bff; --s5: #ff7b93; --s6: #a4d94a; --s7: #f083c0;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.05rem; margin: 0; font-weight: 600; letter-spacing: .01em; }
h2 { font-size: 1.1rem; margin: 40px 0 12px; }
h3 { font-size: .98rem; margin: 0; }
p { margin: 0; }
.soft { color: var(--soft); font-size: .88rem; }
header { margin-bottom: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 20px; }
.hero { border-top: 4px solid var(--accent); }
.hero .choice { font-size: clamp(1.5rem, 5vw, 2.3rem); line-height: 1.15; font-weight: 700; margin: 2px 0 4px; letter-spacing: -.02em; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; margin: 18px 0; }
.tile { background: var(--good); border-radius: 10px; padding: 12px 14px; }
.tile b { display: block; font-size: 1.35rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .84rem; }
ul { margin: 0; padding-left: 1.15em; }
li { margin: 4px 0; }
.scroll + .soft { margin-top: 8px; }
.toolbar { display: flex; flex-wrap: wrap; gap: 10px 18px; align-items: center; margin: 40px 0 14px; }
.toolbar h2 { margin: 0; flex: 1 1 auto; }
select { font: inherit; padding: 6px 10px; border-radius: 8px; border: 1px solid var(--line); background: var(--card); color: var(--ink); max-width: 100%; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
.chart.wide { grid-column: 1 / -1; }
.chart .plot { position: relative; height: 290px; margin-top: 10px; }
.chart.wide .plot { height: 420px; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 0 0 14px; padding: 0; list-style: none; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: 7px; margin: 0; }
.swatch { width: 14px; height: 14px; border-radius: 4px; flex: none; }
.scroll { overflow-x: auto; padding: 6px 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 11px; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .named th:nth-child(2), .named td:nth-child(2) { text-align: left; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--line); vertical-align: bottom; white-space: normal; }
tr.group th { text-align: left; padding-top: 16px; font-weight: 600; }
tr.winner td { background: var(--good); font-weight: 600; }
tbody tr + tr:not(.group) td { border-top: 1px solid var(--line); }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 9em; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 6px 18px; margin: 0; font-size: .92rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 760px) {
  main { padding: 18px 12px 40px; }
  .card { padding: 14px; }
  .charts { grid-template-columns: minmax(0, 1fr); }
  .chart.wide .plot { height: 360px; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  th, td { padding: 6px 9px; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: 8px; }
}
@media print { .card { break-inside: avoid; } select { display: none; } }
`;
