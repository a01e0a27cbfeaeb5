"""The frame of a batch's page, a template of Jinja2: a contact sheet that needs no script. Only text, no code."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="pddnet {{ version }}">
<title>Summary of a batch</title>
<style>
{{ style | safe }}
main { max-width: 1320px; padding: 40px 40px 32px; }
.not-done { --mark: #6b3fa0; }
.filter { position: absolute; opacity: 0; pointer-events: none; }
.choices { display: flex; flex-wrap: wrap; gap: 8px; margin: 22px 0 18px; }
.choices label { padding: 5px 14px; border: 1px solid var(--line); border-radius: 16px; cursor: pointer;
  font-size: 13px; }
.choices b { font-weight: 600; margin-left: 5px; font-variant-numeric: tabular-nums; }
.filter:focus-visible ~ .choices label { outline-offset: 2px; }
{% for name, kind, count in counts %}
#show-{{ kind }}:checked ~ .cards .card:not(.{{ kind }}) { display: none; }
#show-{{ kind }}:checked ~ .choices [for=show-{{ kind }}],
{% endfor %}
#show-all:checked ~ .choices [for=show-all] { border-color: var(--ink); background: var(--ink); color: var(--paper); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(360px, 100%), 1fr)); gap: 16px; }
.card { border: 1px solid var(--line); border-top: 4px solid var(--mark); background: var(--paper);
  display: flex; flex-direction: column; break-inside: avoid; content-visibility: auto;
  contain-intrinsic-size: auto 300px; }
.card img, .card .none { display: block; width: 100%; height: 172px; object-fit: contain; background: #000; }
.card .none { display: flex; align-items: center; justify-content: center; color: var(--soft); background: #f0f2f4;
  font-size: 13px; }
.card .told { padding: 10px 14px 12px; display: flex; flex-direction: column; flex: 1; gap: 4px; }
.card h2 { margin: 0; font-size: 15px; display: flex; justify-content: space-between; gap: 12px;
  align-items: baseline; overflow-wrap: anywhere; }
.card h2 .mark { flex: none; font-size: 13px; color: var(--mark); }
.facts { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; font-variant-numeric: tabular-nums; }
.facts span span { color: var(--soft); }
.card ul { margin: 2px 0 0; padding-left: 17px; font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
.links { margin-top: auto; padding-top: 4px; font-size: 12px; display: flex; gap: 14px; }
.links a { color: #2563a8; text-decoration: none; } .links a:hover { text-decoration: underline; }
@media print { .choices { display: none; } .cards { grid-template-columns: 1fr 1fr; } }
</style>
</head>
<body>
<main>
<header><h1>Summary of a batch</h1><div class="soft">{{ date }}</div></header>
<ul class="figures">
{% for value, name in figures %}
<li><b>{{ value }}</b><span>{{ name }}</span></li>
{% endfor %}
</ul>
<input class="filter" type="radio" name="filter" id="show-all" checked>
{% for name, kind, count in counts %}
<input class="filter" type="radio" name="filter" id="show-{{ kind }}">
{% endfor %}
<div class="choices">
<label for="show-all">all<b>{{ cards | length }}</b></label>
{% for name, kind, count in counts %}
<label for="show-{{ kind }}" class="{{ kind }}"><span class="mark"></span>{{ name }}<b>{{ count }}</b></label>
{% endfor %}
</div>
<div class="cards">
{% for card in cards %}
<article class="card {{ card.kind }}" id="{{ card.id }}" title="{{ card.title }}">
{% if card.preview %}
<img loading="lazy" src="{{ card.preview }}" alt="{{ card.id }}: axial, coronal and sagittal plane">
{% else %}
<div class="none">no picture</div>
{% endif %}
<div class="told">
<h2>{{ card.id }}<span class="mark">{{ card.verdict }}</span></h2>
{% if card.facts %}
<div class="facts">
{% for value, name in card.facts %}
<span>{{ value }} <span>{{ name }}</span></span>
{% endfor %}
</div>
{% endif %}
{% if card.reasons %}
<ul>
{% for reason in card.reasons %}
<li>{{ reason }}</li>
{% endfor %}
</ul>
{% endif %}
{% if card.links %}
<div class="links">
{% for text, target in card.links %}
<a href="{{ target }}">{{ text }}</a>
{% endfor %}
</div>
{% endif %}
</div>
</article>
{% endfor %}
</div>
<footer>Made by pddnet {{ version }}. The fixed scan is orange, the registered one blue; where both agree they are grey.
What needs looking at stands first. For research; not a medical device.</footer>
</main>
</body>
</html>
"""
