"""The frame of a registration's page as HTML; the style of all pages, for screen and A4 paper, and their colours."""

from string import Template

COLOURS = {
    "ink": "#1d232b",
    "soft": "#5a6572",
    "line": "#dfe3e8",
    "box": "#f8f9fa",
    "ok": "#2f7d4f",
    "doubtful": "#a86a00",
    "failed": "#b3372f",
    "astray": "#b3372f",
    "not-compared": "#8b949e",
}
"""By what they are for; also the kinds of marks."""

_RULES = """* { box-sizing: border-box; }
body { margin: 0; background: #f3f4f6; color: var(--ink);
  font: 15px/1.5 "Inter", "Segoe UI", "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; }
main { max-width: 960px; margin: 32px auto; padding: 48px 56px 40px; background: var(--paper);
  box-shadow: 0 1px 3px rgb(0 0 0 / 12%); }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 24px; flex-wrap: wrap;
  border-bottom: 2px solid var(--ink); padding-bottom: 10px; }
h1 { margin: 0; font-size: 26px; font-weight: 600; letter-spacing: -.01em; }
h2 { margin: 36px 0 10px; font-size: 17px; font-weight: 600; }
p { margin: 6px 0; }
.soft, figcaption, .note { color: var(--soft); font-size: 13px; }
.verdict { margin: 24px 0 0; padding: 14px 18px; border-left: 5px solid var(--mark); background: var(--box); }
.verdict strong { font-size: 18px; color: var(--mark); }
.verdict ul { margin: 6px 0 0; padding-left: 20px; }
.ok { --mark: var(--ok); } .doubtful { --mark: var(--doubtful); } .failed { --mark: var(--failed); }
.astray { --mark: var(--astray); } .not-compared { --mark: var(--not-compared); }
.figures { display: flex; flex-wrap: wrap; margin: 20px 0 0; border: 1px solid var(--line); padding: 0;
  list-style: none; }
.figures li { flex: 1 1 100px; padding: 10px 14px; box-shadow: -1px 0 var(--line); }
.figures b { display: block; font-size: 20px; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: 12px; line-height: 1.3; display: block; }
.list { margin: 0; padding-left: 18px; font-size: 13px; }
figure { margin: 20px 0 0; }
figure img { display: block; width: 100%; height: auto; }
.titles { display: flex; margin-bottom: 4px; font-size: 13px; text-align: center; }
.titles span { flex: 1; }
figcaption { margin-top: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--ink); padding: 4px 8px;
  vertical-align: bottom; }
td { text-align: right; border-bottom: 1px solid var(--line); padding: 3px 8px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th.text, td.text { text-align: left; }
.mark::before { content: ""; display: inline-block; width: 8px; height: 8px; margin-right: 7px; border-radius: 50%;
  background: var(--mark); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 20px; margin: 0; font-size: 13px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: 12px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
footer { margin-top: 36px; padding-top: 10px; border-top: 1px solid var(--line); color: var(--soft); font-size: 12px; }
@page { size: A4; margin: 14mm 15mm; }
@media print {
  body { background: none; font-size: 10pt; }
  main { max-width: none; margin: 0; padding: 0; box-shadow: none; }
  h1 { font-size: 17pt; } h2 { font-size: 12pt; margin-top: 16pt; break-after: avoid; }
  table, dl { font-size: 8.5pt; } figcaption, .note, footer { font-size: 8pt; }
  td { padding-top: 1.5px; padding-bottom: 1.5px; line-height: 1.35; } .figures b { font-size: 13pt; }
  .figures li { padding: 6px 9px; } .figures span, .titles { font-size: 8pt; }
  figure, tr, .verdict, .figures, dl { break-inside: avoid; }
  thead { display: table-header-group; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

STYLE = ":root { --paper: #fff; " + " ".join(f"--{name}: {value};" for name, value in COLOURS.items()) + " }\n" + _RULES
"""Of all pages."""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="$generator">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
<header><h1>$title</h1><div class="soft">$date</div></header>
$content
<footer>$footer</footer>
</main>
</body>
</html>
""")
