// What a user does: pointer, keys, buttons, address; and what stands around the picture.

const make = (tag, props = {}, ...children) => {
  const e = document.createElement(tag);
  const { aria, ...rest } = props;
  Object.assign(e, rest);
  for (const k in aria || {}) e.setAttribute("aria-" + k, aria[k]);
  e.append(...children);
  return e;
};
const button = (label, title, onclick) => make("button", { title, onclick }, label);

// ---- Size ----

function layout() {
  const stage = $("stage");
  dpr = window.devicePixelRatio || 1;
  width = stage.clientWidth;
  top0 = AXIS + Math.max(6, 16 * lanes.length);
  height = Math.max(stage.clientHeight, top0 + run.lines.length * 30 + APART + 14);
  pitch = Math.min(150, (height - top0 - APART - 14) / run.lines.length);
  $("overview").style.marginLeft = GUTTER + "px";
  plot.width = Math.round(width * dpr); plot.height = Math.round(height * dpr);
  plot.style.width = width + "px"; plot.style.height = height + "px";
  [...$("names").children].forEach((b, i) => { b.style.top = Y(i) - 12 + "px"; b.style.width = GUTTER - 8 + "px"; });
  clampCam();
  overviewStale = true;
  redraw();
}

// ---- Names and legend ----

function buildNames() {
  run.lines.forEach((l, i) => {
    const b = make("button", {
      className: (l.client ? "client" : "") + (l.byzantine ? " byzantine" : ""),
      title: `${l.name}${l.byzantine ? ", Byzantine" : ""}\nclick: only its messages · Shift+click: hide them`,
      aria: { pressed: "false", label: `${l.name}${l.byzantine ? ", Byzantine" : ""}: only its messages` },
    }, l.name + (l.byzantine ? " ☠" : ""));
    b.onclick = (e) => {
      const [set, other] = e.shiftKey ? [state.off, state.only] : [state.only, state.off];
      other.delete(i);
      if (!set.delete(i)) set.add(i);
      showNames(); refilter();
    };
    $("names").append(b);
  });
}
function showNames() {
  [...$("names").children].forEach((b, i) => {
    b.classList.toggle("only", state.only.has(i));
    b.classList.toggle("off", state.off.has(i));
    b.setAttribute("aria-pressed", state.only.has(i));
  });
}

function sample(w, h, paint) {
  const c = make("canvas", { aria: { hidden: "true" } });
  c.width = w * 2; c.height = h * 2;
  const g = c.getContext("2d");
  g.scale(2, 2);
  paint(g);
  return c;
}
function buildLegend() {
  const legend = $("legend");
  legend.replaceChildren();
  run.types.forEach((t, i) => {
    const line = sample(26, 12, (g) => {
      g.strokeStyle = g.fillStyle = typeColor(i); g.lineWidth = Math.max(1.2, t.width); g.setLineDash(t.dash || []);
      g.beginPath(); g.moveTo(0, 6); g.lineTo(20, 6); g.stroke();
      g.beginPath(); g.moveTo(26, 6); g.lineTo(18, 2.5); g.lineTo(18, 9.5); g.fill();
    });
    const b = make("button", { title: "click: hide or show · Shift+click: only this", aria: { pressed: String(!state.hidden.has(i)) } },
      line, t.name, make("span", { className: "count" }, t.count.toLocaleString("en")));
    b.onclick = (e) => {
      if (e.shiftKey) {
        const alone = state.hidden.size === run.types.length - 1 && !state.hidden.has(i);
        state.hidden = new Set(alone ? [] : run.types.map((_, k) => k).filter((k) => k !== i));
      } else if (!state.hidden.delete(i)) state.hidden.add(i);
      showLegend(); refilter();
    };
    legend.append(b);
  });
}
function showLegend() {
  [...$("legend").children].forEach((b, i) => b.setAttribute("aria-pressed", !state.hidden.has(i)));
}

// ---- The panel ----

const signTexts = {
  crash: "crash; the line is broken while it is down", down: "down", start: "start", pause: "stands still", fault: "fault of the environment",
  partition: "cut off from others", lie: "a lie is told", execute: "executes a batch; below it its number", sign: "signs", snapshot: "makes a snapshot",
  install: "installs a snapshot", call: "a call begins; the bar lasts until its result", result: "its result", phase: "phase of the run",
};

function showPanel() {
  const panel = $("panel");
  if (state.message >= 0) panel.replaceChildren(...messagePanel(state.message));
  else if (state.mark >= 0) panel.replaceChildren(...markPanel(marks[state.mark]));
  else panel.replaceChildren(...aboutPanel());
}
function list(rows) {
  return make("dl", {}, ...rows.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)]));
}
const exactly = (t) => (t / 1e9).toLocaleString("en", { minimumFractionDigits: 9 }) + " s";

function messagePanel(i) {
  const lost = flags[i] & LOST, rows = [
    ["from", run.lines[from[i]].name + (run.lines[from[i]].byzantine ? " (Byzantine)" : "")], ["to", run.lines[to[i]].name],
    ["sent", exactly(sent[i])], lost ? ["lost", "never arrives"] : ["arrived", exactly(end[i])],
  ];
  if (!lost) rows.push(["took", duration(end[i] - sent[i])]);
  if (seq[i] || view[i]) rows.push(["view", String(view[i])]);
  if (seq[i]) rows.push(["number", String(seq[i])]);
  const out = [make("h2", {}, `${run.types[type[i]].name} · message ${i}`)];
  if (flags[i] & LIE) out.push(make("p", { className: "bad" }, "A lie: the adversary made or altered it."));
  const actions = [button("‹ earlier", "The message shown before (p)", () => step(-1)), button("later ›", "The message shown after (n)", () => step(1))];
  if (seq[i]) actions.push(button(state.follow === String(seq[i]) ? "All numbers" : `Follow ${seq[i]}`, "Dim what is not about this number (f)", follow));
  actions.push(button("Close", "Back to the run (Esc)", () => select(-1, -1)));
  out.push(make("div", { className: "actions" }, ...actions), list(rows), make("p", {}, text[i]));
  if (detail[i]) out.push(make("h3", {}, "Content"), make("pre", {}, detail[i]));
  return out;
}

function markPanel(m) {
  const rows = [["where", m.line < 0 ? "the whole system" : run.lines[m.line].name], ["at", exactly(m.at)]];
  if (m.lasts) rows.push(["until", exactly(m.until)], ["for", duration(m.until - m.at)]);
  if (m.seq) rows.push(["number", String(m.seq)]);
  const out = [make("h2", {}, m === failure ? `Failure: ${m.kind}` : m.kind), list(rows)];
  if (m.text) out.push(make("pre", {}, m.text));
  const actions = make("div", { className: "actions" });
  if (m.seq) actions.append(button(state.follow === String(m.seq) ? "All numbers" : `Follow ${m.seq}`, "Dim what is not about this number (f)", follow));
  actions.append(button("Close", "Back to the run (Esc)", () => select(-1, -1)));
  out.splice(1, 0, actions);
  return out;
}

const KEYS = [["← →", "earlier, later"], ["+ −", "zoom"], ["0", "show all"], ["n p", "next, previous message"], ["f", "follow a number"], ["/", "search"],
  ["l", "lies only"], ["i", "fold idle time"], ["t", "table"], ["!", "go to the failure"], ["d", "light or dark"], ["Esc", "close"]];

function aboutPanel() {
  const lies = flags.reduce((n, f) => n + (f & LIE ? 1 : 0), 0), lost = flags.reduce((n, f) => n + (f & LOST ? 1 : 0), 0);
  const out = [make("h2", {}, "This run"), ...run.notes.map((n) => make("p", {}, n))];
  if (failure) out.push(make("p", { className: "bad" }, `${failure.kind} broke at ${exactly(failure.at)}: ${failure.text.split("\n")[0]}`));
  const byz = run.lines.filter((l) => l.byzantine).map((l) => l.name);
  out.push(list([["messages", N.toLocaleString("en")], ["lost", lost.toLocaleString("en")], ["lies", lies.toLocaleString("en")], ["Byzantine", byz.join(", ") || "none"],
    ["from", exactly(run.from)], ["until", exactly(run.until)]]));
  const signs = make("dl", { className: "signs" });
  const arrow = (c, hollow) => sample(20, 20, (g) => {
    g.strokeStyle = c; g.lineWidth = 1.8; g.beginPath(); g.moveTo(1, 4); g.lineTo(hollow ? 17 : 12, hollow ? 15 : 12); g.stroke();
    g.lineWidth = 1.4; g.beginPath();
    if (hollow) { g.moveTo(19, 16.5); g.lineTo(11, 15.5); g.lineTo(14.5, 9.5); g.closePath(); g.fillStyle = color.bg; g.fill(); }
    else { g.moveTo(8, 8); g.lineTo(16, 16); g.moveTo(16, 8); g.lineTo(8, 16); }
    g.stroke();
  });
  if (lies) signs.append(make("dt", {}, arrow(color.bad, true)), make("dd", {}, "a lie"));
  if (lost) signs.append(make("dt", {}, arrow(color.soft, false)), make("dd", {}, "lost on the way"));
  for (const kind of run.kinds) {
    if (failure && kind === failure.kind) continue;
    signs.append(make("dt", {}, sample(20, 20, (g) => glyph(g, kind, 10, 10, false))), make("dd", {}, signTexts[kind] || kind));
  }
  if (signs.childElementCount) out.push(make("h3", {}, "Signs"), signs);
  if (bands.length) out.push(make("h3", {}, "Bands"), make("p", {}, "The colour behind a line is the view that the replica is in; hatched: on its way into it."));
  const keys = make("dl", { id: "keys" });
  for (const [k, what] of KEYS.filter(([k]) => failure || k !== "!")) keys.append(make("dt", {}, make("kbd", {}, k)), make("dd", {}, what));
  out.push(make("h3", {}, "Keys"), keys, make("p", {}, "Wheel zooms, Shift+wheel and dragging move, Shift+drag zooms to a stretch. Click an arrow or a sign for what it is."));
  return out;
}

// ---- Choosing ----

function select(message, mark, center = false) {
  state.message = message; state.mark = mark;
  $("tip").hidden = true;
  const m = message >= 0 ? { at: sent[message], until: end[message] } : mark >= 0 ? marks[mark] : null;
  if (m && center) {
    const a = X(m.at), b = X(Math.min(m.until, run.until));
    if (b - a > plotWidth() * 0.8) look(Math.max(run.from, m.at - (m.until - m.at) / 4), m.until + (m.until - m.at) / 4);
    else if (a < GUTTER + 30 || b > width - 30) pan((a + b) / 2 - GUTTER - plotWidth() / 2);
  }
  showPanel(); redraw();
}
// step chooses the next (1) or the one before (-1) of the messages that are shown.
function step(by) {
  let i = state.message >= 0 ? state.message + by : by > 0 ? firstSent(timeAt(GUTTER)) : firstSent(timeAt(width)) - 1;
  while (i >= 0 && i < N && mask[i] !== SHOWN) i += by;
  if (i >= 0 && i < N) select(i, -1, true);
}
function follow() {
  const n = state.message >= 0 ? seq[state.message] : state.mark >= 0 ? marks[state.mark].seq : 0;
  state.follow = state.follow === null && n ? String(n) : null;
  refilter(); showPanel();
}
function toggle(id, key, after = refilter) {
  state[key] = !state[key];
  $(id).setAttribute("aria-pressed", state[key]);
  after();
}
function search() {
  state.words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  refilter();
  $("found").textContent = state.words.length ? `${foundCount.toLocaleString("en")} found` : "";
}

// ---- Pointer ----

// under finds the mark or the message at a place.
function under(x, y) {
  let mark = -1, message = -1, best = 9;
  for (const [hx, hy, id] of hits) {
    const d = Math.hypot(hx - x, hy - y);
    if (d < best) { best = d; mark = id; }
  }
  if (mark >= 0 && best < 7) return [-1, mark];
  best = 7;
  for (const i of visible) {
    const [x0, y0, x1, y1] = tipOf(i), dx = x1 - x0, dy = y1 - y0;
    const k = Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1)));
    const d = Math.hypot(x0 + k * dx - x, y0 + k * dy - y) + (mask[i] === DIM ? 3 : 0);
    if (d < best) { best = d; message = i; }
  }
  return [message, message >= 0 ? -1 : mark];
}
function tip(x, y) {
  const t = $("tip"), i = state.hoverMessage, k = state.hoverMark;
  t.hidden = i < 0 && k < 0;
  if (t.hidden) return;
  const m = k >= 0 ? marks[k] : null;
  t.textContent = m ? `${m.line < 0 ? "" : run.lines[m.line].name + " "}${m.kind}${m.seq ? " " + m.seq : ""} at ${clock(m.at, 1000)}\n${m.text.split("\n")[0]}`.trim()
    : `${run.lines[from[i]].name} → ${run.lines[to[i]].name}  ${run.types[type[i]].name}${flags[i] & LIE ? ", a lie" : ""}${flags[i] & LOST ? ", lost" : " took " + duration(end[i] - sent[i])}\n${text[i]}`;
  t.style.left = Math.max(4, Math.min(x + 14, width - t.offsetWidth - 8)) + "px";
  t.style.top = (y + 18 + t.offsetHeight > height ? y - t.offsetHeight - 10 : y + 18) + "px";
}

function pointers() {
  let down = null; // where the drag began
  const place = (e) => { const r = plot.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
  plot.onpointerdown = (e) => {
    if (e.button !== 0) return;
    const [x, y] = place(e);
    down = { x, y, last: x, moved: false, range: e.shiftKey };
    plot.setPointerCapture(e.pointerId);
  };
  plot.onpointermove = (e) => {
    const [x, y] = place(e);
    if (!down) {
      const [i, k] = under(x, y);
      if (i !== state.hoverMessage || k !== state.hoverMark) { state.hoverMessage = i; state.hoverMark = k; redraw(); }
      tip(x, y);
      plot.style.cursor = i >= 0 || k >= 0 ? "pointer" : "";
      return;
    }
    down.moved ||= Math.hypot(x - down.x, y - down.y) > 4;
    if (!down.moved) return;
    plot.classList.add("dragging");
    if (down.range) { $("tip").hidden = false; $("tip").textContent = duration(Math.abs(timeAt(x) - timeAt(down.x))); $("tip").style.left = x + 14 + "px"; $("tip").style.top = y + 14 + "px"; }
    else { pan(down.last - x); down.last = x; }
  };
  plot.onpointerup = (e) => {
    if (!down) return;
    const [x, y] = place(e), d = down;
    down = null;
    plot.classList.remove("dragging");
    if (d.moved && d.range) look(timeAt(Math.min(x, d.x)), timeAt(Math.max(x, d.x)));
    else if (!d.moved) select(...under(x, y));
  };
  plot.onpointercancel = () => { down = null; plot.classList.remove("dragging"); };
  plot.onpointerleave = () => { if (!down) { state.hoverMessage = state.hoverMark = -1; $("tip").hidden = true; redraw(); } };
  plot.ondblclick = (e) => zoom(2, place(e)[0]);
  plot.addEventListener("wheel", (e) => {
    e.preventDefault();
    const pages = e.deltaMode === 1 ? 16 : 1;
    if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) pan((e.deltaX || e.deltaY) * pages);
    else zoom(Math.exp(-e.deltaY * pages * 0.0018), place(e)[0]);
  }, { passive: false });
}

// ---- Keys and buttons ----

const actions = {
  ArrowLeft: () => pan(-plotWidth() / 6), ArrowRight: () => pan(plotWidth() / 6), PageUp: () => pan(-plotWidth()), PageDown: () => pan(plotWidth()),
  Home: () => { cam.u = 0; pan(0); }, End: () => { cam.u = span(); pan(0); },
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": () => look(run.from, run.until),
  n: () => step(1), p: () => step(-1), f: follow, l: () => toggle("lies", "liesOnly"), i: () => toggle("fold", "fold"),
  t: () => { $("table").hidden = !$("table").hidden; $("asTable").setAttribute("aria-pressed", !$("table").hidden); layout(); },
  d: () => { document.documentElement.dataset.theme = dark ? "light" : "dark"; repaint(); },
  "/": () => $("search").focus(), "!": () => { if (failure) select(-1, failure.id, true); },
  "?": () => { select(-1, -1); $("keys").scrollIntoView(); },
  Escape: () => { if (state.follow !== null) follow(); select(-1, -1); },
};
function keys() {
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target === $("search")) {
      if (e.key === "Enter") step(e.shiftKey ? -1 : 1);
      if (e.key === "Escape") { $("search").value = ""; search(); plot.focus(); }
      return;
    }
    if (!actions[e.key] || e.target.tagName === "BUTTON" && (e.key === "Enter" || e.key === " ")) return;
    e.preventDefault();
    actions[e.key]();
  });
  const on = { left: "ArrowLeft", right: "ArrowRight", in: "+", out: "-", fit: "0", lies: "l", fold: "i", asTable: "t", theme: "d", help: "?", failed: "!" };
  for (const id in on) $(id).onclick = () => actions[on[id]]();
  $("search").oninput = search;
  $("failed").hidden = !failure;
  $("lies").hidden = !flags.some((f) => f & LIE);
}

// ---- Overview, table, address ----

let overviewStale = true;
function overview() {
  const c = $("all"), w = c.clientWidth, h = c.clientHeight;
  const a = (cam.u / span()) * w, b = ((cam.u + plotWidth() / cam.scale) / span()) * w;
  $("frame").style.left = a + "px"; $("frame").style.width = Math.max(4, Math.min(b, w) - a) + "px";
  if (!overviewStale || !w) return;
  overviewStale = false;
  c.width = w * dpr; c.height = h * dpr;
  const g = c.getContext("2d");
  g.scale(dpr, dpr);
  const at = (t) => Math.min(w - 1, Math.max(0, uOf(t) / span() * w));
  for (const m of marks) {
    if (!m.lasts || m.kind === "call" || m === failure) continue;
    g.fillStyle = isDown(m) ? color.bad : color.amber; g.globalAlpha = 0.6;
    g.fillRect(at(m.at), isDown(m) ? 4 : 0, Math.max(1, at(m.until) - at(m.at)), 4);
  }
  g.globalAlpha = 1;
  const least = state.words.length || state.follow !== null ? DIM : HIDDEN; // of a search only what was found
  const all = new Float64Array(w), lies = new Float64Array(w);
  for (let i = 0; i < N; i++) if (mask[i] > least) { const x = at(sent[i]) | 0; all[x]++; if (flags[i] & LIE) lies[x]++; }
  const most = Math.max(1, ...all);
  for (let x = 0; x < w; x++) {
    const tall = (n) => Math.sqrt(n / most) * (h - 10);
    if (all[x]) { g.fillStyle = color.line; g.fillRect(x, h - tall(all[x]), 1, tall(all[x])); }
    if (lies[x]) { g.fillStyle = color.bad; g.fillRect(x, h - tall(lies[x]), 1, tall(lies[x])); }
  }
  if (failure) { g.fillStyle = color.bad; g.fillRect(at(failure.at) - 1, 0, 2, h); }
}
function overviewPointer() {
  const o = $("overview");
  const go = (e) => { const r = o.getBoundingClientRect(); cam.u = (e.clientX - r.left) / r.width * span() - plotWidth() / cam.scale / 2; pan(0); };
  o.onpointerdown = (e) => { o.setPointerCapture(e.pointerId); go(e); };
  o.onpointermove = (e) => { if (o.hasPointerCapture(e.pointerId)) go(e); };
}

const TABLE_ROWS = 300;
let tableOf = "";
function table() {
  const t = $("table");
  if (t.hidden) { tableOf = ""; return; }
  const rows = visible.filter((i) => mask[i] === SHOWN);
  const now = rows.length + ":" + rows[0] + ":" + rows[rows.length - 1] + ":" + state.message;
  if (now === tableOf) return;
  tableOf = now;
  const head = ["no.", "sent", "took", "from", "to", "type", "view", "number", "what"];
  const body = rows.slice(0, TABLE_ROWS).map((i) => make("tr", { className: (flags[i] & LIE ? "lie " : "") + (i === state.message ? "chosen" : "") },
    make("td", {}, button(String(i), "Show its content", () => select(i, -1))),
    ...[exactly(sent[i]), flags[i] & LOST ? "lost" : duration(end[i] - sent[i]), run.lines[from[i]].name, run.lines[to[i]].name,
      run.types[type[i]].name + (flags[i] & LIE ? " (lie)" : ""), String(view[i]), seq[i] ? String(seq[i]) : "", text[i]].map((s) => make("td", {}, s))));
  const more = rows.length > TABLE_ROWS ? `, the first ${TABLE_ROWS} of them` : "";
  t.replaceChildren(make("table", {}, make("caption", {}, `${rows.length.toLocaleString("en")} messages in this stretch of time${more}`),
    make("thead", {}, make("tr", {}, ...head.map((s) => make("th", { scope: "col" }, s)))), make("tbody", {}, ...body)));
}

// parseTime reads "1.25s", "800ms" or plain nanoseconds.
function parseTime(s) {
  const m = /^([0-9.]+)\s*(s|ms|us|µs|ns|)$/.exec(s || "");
  return m ? Number(m[1]) * { s: 1e9, ms: 1e6, us: 1e3, "µs": 1e3, ns: 1, "": 1 }[m[2]] : NaN;
}
let written = "";
function readAddress() {
  const q = new URLSearchParams(location.hash.slice(1));
  if (q.has("theme")) { document.documentElement.dataset.theme = q.get("theme") === "dark" ? "dark" : "light"; readColors(); buildLegend(); overviewStale = true; }
  state.hidden = new Set((q.get("hide") || "").split(",").map((n) => run.types.findIndex((t) => t.name === n)).filter((i) => i >= 0));
  state.liesOnly = q.has("lies"); state.fold = !q.has("unfolded");
  $("lies").setAttribute("aria-pressed", state.liesOnly); $("fold").setAttribute("aria-pressed", state.fold);
  $("search").value = q.get("q") || "";
  if ($("table").hidden === q.has("table")) actions.t();
  showLegend(); search();
  const a = parseTime(q.get("from")), b = parseTime(q.get("until"));
  if (b > a) look(a, b); else firstLook();
  const m = q.has("m") ? Number(q.get("m")) : -1, k = q.has("k") ? Number(q.get("k")) : -1;
  select(Number.isInteger(m) && m < N ? m : -1, Number.isInteger(k) && k < marks.length ? k : -1, true);
}
// writeAddress keeps the address at what is shown, so that it can be copied.
function writeAddress() {
  const q = [`from=${Math.round(timeAt(GUTTER))}ns`, `until=${Math.round(timeAt(width))}ns`];
  if (state.message >= 0) q.push("m=" + state.message);
  if (state.mark >= 0) q.push("k=" + state.mark);
  if (state.hidden.size) q.push("hide=" + [...state.hidden].map((i) => encodeURIComponent(run.types[i].name)).join(","));
  if (state.liesOnly) q.push("lies");
  if (!state.fold) q.push("unfolded");
  if (!$("table").hidden) q.push("table");
  if ($("search").value) q.push("q=" + encodeURIComponent($("search").value));
  if (document.documentElement.dataset.theme) q.push("theme=" + document.documentElement.dataset.theme);
  if (written !== (written = "#" + q.join("&"))) history.replaceState(null, "", written);
}

// firstLook shows all of a small run; of a large one what leads to the failure, or its beginning.
function firstLook() {
  const few = 130, telling = [...type.keys()].filter((i) => run.types[type[i]].quiet !== 1);
  if (N <= few || telling.length < 2) return look(run.from, run.until);
  if (!failure) return look(sent[telling[0]] - run.flight, sent[telling[Math.min(few, telling.length) - 1]] + run.flight);
  const before = telling.filter((i) => sent[i] <= failure.at);
  look(before.length ? sent[before[Math.max(0, before.length - few)]] : run.from, failure.at + 3 * run.flight);
}

function repaint() { readColors(); buildLegend(); showPanel(); overviewStale = true; redraw(); }

readColors(); buildNames(); buildLegend(); pointers(); keys(); overviewPointer();
afterDraw.push(overview, table);
layout(); refold(); readAddress();
let quiet = 0; // the address is written when the view rests, for browsers bound how often it may be
afterDraw.push(() => { clearTimeout(quiet); quiet = setTimeout(writeAddress, 300); });
new ResizeObserver(layout).observe($("stage"));
addEventListener("hashchange", () => { if (location.hash !== written) readAddress(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
