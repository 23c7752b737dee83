"""The report's style sheet: light, dark and on paper."""

# Okabe and Ito's colours, which people with any colour vision tell apart, and tints of them.
STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--ground:#fff;--rule:#d9dee3;
--blue:#0072b2;--orange:#d55e00;--green:#00875a;--sky:#56b4e9;--pink:#b3568c;--gold:#b07d00;
--red:#c4161c;--band:#d55e0026;--tint:#0072b240}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#a3adb8;--ground:#15181c;
--rule:#333a42;--blue:#5ab4f0;--orange:#f58b3c;--green:#2fbf8a;--sky:#8fd0f5;--pink:#e08fbd;
--gold:#e5b53a;--red:#ff6b66;--band:#f58b3c33;--tint:#5ab4f04d}}
@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--ground:#fff;--rule:#ccc;
--blue:#0072b2;--orange:#d55e00;--green:#00875a;--sky:#56b4e9;--pink:#b3568c;--gold:#b07d00;
--red:#c4161c;--band:#d55e0026;--tint:#0072b240}
body{max-width:none;margin:0}figure,table,tr{break-inside:avoid}*{print-color-adjust:exact}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--ground);
max-width:1040px;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2rem 0 .3rem}
h1,h2,th[scope=row],td{overflow-wrap:anywhere}
figure{margin:1rem 0}figcaption,caption{font-weight:600;text-align:left;margin-bottom:.3rem}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .7rem .25rem 0;border-bottom:1px solid var(--rule);
vertical-align:top}thead th{color:var(--soft);font-weight:600}
.key{font-weight:400;color:var(--soft);margin-left:1rem;white-space:nowrap}
.key i{display:inline-block;width:.8em;height:.8em;margin-right:.35em;border-radius:2px}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
.rule{stroke:var(--rule);fill:none}.line{fill:none;stroke-width:1.6;stroke-linejoin:round}
.put{stroke:var(--blue)}.smax{stroke:var(--orange)}.capacity{stroke:var(--orange)}
.available{stroke:var(--green)}.foreign{stroke:var(--pink)}
.area.interval{fill:var(--band)}.area.put{fill:var(--tint);stroke:none}
.dot.episode{fill:var(--ground);stroke:var(--red);stroke-width:2}
.bar.stopped,.piece.critical{fill:var(--red)}.bar.delayed,.piece.warning{fill:var(--gold)}
i.put{background:var(--blue)}i.smax,i.capacity{background:var(--orange)}
i.interval{background:var(--band)}i.available{background:var(--green)}
i.foreign{background:var(--pink)}i.stopped{background:var(--red)}i.delayed{background:var(--gold)}
i.episode{background:var(--ground);border:2px solid var(--red);border-radius:50%}
.line.c1{stroke:var(--blue)}.line.c2{stroke:var(--orange)}.line.c3{stroke:var(--green)}
.line.c4{stroke:var(--pink)}.line.c5{stroke:var(--gold)}.line.c6{stroke:var(--sky)}
.piece.c1,.piece.p1,.piece.r0{fill:var(--blue)}.piece.c2,.piece.r2{fill:var(--orange)}
.piece.c3,.piece.p2,.piece.r4{fill:var(--green)}.piece.c4,.piece.r3{fill:var(--pink)}
.piece.c5,.piece.r5,.piece.r6{fill:var(--gold)}.piece.c6,.piece.p0,.piece.r1{fill:var(--sky)}
.piece.r7,.piece.other{fill:var(--soft)}
i.c1,i.p1,i.r0{background:var(--blue)}i.c2,i.r2{background:var(--orange)}
i.c3,i.p2,i.r4{background:var(--green)}i.c4,i.r3{background:var(--pink)}
i.c5,i.r5,i.r6{background:var(--gold)}i.c6,i.p0,i.r1{background:var(--sky)}
i.r7,i.other{background:var(--soft)}
""".strip()
