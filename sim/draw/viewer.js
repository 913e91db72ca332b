"use strict";
// The run, its filters, the view of it and the picture. What a user does stands in controls.js.

const $ = (id) => document.getElementById(id);
const run = JSON.parse($("run").textContent);

// ---- The run ----

const N = run.messages.length / 10;
const from = new Uint8Array(N), to = new Uint8Array(N), flags = new Uint8Array(N), type = new Uint8Array(N);
const sent = new Float64Array(N), end = new Float64Array(N);
const view = new Array(N), seq = new Array(N), text = new Array(N), detail = new Array(N);
const LOST = 1, LIE = 2;
for (let i = 0, o = 0, t = 0; i < N; i++, o += 10) {
  const r = run.messages;
  t += r[o + 2];
  from[i] = r[o]; to[i] = r[o + 1]; sent[i] = t;
  end[i] = t + (r[o + 3] < 0 ? run.flight : r[o + 3]);
  flags[i] = r[o + 4]; type[i] = r[o + 5]; view[i] = r[o + 6]; seq[i] = r[o + 7];
  text[i] = run.strings[r[o + 8]]; detail[i] = run.strings[r[o + 9]];
}
const marks = [], bands = [];
for (let o = 0; o < run.marks.length; o += 6) {
  const [line, at, until, kind, txt, n] = run.marks.slice(o, o + 6);
  const over = until < 0 ? run.until : until;
  marks.push({ id: marks.length, line, at, until: Math.max(at, over), lasts: until !== 0 && over > at, kind: run.kinds[kind], text: run.strings[txt], seq: n });
}
const failure = run.failure ? marks[marks.length - 1] : null;
for (let o = 0; o < run.bands.length; o += 5) {
  const [line, at, until, v, changing] = run.bands.slice(o, o + 5);
  bands.push({ line, at, until: until < 0 ? run.until : until, view: v, changing });
}
const isDown = (m) => m.kind === "crash" || m.kind === "down";
// Marks of the whole system that last stand in lanes below the axis, so that none hides another.
const lanes = [];
for (const m of marks.filter((m) => m.line < 0 && m !== failure).sort((a, b) => a.at - b.at)) {
  m.lane = lanes.findIndex((until) => until < m.at);
  if (m.lane < 0) m.lane = Math.min(lanes.length, 3);
  lanes[m.lane] = Math.max(lanes[m.lane] || 0, m.until);
}
const downs = run.lines.map((_, l) => marks.filter((m) => m.line === l && isDown(m) && m.lasts).sort((a, b) => a.at - b.at));

// Messages are in the order of sending. A block knows when its last one ends, so that the view
// finds what it shows without looking at all.
const BLOCK = 64, blockEnd = new Float64Array(Math.ceil(N / BLOCK));
for (let i = 0; i < N; i++) blockEnd[(i / BLOCK) | 0] = Math.max(blockEnd[(i / BLOCK) | 0], end[i]);

// firstSent is the first message that was sent at t or later.
function firstSent(t) {
  let lo = 0, hi = N;
  while (lo < hi) { const mid = (lo + hi) >> 1; if (sent[mid] < t) lo = mid + 1; else hi = mid; }
  return lo;
}

// between calls f with each message that is shown and on its way at some time from a to b.
function between(a, b, f) {
  const last = firstSent(b + 1);
  for (let i = 0; i < last; i++) {
    if (i % BLOCK === 0 && blockEnd[i / BLOCK] < a) { i += BLOCK - 1; continue; }
    if (mask[i] && end[i] >= a) f(i);
  }
}

// ---- What is shown ----

const state = {
  hidden: new Set(), only: new Set(), off: new Set(), liesOnly: false, words: [], follow: null,
  fold: true, message: -1, mark: -1, hoverMessage: -1, hoverMark: -1,
};
const HIDDEN = 0, DIM = 1, SHOWN = 2;
const mask = new Uint8Array(N).fill(SHOWN);
let shownCount = N, foundCount = 0;

// matcher turns the search's words into a predicate: all of them must fit.
function matches(i) {
  return state.words.every((w) => {
    const m = /^(number|seq|view|from|to|type):(.+)$/.exec(w);
    if (m) {
      const field = { number: seq[i], seq: seq[i], view: view[i], from: run.lines[from[i]].name, to: run.lines[to[i]].name, type: run.types[type[i]].name }[m[1]];
      return String(field).toLowerCase() === m[2];
    }
    if (w === "lost") return !!(flags[i] & LOST);
    if (w === "lie") return !!(flags[i] & LIE);
    return haystack(i).includes(w);
  });
}
const haystacks = new Array(N);
function haystack(i) {
  return haystacks[i] ??= [run.types[type[i]].name, run.lines[from[i]].name + "→" + run.lines[to[i]].name, text[i], detail[i]].join("\n").toLowerCase();
}

function refilter() {
  shownCount = foundCount = 0;
  for (let i = 0; i < N; i++) {
    let m = SHOWN;
    if (state.hidden.has(type[i]) || state.off.has(from[i]) || state.off.has(to[i])) m = HIDDEN;
    else if (state.only.size && !state.only.has(from[i]) && !state.only.has(to[i])) m = HIDDEN;
    else if (state.liesOnly && !(flags[i] & LIE)) m = HIDDEN;
    if (m) {
      const hit = !state.words.length || matches(i);
      if (hit) foundCount++;
      if (!hit || state.follow !== null && (String(seq[i]) !== state.follow || state.follow === "0")) m = DIM;
      shownCount++;
    }
    mask[i] = m;
  }
  const t0 = time(cam.u), t1 = time(cam.u + plotWidth() / cam.scale);
  refold();
  overviewStale = true;
  look(t0, t1);
}

// ---- Time: u is virtual time less the folds ----

let foldT = [run.from, run.until], foldU = [0, run.until - run.from], folds = new Set(); // folds: indices of foldT at which one begins
function refold() {
  foldT = [run.from]; foldU = [0]; folds = new Set();
  const gap = run.flight * 1.5;
  let busy = run.from, u = 0;
  const upTo = (t, done) => {
    if (state.fold && t - busy > 3 * gap) {
      foldT.push(busy + gap / 2, t - gap / 2);
      u = foldU[foldU.length - 1] + busy + gap / 2 - foldT[foldT.length - 3];
      foldU.push(u, u + gap);
      folds.add(foldT.length - 2);
    }
    busy = Math.max(busy, done);
  };
  const moments = marks.filter((m) => m.at <= run.until && m.at >= run.from).flatMap((m) => m.lasts ? [m.at, Math.min(m.until, run.until)] : [m.at]).sort((a, b) => a - b);
  let k = 0;
  for (let i = 0; i < N; i++) {
    if (mask[i] === HIDDEN || end[i] < run.from) continue;
    for (; k < moments.length && moments[k] <= sent[i]; k++) upTo(moments[k], moments[k]);
    if (sent[i] > run.until) break;
    upTo(sent[i], Math.min(end[i], sent[i] + 40 * run.flight));
  }
  for (; k < moments.length; k++) upTo(moments[k], moments[k]);
  upTo(run.until, run.until);
  if (run.until > foldT[foldT.length - 1]) {
    foldU.push(foldU[foldU.length - 1] + run.until - foldT[foldT.length - 1]);
    foldT.push(run.until);
  }
}
function interpolate(x, X, Y) {
  let lo = 0, hi = X.length - 1;
  if (hi < 1) return Y[0];
  while (hi - lo > 1) { const mid = (lo + hi) >> 1; if (X[mid] <= x) lo = mid; else hi = mid; }
  const d = X[hi] - X[lo];
  return d ? Y[lo] + (x - X[lo]) * (Y[hi] - Y[lo]) / d : Y[lo];
}
const uOf = (t) => interpolate(t, foldT, foldU);
const time = (u) => interpolate(u, foldU, foldT);
const span = () => foldU[foldU.length - 1];

const UNITS = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]];
// clock prints a time to the precision of step, both in ns.
function clock(t, step) {
  if (!t) return "0";
  const [unit, ns] = UNITS.find(([, n]) => Math.abs(t) >= n) || UNITS[3];
  const digits = Math.max(0, Math.min(9, Math.ceil(Math.log10(ns / Math.max(step, 1)) - 1e-9)));
  return (t / ns).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) + " " + unit;
}
// duration prints a span to three digits.
function duration(d) {
  const [unit, ns] = UNITS.find(([, n]) => Math.abs(d) >= n) || UNITS[3];
  return Number((d / ns).toPrecision(3)).toLocaleString("en") + " " + unit;
}

// ---- The view ----

const AXIS = 24;
// The names stand left of the plot.
const GUTTER = Math.round(Math.min(170, Math.max(74, 8.2 * Math.max(...run.lines.map((l) => l.name.length + (l.byzantine ? 3 : 0))) + 18)));
const plot = $("plot"), ctx = plot.getContext("2d");
const cam = { u: 0, scale: 1 }; // the left edge, and pixels for one ns
let width = 0, height = 0, top0 = 0, pitch = 0, dpr = 1;
const plotWidth = () => Math.max(50, width - GUTTER);
const X = (t) => GUTTER + (uOf(t) - cam.u) * cam.scale;
const APART = 12; // between replicas and clients
const firstClient = run.lines.findIndex((l) => l.client);
const Y = (line) => top0 + pitch * (line + 0.42) + (firstClient > 0 && line >= firstClient ? APART : 0);
const timeAt = (x) => time(cam.u + (x - GUTTER) / cam.scale);

function clampCam() {
  const least = plotWidth() / Math.max(span(), 1), most = 0.5; // two ns to the pixel is as near as it goes
  cam.scale = Math.min(Math.max(cam.scale, least), Math.max(most, least));
  cam.u = Math.min(Math.max(cam.u, 0), Math.max(0, span() - plotWidth() / cam.scale));
}
// look shows the time from a to b.
function look(a, b) {
  const u0 = uOf(a), u1 = uOf(b);
  cam.scale = plotWidth() / Math.max(u1 - u0, 1);
  cam.u = u0;
  clampCam();
  redraw();
}
function zoom(by, x = GUTTER + plotWidth() / 2) {
  const u = cam.u + (x - GUTTER) / cam.scale;
  cam.scale *= by;
  clampCam();
  cam.u = u - (x - GUTTER) / cam.scale;
  clampCam();
  redraw();
}
function pan(px) { cam.u += px / cam.scale; clampCam(); redraw(); }

let queued = false;
const afterDraw = []; // what follows the picture: overview, table, address
function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; draw(); afterDraw.forEach((f) => f()); });
}

// ---- The picture ----

let color = {}, dark = false;
function readColors() {
  const s = getComputedStyle(document.documentElement);
  for (const k of ["bg", "text", "soft", "rule", "box", "line", "down", "accent", "bad", "amber", "amber-soft", "good"]) color[k] = s.getPropertyValue("--" + k).trim();
  dark = s.colorScheme.includes("dark") && color.bg !== "#ffffff";
}
const typeColor = (t) => dark ? run.types[t].dark : run.types[t].light;
const viewColor = (v) => run.views[Number(BigInt(v) % BigInt(run.views.length))][dark ? 1 : 0];
const FONT = 'system-ui, "Segoe UI", Roboto, Arial, "DejaVu Sans", sans-serif';

let visible = [], hits = []; // messages drawn, and places of marks, for the pointer
let taken = []; // where text stands
function room(x, y, w, h) {
  for (const r of taken) if (x < r[2] && x + w > r[0] && y < r[3] && y + h > r[1]) return false;
  taken.push([x, y, x + w, y + h]);
  return true;
}
function label(s, x, y, c, { align = "left", size = 11, bold = false, always = false, halo = true } = {}) {
  ctx.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
  const w = ctx.measureText(s).width;
  let l = align === "center" ? x - w / 2 : align === "right" ? x - w : x;
  if (always) l = Math.max(GUTTER + 2, Math.min(l, width - w - 4));
  if (!always && (l < GUTTER || l + w > width - 1)) return false;
  if (!room(l - 2, y - size + 1, w + 4, size + 2) && !always) return false;
  if (halo) { ctx.lineWidth = 3.5; ctx.strokeStyle = color.bg; ctx.lineJoin = "round"; ctx.strokeText(s, l, y); }
  ctx.fillStyle = c;
  ctx.fillText(s, l, y);
  return true;
}

function draw() {
  const t0 = timeAt(GUTTER), t1 = timeAt(width);
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.clearRect(0, 0, width, height);
  taken = []; hits = []; visible = [];
  between(t0, t1, (i) => visible.push(i));
  ctx.save();
  ctx.beginPath(); ctx.rect(GUTTER, 0, width - GUTTER, height); ctx.clip();
  drawBands(t0, t1);
  drawAxis(t0, t1);
  drawLines(t0, t1);
  drawMessages();
  drawMarks(t0, t1);
  drawLabels();
  drawFailure();
  ctx.restore();
  plot.setAttribute("aria-label", `Space-time diagram of ${run.title}: ${run.lines.length} lines, ${visible.length} of ${N} messages from ${clock(t0, (t1 - t0) / 100)} to ${clock(t1, (t1 - t0) / 100)}. The Table button shows the same as a table.`);
}

// drawBands colours views; a replica on its way into one is hatched in its colour.
function drawBands(t0, t1) {
  const h = Math.min(15, pitch * 0.3);
  for (const b of bands) {
    if (b.until < t0 || b.at > t1 || b.line < 0) continue;
    const x = Math.max(GUTTER, X(b.at)), e = Math.min(width, X(b.until));
    ctx.fillStyle = viewColor(b.view);
    if (b.changing) hatch(x, e, Y(b.line), h, viewColor(b.view));
    else ctx.fillRect(x, Y(b.line) - h, Math.max(e - x, 1), 2 * h);
    if (e - x > 52) label((b.changing ? "to view " : "view ") + b.view, x + 5, Y(b.line) - h + 9.5, color.soft, { size: 10, halo: false });
  }
}

function hatch(a, b, y, h, c) {
  ctx.save();
  ctx.beginPath(); ctx.rect(a, y - h, b - a, 2 * h); ctx.clip();
  ctx.strokeStyle = c; ctx.lineWidth = 4;
  ctx.beginPath();
  for (let k = Math.floor((a - 2 * h) / 9) * 9; k < b; k += 9) { ctx.moveTo(k, y + h); ctx.lineTo(k + 2 * h, y - h); }
  ctx.stroke();
  ctx.restore();
}

function steps(ns) {
  const p = 10 ** Math.floor(Math.log10(ns));
  return [1, 2, 5, 10].map((k) => k * p).find((s) => s >= ns) || ns;
}
function drawAxis(t0, t1) {
  const step = Math.max(1, steps(110 / cam.scale));
  const tick = (t, fine) => {
    const x = X(t), s = clock(t, fine || step);
    ctx.font = `11px ${FONT}`;
    const w = ctx.measureText(s).width;
    if (x < GUTTER || x > width || !room(x - 3, 2, w + 16, 14)) return;
    ctx.fillStyle = color.soft;
    ctx.fillText(s, x + 3, 14);
    ctx.strokeStyle = color.rule; ctx.lineWidth = 1;
    ctx.beginPath(); ctx.moveTo(x, 4); ctx.lineTo(x, height); ctx.stroke();
  };
  if (failure) room(X(failure.at) - 40, 2, 44, 14); // for the flag
  const inView = (p) => foldT[p + 1] > t0 && foldT[p] < t1;
  for (let p = 0; p + 1 < foldT.length; p++) if (folds.has(p) && inView(p)) drawFold(foldT[p], foldT[p + 1]);
  for (let p = 0; p + 1 < foldT.length; p++) {
    if (folds.has(p) || !inView(p)) continue;
    const a = Math.max(foldT[p], t0), b = Math.min(foldT[p + 1], t1);
    const first = Math.ceil(a / step) * step;
    // A short stretch may hold no round time: then its beginning is named, more exactly.
    if (first > b && p > 0) tick(Math.round(foldT[p] + run.flight * 0.75), step / 100);
    for (let t = first; t <= b; t += step) tick(t);
  }
}
function drawFold(a, b) {
  const x = (X(a) + X(b)) / 2;
  if (X(b) - X(a) < 3 || !room(x - 7, 2, 14, 14)) return;
  ctx.strokeStyle = color.line; ctx.lineWidth = 1;
  for (const d of [-2, 2]) {
    ctx.beginPath(); ctx.moveTo(x + d - 3, 20); ctx.lineTo(x + d + 3, 8); ctx.stroke();
  }
  ctx.setLineDash([1, 4]); ctx.strokeStyle = color.down;
  ctx.beginPath(); ctx.moveTo(x, AXIS); ctx.lineTo(x, height); ctx.stroke();
  ctx.setLineDash([]);
  if (X(b) - X(a) > 24) label("+" + duration(b - a), x, height - 4, color.soft, { align: "center", size: 10 });
}

function drawLines(t0, t1) {
  run.lines.forEach((l, i) => {
    const y = Y(i), quiet = state.off.has(i) || state.only.size && !state.only.has(i);
    const stroke = (a, b, down) => {
      if (b < t0 || a > t1) return;
      ctx.setLineDash(down ? [2, 5] : []);
      ctx.strokeStyle = down ? color.down : l.byzantine ? color.bad : color.line;
      ctx.globalAlpha = quiet ? 0.35 : 1;
      ctx.lineWidth = down ? 1 : 1.6;
      ctx.beginPath(); ctx.moveTo(Math.max(GUTTER, X(a)), y); ctx.lineTo(Math.min(width, X(b)), y); ctx.stroke();
    };
    let at = run.from;
    for (const d of downs[i]) {
      if (d.until <= at) continue;
      stroke(at, Math.max(at, d.at)); stroke(Math.max(at, d.at), d.until, true); at = d.until;
    }
    stroke(at, run.until);
    ctx.setLineDash([]); ctx.globalAlpha = 1;
  });
}

// tipOf is where a message's arrow ends: short of the receiver if it is lost.
function tipOf(i) {
  const x0 = X(sent[i]), y0 = Y(from[i]), x1 = X(end[i]), y1 = Y(to[i]);
  const k = flags[i] & LOST ? 0.6 : 1;
  return [x0, y0, x0 + (x1 - x0) * k, y0 + (y1 - y0) * k];
}

function drawMessages() {
  const groups = new Map(); // by look: one path each
  for (const i of visible) {
    if (i === state.message || i === state.hoverMessage) continue;
    const key = mask[i] === DIM ? 0 : flags[i] & LIE ? 1 : 2 + type[i];
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(i);
  }
  const crowd = visible.length;
  const thin = crowd > 4000 ? 0.5 : crowd > 1200 ? 0.7 : 1;
  for (const key of [...groups.keys()].sort((a, b) => (a === 1) - (b === 1) || a - b)) {
    const g = groups.get(key), s = key > 1 ? run.types[key - 2] : null;
    const c = s ? typeColor(key - 2) : key ? color.bad : color.soft;
    ctx.globalAlpha = key === 0 ? 0.16 : crowd > 4000 ? 0.6 : 0.9;
    arrows(g, c, (s ? s.width : key ? 1.8 : 0.8) * thin, s && s.dash && crowd < 600 ? s.dash : [], crowd < 3000 && key !== 0);
  }
  ctx.globalAlpha = 1;
  for (const i of new Set([state.hoverMessage, state.message])) {
    if (i < 0 || !mask[i]) continue;
    ctx.globalAlpha = i === state.message ? 0.5 : 0.3; arrows([i], color.accent, i === state.message ? 11 : 8, [], false);
    ctx.globalAlpha = 1; arrows([i], flags[i] & LIE ? color.bad : typeColor(type[i]), 3, [], true);
  }
}

function arrows(group, c, w, dash, heads) {
  ctx.strokeStyle = c; ctx.lineWidth = w; ctx.setLineDash(dash);
  ctx.beginPath();
  for (const i of group) {
    const [x0, y0, x1, y1] = tipOf(i);
    ctx.moveTo(x0, y0); ctx.lineTo(x1, y1);
  }
  ctx.stroke();
  ctx.setLineDash([]);
  if (!heads) return;
  const size = 5 + w;
  const lie = new Path2D(), full = new Path2D(), cross = new Path2D();
  for (const i of group) {
    const [x0, y0, x1, y1] = tipOf(i);
    if (flags[i] & LOST) {
      cross.moveTo(x1 - 4, y1 - 4); cross.lineTo(x1 + 4, y1 + 4); cross.moveTo(x1 + 4, y1 - 4); cross.lineTo(x1 - 4, y1 + 4);
      continue;
    }
    const d = Math.hypot(x1 - x0, y1 - y0) || 1, ux = (x1 - x0) / d * size, uy = (y1 - y0) / d * size;
    const head = flags[i] & LIE ? lie : full;
    head.moveTo(x1, y1);
    head.lineTo(x1 - ux - uy * 0.42, y1 - uy + ux * 0.42); head.lineTo(x1 - ux + uy * 0.42, y1 - uy - ux * 0.42);
    head.closePath();
  }
  ctx.fillStyle = c; ctx.fill(full);
  ctx.fillStyle = color.bg; ctx.fill(lie);
  ctx.lineWidth = 1.5; ctx.stroke(lie); ctx.stroke(cross);
}

// drawLabels names arrows where there is room: in the last gap before the receiver, where the arrows
// of one broadcast have parted.
function drawLabels() {
  const chosen = [state.message, state.hoverMessage].filter((i) => i >= 0 && mask[i]);
  const many = visible.length > 220 || pitch < 28;
  for (const i of many ? chosen : [...chosen, ...visible]) {
    if (mask[i] === DIM && !chosen.includes(i)) continue;
    const s = run.types[type[i]], [x0, y0, x1, y1] = tipOf(i);
    if (s.quiet === 1 && visible.length > 60 && !chosen.includes(i)) continue;
    const dy = flags[i] & LOST ? (y1 - y0) / 2 : Math.sign(y1 - y0) * pitch * 0.5, k = (y1 - dy - y0) / (y1 - y0 || 1);
    const x = x0 + (x1 - x0) * k, y = y1 - dy + 4;
    if (x < GUTTER || x > width) continue;
    label(s.name + (seq[i] ? " " + seq[i] : ""), x, y, flags[i] & LIE ? color.bad : typeColor(type[i]), { align: "center", size: 10.5 });
  }
}

// important signs stand above the others, and each is drawn.
const important = (m) => isDown(m) || m.kind === "lie" || m.kind === "start";
function drawMarks(t0, t1) {
  const lastX = new Map();
  for (const m of [...marks.filter((m) => !important(m)), ...marks.filter(important)]) {
    if (m === failure || m.until < t0 || m.at > t1) continue;
    const x = X(m.at), y = Y(m.line);
    if (m.line < 0) { drawEveryone(m, x); continue; }
    if (m.lasts && !isDown(m)) drawLasting(m, x, y);
    if (x < GUTTER - 8) continue;
    const key = m.line * 64 + run.kinds.indexOf(m.kind), near = x - (lastX.get(key) ?? -99) < 3;
    if (near && !important(m) && m.id !== state.mark) continue;
    lastX.set(key, x);
    glyph(ctx, m.kind, x, y, m.id === state.mark || m.id === state.hoverMark);
    hits.push([x, y, m.id]);
    if (m.kind === "execute" && m.seq) label(String(m.seq), x, y + 15, color.text, { align: "center", size: 10 });
    if (m.kind === "crash") label("crash", x + 7, y - 6, color.bad, { size: 10.5, bold: true });
  }
}

// drawEveryone marks what concerns the whole system in its lane below the axis.
function drawEveryone(m, x) {
  const e = m.lasts ? X(m.until) : x, y = AXIS + 1 + 16 * m.lane;
  if (m.lasts) {
    ctx.fillStyle = color["amber-soft"];
    ctx.fillRect(Math.max(GUTTER, x), y, Math.min(width, e) - Math.max(GUTTER, x), 14);
  } else {
    ctx.strokeStyle = color.accent; ctx.lineWidth = 1; ctx.setLineDash([4, 4]);
    ctx.beginPath(); ctx.moveTo(x, AXIS); ctx.lineTo(x, height); ctx.stroke(); ctx.setLineDash([]);
  }
  hits.push([Math.max(GUTTER + 6, x), y + 7, m.id]);
  if (e >= GUTTER) label(m.text.split("\n")[0] || m.kind, Math.max(GUTTER + 3, x + 4), y + 11, m.lasts ? color.text : color.accent, { size: 10.5, halo: !m.lasts });
}

// drawLasting draws a bar below the line for what lasts: a pause, a fault, a partition, a call.
function drawLasting(m, x, y) {
  const a = Math.max(GUTTER - 4, x), b = Math.min(width + 4, X(m.until)), h = Math.min(15, pitch * 0.3);
  if (m.kind === "call") {
    ctx.fillStyle = color.accent; ctx.globalAlpha = 0.28;
    ctx.fillRect(a, y - 4, b - a, 8); ctx.globalAlpha = 1;
  } else if (m.kind === "pause") {
    ctx.strokeStyle = color.amber; ctx.lineWidth = 1;
    ctx.beginPath();
    for (let k = Math.ceil(a / 6) * 6; k < b; k += 6) { ctx.moveTo(k, y + 5); ctx.lineTo(k + 5, y - 5); }
    ctx.stroke();
    label("pause", Math.max(GUTTER + 2, x + 3), y - 7, color.amber, { size: 10.5, bold: true });
  } else {
    ctx.strokeStyle = color.amber; ctx.lineWidth = 3;
    ctx.setLineDash(m.kind === "partition" ? [7, 4] : []);
    ctx.beginPath(); ctx.moveTo(a, y + h); ctx.lineTo(b, y + h); ctx.stroke(); ctx.setLineDash([]);
    ctx.lineWidth = 2; ctx.beginPath();
    for (const e of [x, X(m.until)]) { ctx.moveTo(e, y + h - 5); ctx.lineTo(e, y + h + 5); }
    ctx.stroke();
    label(m.text.split("\n")[0] || m.kind, Math.max(GUTTER + 2, x + 5), y + h + 11, color.amber, { size: 10.5 });
  }
  hits.push([Math.max(GUTTER + 4, x), y, m.id]);
}

// glyph draws the sign of a kind of mark.
function glyph(c, kind, x, y, strong) {
  const k = strong ? 1.5 : 1;
  const path = (points, close = true) => { c.beginPath(); points.forEach(([a, b], i) => c[i ? "lineTo" : "moveTo"](x + a * k, y + b * k)); if (close) c.closePath(); };
  const paint = (f, s) => { if (f) { c.fillStyle = f; c.fill(); } if (s) { c.strokeStyle = s; c.stroke(); } };
  c.lineWidth = 1.4; c.setLineDash([]);
  switch (kind) {
    case "crash": case "down":
      for (const d of [1, -1]) { path([[-6, -6 * d], [6, 6 * d]], false); c.lineWidth = 5; paint(null, color.bg); }
      for (const d of [1, -1]) { path([[-6, -6 * d], [6, 6 * d]], false); c.lineWidth = 2.6; paint(null, color.bad); }
      break;
    case "start": path([[-4, -5.5], [6, 0], [-4, 5.5]]); paint(color.good, color.bg); break;
    case "lie": path([[0, -6.5], [6.5, 0], [0, 6.5], [-6.5, 0]]); c.lineWidth = 2; paint(color.bg, color.bad); break;
    case "execute": path([[-3.5, -3.5], [3.5, -3.5], [3.5, 3.5], [-3.5, 3.5]]); paint(color.text, color.bg); break;
    case "sign": path([[0, -4], [0, 4]], false); paint(null, color.line); break;
    case "snapshot": path([[-5, -4], [5, -4], [5, 4], [-5, 4]]); paint(color.bg, color.text); path([[-5, -1], [5, -1]], false); paint(null, color.text); break;
    case "install": path([[-5, -4], [5, -4], [0, 5]]); paint(color.bg, color.good); break;
    case "call": path([[-3, -5], [5, 0], [-3, 5]]); paint(color.accent, color.bg); break;
    case "result": path([[3, -5], [-5, 0], [3, 5]]); paint(color.bg, color.accent); break;
    case "pause": path([[-3, -5], [-3, 5]], false); c.lineWidth = 2.4; paint(null, color.amber); path([[3, -5], [3, 5]], false); paint(null, color.amber); break;
    case "fault": case "partition": path([[0, -6], [6, 5], [-6, 5]]); paint(color["amber-soft"], color.amber); break;
    case "phase": c.setLineDash([3, 2]); path([[0, -8], [0, 8]], false); paint(null, color.accent); c.setLineDash([]); break;
    default: c.beginPath(); c.arc(x, y, 3 * k, 0, 7); paint(color.soft, color.bg);
  }
}

function drawFailure() {
  if (!failure) return;
  const x = X(failure.at), y = failure.line < 0 ? height : Y(failure.line);
  if (x < GUTTER - 2 || x > width + 2) return;
  ctx.strokeStyle = color.bad; ctx.lineWidth = 2;
  ctx.beginPath(); ctx.moveTo(x, AXIS - 6); ctx.lineTo(x, height); ctx.stroke();
  ctx.font = `700 12px ${FONT}`;
  const w = ctx.measureText(failure.kind).width + 14, d = x + w > width ? -1 : 1;
  ctx.fillStyle = color.bad;
  ctx.beginPath(); ctx.moveTo(x, 2); ctx.lineTo(x + d * w, 2); ctx.lineTo(x + d * (w - 5), 10); ctx.lineTo(x + d * w, 18); ctx.lineTo(x, 18); ctx.fill();
  ctx.fillStyle = color.bg;
  ctx.fillText(failure.kind, d > 0 ? x + 5 : x - w + 9, 14);
  if (failure.line >= 0) { ctx.lineWidth = 3; ctx.strokeStyle = color.bad; ctx.beginPath(); ctx.arc(x, y, 9, 0, 7); ctx.stroke(); }
  hits.push([x, 10, failure.id]);
}
