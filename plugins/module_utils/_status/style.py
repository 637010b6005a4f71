# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the report looks: light or dark as the reader's system is, a table, or cards on a narrow screen.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;
--page:#f4f6f8;--card:#fff;--line:#d9dee5;--text:#1b2430;--soft:#5a6675;--accent:#0b5cad;
--good:#12693a;--good-back:#dff3e6;--warn:#7a4b00;--warn-back:#fdeecb;
--bad:#a31515;--bad-back:#fde1df;--note:#274b7a;--note-back:#e2ecf9}
@media (prefers-color-scheme:dark){:root{
--page:#12161c;--card:#1b212a;--line:#333c48;--text:#e6ebf1;--soft:#9daab9;--accent:#7db8f5;
--good:#8fdcab;--good-back:#173524;--warn:#f2c977;--warn-back:#3b2d10;
--bad:#ffaaa3;--bad-back:#44191a;--note:#a9cbf7;--note-back:#1c2f49}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
overflow-wrap:anywhere}
main{max-width:88rem;margin:0 auto;padding:1.25rem 1rem 3rem}
h1{font-size:1.5rem;line-height:1.2;margin:0}
h2{font-size:1.125rem;margin:2rem 0 .6rem}
.when{color:var(--soft);margin:.25rem 0 1rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5rem,1fr));gap:.6rem;
margin:0;padding:0;list-style:none}
.tiles li{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.5rem .8rem}
.tiles b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.tiles span{color:var(--soft);font-size:.875rem}
.tiles .good b{color:var(--good)}.tiles .warn b{color:var(--warn)}.tiles .bad b{color:var(--bad)}
.problems{margin:0;padding:0;list-style:none;display:grid;gap:.6rem}
.problems>li{background:var(--card);border:1px solid var(--line);border-left:.35rem solid var(--note);
border-radius:.4rem;padding:.6rem .9rem}
.problems>li.error{border-left-color:var(--bad)}.problems>li.warning{border-left-color:var(--warn)}
.problems p{margin:.2rem 0}
.problems ul{margin:.3rem 0;padding-left:1.2rem;color:var(--soft)}
.where{font-weight:600}
.next::before{content:"Next: ";font-weight:600;color:var(--accent)}
.fine{background:var(--good-back);color:var(--good);border-radius:.4rem;padding:.6rem .9rem;margin:0}
.tag{display:inline-block;border-radius:1rem;padding:.05rem .6rem;font-size:.8125rem;font-weight:600;
white-space:nowrap;background:var(--note-back);color:var(--note)}
.tag.good{background:var(--good-back);color:var(--good)}
.tag.warn{background:var(--warn-back);color:var(--warn)}
.tag.bad{background:var(--bad-back);color:var(--bad)}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line);
border-radius:.6rem;overflow:hidden;font-size:.9375rem}
th,td{text-align:left;vertical-align:top;padding:.5rem .7rem;border-bottom:1px solid var(--line)}
thead th{color:var(--soft);font-size:.8125rem;font-weight:600;background:var(--page);
overflow-wrap:normal}
tbody tr:last-child>*{border-bottom:0}
tbody th{font-weight:600;min-width:10rem}
td small,th small{display:block;color:var(--soft);font-weight:400}
time,td:last-child small{white-space:nowrap}
.number{white-space:nowrap;font-variant-numeric:tabular-nums}
.bar{display:block;height:.3rem;border-radius:.2rem;background:var(--line);margin-top:.3rem;
overflow:hidden;min-width:4rem}
.bar i{display:block;height:100%;background:var(--accent)}
.bar.low i{background:var(--bad)}
code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:.875em}
details{background:var(--card);border:1px solid var(--line);border-radius:.4rem;margin:.4rem 0}
summary{cursor:pointer;padding:.55rem .9rem;font-weight:600}
summary .tag{margin-left:.4rem}
details>div{padding:0 .9rem .7rem}
dl{display:grid;grid-template-columns:minmax(8rem,14rem) 1fr;gap:.25rem 1rem;margin:0}
dt{color:var(--soft)}dd{margin:0}
dd ul{margin:0;padding-left:1.1rem}
a:focus-visible,summary:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
footer{color:var(--soft);font-size:.8125rem;margin-top:2rem}
@media (max-width:60rem){
table,tbody,tr,th,td{display:block;width:auto}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table{background:none;border:0;border-radius:0}
tbody tr{background:var(--card);border:1px solid var(--line);border-radius:.6rem;
padding:.5rem .9rem;margin-bottom:.7rem}
tbody th,tbody td{border:0;padding:.18rem 0}
tbody th{font-size:1.05rem}
tbody td{display:grid;grid-template-columns:7.5rem 1fr;gap:.6rem}
tbody td .tag{white-space:normal}
tbody td::before{content:attr(data-label);color:var(--soft);font-size:.875rem}
tbody td.empty{display:none}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.4rem}
}
@media print{body{background:#fff}main{max-width:none;padding:0}details>div{display:block}}
""".strip()
