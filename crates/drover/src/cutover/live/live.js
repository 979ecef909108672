"use strict";
const at = (id) => document.getElementById(id);
const put = (id, text) => { at(id).textContent = text; };
let deadline = null, moved = null;
const time = (seconds) => {
  if (seconds === null || seconds === undefined) return "unknown";
  const s = Math.max(0, Math.round(seconds)), pad = (n) => String(n).padStart(2, "0");
  return s >= 3600 ? `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}` : `${Math.floor(s / 60)}:${pad(s % 60)}`;
};
const bytes = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < 4) { n /= 1024; unit += 1; }
  return `${unit ? n.toFixed(1) : n} ${units[unit]}`;
};
const row = (body, cells, kind) => {
  const line = document.createElement("tr");
  for (const cell of cells) {
    const td = document.createElement("td");
    td.textContent = cell;
    line.append(td);
  }
  if (kind) line.firstChild.className = kind;
  body.append(line);
  return line;
};
const tick = () => {
  if (deadline === null) { put("left", "no timer is armed"); at("left").className = ""; return; }
  const left = deadline - Date.now() / 1000;
  put("left", left > 0 ? time(left) : "its time is over");
  at("left").className = left < 300 ? "short" : "";
};
const seen = {
  state(e) {
    put("state", e.state);
    document.title = `${e.state} – cutover`;
    deadline = e.deadline;
    tick();
  },
  step(e) {
    const steps = at("steps"), last = steps.lastElementChild;
    if (e.outcome === null) { row(steps, [e.name, "", "under way"]); return; }
    if (!last) return;
    last.children[1].textContent = time(e.seconds);
    last.children[2].textContent = e.outcome;
    last.children[2].className = e.outcome;
  },
  gates(e) {
    at("gates").replaceChildren();
    for (const gate of e.gates) row(at("gates"), [gate.outcome, gate.id, gate.threshold, gate.value], gate.outcome);
    put("p50", time(e.p50));
    put("p90", time(e.p90));
  },
  note(e) {
    const line = document.createElement("li");
    line.textContent = `${e.time}  ${e.text}`;
    at("log").prepend(line);
  },
  counts(e) {
    put("phase", e.phase);
    put("entries", `${e.entries_done} of ${e.entries}`);
    put("read", bytes(e.bytes_read));
    put("moved", bytes(e.bytes_transferred));
    put("exceptions", e.exceptions);
    const now = Date.now() / 1000;
    if (moved) put("rate", `${bytes(Math.max(0, (e.bytes_transferred - moved[1]) / Math.max(0.2, now - moved[0])))}/s`);
    moved = [now, e.bytes_transferred];
  },
  end(e) {
    put("link", e.outcome);
    source.close();
    deadline = null;
    tick();
  },
};
const source = new EventSource("events");
source.onopen = () => { put("link", "as it happens"); at("link").className = ""; };
source.onerror = () => { put("link", "the connection was lost; trying again"); at("link").className = "lost"; };
source.onmessage = (message) => { const e = JSON.parse(message.data); if (Object.hasOwn(seen, e.event)) seen[e.event](e); };
setInterval(tick, 1000);
