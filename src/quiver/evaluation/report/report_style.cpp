// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_style.h"

#include <fmt/format.h>

#include <algorithm>

namespace quiver::evaluation {

std::string series_class(std::size_t place) { return fmt::format("c{}", std::min(place, kSeriesColours)); }

std::string_view report_style_sheet() {
  return R"css(
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1b2430;--quiet:#5c6776;--line:#dde2e8;--accent:#0b5cad;
--on-accent:#fff;--warm:#a64b00;--good:#e3f0fb;--c0:#0072b2;--c1:#d98c00;--c2:#009e73;--c3:#c4619a;--c4:#3fa3d9;
--c5:#c24e00;--c6:#7c2250;--c7:#87872b;--c8:#44378c;--c9:#8a93a0}
@media (prefers-color-scheme:dark){:root{--page:#11161d;--card:#1a212b;--text:#e6ebf1;--quiet:#9aa7b6;--line:#313c4a;
--accent:#78bbfa;--on-accent:#08131f;--warm:#f2a15c;--good:#1d3650;--c0:#4aa3df;--c1:#f0b63c;--c2:#2fc79b;--c3:#e79cc6;
--c4:#9ad7f7;--c5:#f0803c;--c6:#d46a95;--c7:#c8c860;--c8:#a594ec;--c9:#7d8896}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:26px;line-height:1.25;margin:0 0 14px;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 4px}
h3{font-size:15px;margin:22px 0 6px;overflow-wrap:anywhere}
p.note{color:var(--quiet);font-size:13px;margin:2px 0 12px;max-width:76ch}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px 22px;margin:18px 0}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:10px 22px;margin:0}
dl.facts dt{color:var(--quiet);font-size:12px}
dl.facts dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.heads{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:14px;margin:18px 0 0}
.heads div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 18px}
.heads b{display:block;font-size:30px;line-height:1.2;font-variant-numeric:tabular-nums}
.heads span{color:var(--quiet);font-size:13px;display:block;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:0 -6px;padding:2px 6px}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
table.results{width:100%}
table.results th,table.results td{padding:6px 12px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;
white-space:nowrap}
table.results th:first-child{text-align:left;position:sticky;left:0;background:var(--card);font-weight:500}
table.results thead th{font-weight:600;border-bottom:2px solid var(--line);vertical-align:bottom;white-space:normal;
min-width:86px;overflow-wrap:break-word}
table.results small{display:block;color:var(--quiet);font-size:11.5px;font-weight:400}
table.results td.best{background:var(--good);font-weight:700}
table.results tr.group th{color:var(--quiet);font-size:12px;padding-top:14px;border-bottom:0;text-align:left}
table.results tr.mean th,table.results tr.mean td{border-top:1px solid var(--quiet)}
ul.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:10px 0;padding:0;font-size:13px}
ul.legend li{overflow-wrap:anywhere}
ul.legend svg{display:inline-block;width:12px;height:12px;vertical-align:-1px;margin-right:6px}
svg{display:block;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
svg text{fill:var(--text)}svg .quiet{fill:var(--quiet)}svg .small{font-size:10.5px}
svg .rule{stroke:var(--line);stroke-width:1}svg .band{fill:var(--page)}
svg .bar{stroke-width:1.6;fill:none}
svg .heat{fill:var(--accent)}svg .heat.minus{fill:var(--warm)}svg .edge{fill:none;stroke:var(--line)}
svg .on{fill:var(--on-accent)}svg .top{fill:none;stroke:var(--text);stroke-width:2}
.c0{fill:var(--c0);stroke:var(--c0)}.c1{fill:var(--c1);stroke:var(--c1)}.c2{fill:var(--c2);stroke:var(--c2)}
.c3{fill:var(--c3);stroke:var(--c3)}.c4{fill:var(--c4);stroke:var(--c4)}.c5{fill:var(--c5);stroke:var(--c5)}
.c6{fill:var(--c6);stroke:var(--c6)}.c7{fill:var(--c7);stroke:var(--c7)}.c8{fill:var(--c8);stroke:var(--c8)}
.c9{fill:var(--c9);stroke:var(--c9)}
svg .cell{stroke:none}svg .cell:hover,svg .cell.here{stroke:var(--text);stroke-width:1.5}
svg .point{stroke:var(--card);stroke-width:1.5}
p.read{line-height:2;font-size:14px;margin:8px 0 14px;overflow-wrap:anywhere}
p.read span{border-bottom:3px solid;padding:1px 0;margin-right:1px;white-space:pre-wrap;stroke:none}
p.read .c0{border-color:var(--c0)}p.read .c1{border-color:var(--c1)}p.read .c2{border-color:var(--c2)}
p.read .c3{border-color:var(--c3)}p.read .c4{border-color:var(--c4)}p.read .c5{border-color:var(--c5)}
p.read .c6{border-color:var(--c6)}p.read .c7{border-color:var(--c7)}p.read .c8{border-color:var(--c8)}
p.read .c9{border-color:var(--c9)}p.read .none{border-color:transparent}
#tip{position:absolute;z-index:9;display:none;background:var(--text);color:var(--page);border-radius:8px;padding:8px 11px;
font-size:12.5px;line-height:1.45;white-space:pre-line;pointer-events:none;max-width:min(300px,90vw);overflow-wrap:anywhere;
font-variant-numeric:tabular-nums}
footer{color:var(--quiet);font-size:12px}
@media (max-width:600px){main{padding:18px 10px 32px}section{padding:16px 14px;border-radius:10px}h1{font-size:21px}
table.results th,table.results td{padding:6px 8px}table.results th:first-child{min-width:124px;max-width:140px;white-space:normal;
overflow-wrap:anywhere}.heads b{font-size:25px}}
@media print{:root{color-scheme:light;--page:#fff}body{font-size:12px}main{max-width:none;padding:0}
section{border:0;padding:6px 0;break-inside:auto}tr,.keep{break-inside:avoid}h2,h3{break-after:avoid}#tip{display:none!important}
.scroll{overflow:visible}.scroll svg{max-width:100%;height:auto}table.results th:first-child{position:static}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
)css";
}

std::string_view report_script() {
  return R"js(
(function () {
  var tip = document.getElementById('tip'), last = null;
  function names(picture, list) {
    return JSON.parse(picture.getAttribute('data-' + list));
  }
  function show(cell, x, y) {
    var picture = cell.ownerSVGElement, row = cell.parentNode;
    var experts = names(picture, 'experts'), layers = names(picture, 'layers'), tokens = names(picture, 'tokens');
    var lines = [tokens[row.getAttribute('data-t')] + '  ·  ' + layers[cell.getAttribute('data-l')]];
    cell.getAttribute('data-w').split(';').forEach(function (part) {
      var pair = part.split(' ');
      if (pair.length === 2) lines.push((100 * pair[1]).toFixed(1) + ' %  ' + experts[pair[0]]);
    });
    if (lines.length === 1) lines.push('base model only');
    tip.textContent = lines.join('\n');
    tip.style.display = 'block';
    var width = document.documentElement.clientWidth;
    tip.style.left = Math.max(4, Math.min(x + 14, width - tip.offsetWidth - 8)) + window.scrollX + 'px';
    tip.style.top = y + 16 + window.scrollY + 'px';
    if (last) last.classList.remove('here');
    last = cell;
    cell.classList.add('here');
  }
  function hide() {
    tip.style.display = 'none';
    if (last) last.classList.remove('here');
    last = null;
  }
  function at(event) {
    var cell = event.target;
    if (cell.classList && cell.classList.contains('cell')) show(cell, event.clientX, event.clientY);
    else hide();
  }
  document.addEventListener('pointermove', at);
  document.addEventListener('click', at);
  document.addEventListener('keydown', function (event) { if (event.key === 'Escape') hide(); });
})();
)js";
}

}  // namespace quiver::evaluation
