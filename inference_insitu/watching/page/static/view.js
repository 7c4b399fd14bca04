// How the run stands, and what is proposed to it: asks the server what is new and shows it.
// Text of the run is only ever set as text.
"use strict";

const LOOK_MS = 1000;
const HIDDEN_LOOK_MS = 5000;
const by = (id) => document.getElementById(id);
let state = null;
let mine = new Set();

async function ask(path, options) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const text = await response.text();
  if (response.headers.get("Content-Type")?.startsWith("application/json")) return JSON.parse(text);
  throw new Error(text.trim() || `HTTP ${response.status}`);
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(id, columns, rows) {
  const head = element("tr");
  for (const [name, numeric] of columns) head.append(element("th", name, numeric ? "n" : ""));
  by(id).replaceChildren(...(rows.length ? [head] : []), ...rows.map(({ cells, className, swatch, title }) => {
    const row = element("tr", undefined, className || "");
    if (title) row.title = title;
    cells.forEach((cell, i) => row.append(element("td", cell, columns[i][1] ? "n" : "")));
    if (swatch) row.firstChild.prepend(swatchOf(swatch), " ");
    return row;
  }));
}

function swatchOf(colour) {
  const swatch = element("span", undefined, "swatch");
  swatch.style.background = colour;
  return swatch;
}

const number = (value, digits = 4) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(digits))));
const seconds = (value) => (value === null || value === undefined ? "–" : value < 1 ? `${number(value * 1e3, 3)} ms` : `${number(value, 3)} s`);
const duration = (value) => (value < 100 ? `${Math.round(value)} s` : value < 6000 ? `${Math.round(value / 60)} min` : value < 172800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86400)} days`);
const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`);
const sum = (values) => values.reduce((total, value) => total + value, 0);

function showState() {
  by("folder").textContent = state.folder;
  document.title = `${state.condition.kind} – ${state.folder.split("/").pop()}`;
  by("condition").textContent = state.condition.text;
  by("condition").className = `badge ${state.condition.kind}`;
  const published = sum(state.streams.map((stream) => stream.published));
  const inferred = sum(state.streams.map((stream) => stream.inferred));
  const handedOver = sum(state.streams.map((stream) => stream.handed_over));
  const elsewhere = handedOver ? `, ${handedOver} handed over` : "";
  by("totals").textContent = `${state.ranks} ranks, ${published} frames settled: ${inferred} inferred, ${published - inferred - handedOver} dropped${elsewhere}; newest frame ${number(state.newest_s)} s into the run`;
  by("problems").replaceChildren(...state.problems.map((line) => element("li", line)));
  by("waiting").hidden = state.condition.kind !== "waiting";
  by("looked").hidden = state.condition.kind === "waiting";
  by("nostreams").hidden = state.streams.length > 0;
  by("noledger").hidden = published > 0;
  by("fates").hidden = !published;
  by("noworkers").hidden = state.workers.length > 0;
  by("noevents").hidden = state.events.length > 0;
  showStreams();
  showLedger(published, inferred);
  showWorkers();
  showSteering();
  table("events", [["time (UTC)"], ["who"], ["event"], [""]], state.events.toReversed().map((event) => ({
    cells: [event.time, event.who, event.event, event.text], className: event.bad ? "bad" : "",
  })));
}

function showStreams() {
  const names = state.streams.map((stream) => stream.name);
  for (const name of Object.keys(state.history)) if (!names.includes(name)) names.push(name);
  const select = by("stream");
  if (select.options.length !== names.length || names.some((name, i) => select.options[i].value !== name)) {
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(chosen)) select.value = chosen;
  }
  table("streams", [["stream"], ["settled", 1], ["inferred", 1], ["dropped", 1], ["frames/s", 1], ["p50", 1], ["p95", 1], ["longest", 1], ["step", 1]], state.streams.map((stream) => {
    const latency = stream.latency_s || [null, null, null, null];
    return { cells: [stream.name, stream.published, stream.inferred, stream.published - stream.inferred - stream.handed_over, number(stream.rate), seconds(latency[0]), seconds(latency[1]), seconds(latency[3]), stream.newest_step] };
  }));
  drawRates();
}

function drawRates() {
  const { context, width, height } = fitted(by("rates"));
  const lengths = state.streams.map((stream) => stream.per_second.length);
  const columns = Math.max(1, ...lengths);
  const totals = Array.from({ length: columns }, (_, i) => sum(state.streams.map((stream) => stream.per_second[stream.per_second.length - columns + i] || 0)));
  const most = Math.max(1, ...totals);
  const foot = height - 17;
  context.fillStyle = "#6baed6";
  const wide = width / 60;
  totals.forEach((total, i) => {
    const high = (total / most) * (foot - 16);
    context.fillRect(width - (columns - i) * wide, foot - high, wide - 1, high);
  });
  context.fillStyle = "#5a5a5a";
  context.fillRect(0, foot, width, 1);
  context.fillText(`${most} at most`, 2, 11);
  context.fillText("60 s ago", 2, height - 4);
  context.textAlign = "right";
  context.fillText("newest", width, height - 4);
  context.textAlign = "left";
}

function showLedger(published, inferred) {
  const parts = [{ name: "inferred", frames: inferred, colour: "#0072b2" }, ...state.fates];
  by("fates").replaceChildren(...parts.filter((part) => part.frames).map((part) => {
    const piece = element("span");
    piece.style.background = part.colour;
    piece.style.flex = String(part.frames);
    piece.title = `${part.name} ${part.frames}`;
    return piece;
  }));
  const streams = state.streams.map((stream) => stream.name).slice(0, 4);
  const drops = state.fates.toSorted((one, two) => two.frames - one.frames);
  const each = (name) => state.streams.slice(0, 4).map((stream) => stream.fates[name] || 0);
  table("drops", [["not inferred"], ["frames", 1], ["share", 1], ...streams.map((name) => [name, 1]), ["meaning"]], drops.map((drop) => ({
    cells: [drop.name, drop.frames, percent(drop.frames / published), ...each(drop.name), drop.meaning],
    swatch: drop.colour, className: drop.asked_for ? "" : "bad",
  })));
}

function showWorkers() {
  table("workers", [["worker"], ["state"], ["for", 1], ["restarts", 1], ["queue", 1], ["batch", 1], ["s/batch", 1]], state.workers.map((worker) => ({
    cells: [worker.name, worker.state, worker.since_s === null ? "–" : duration(worker.since_s), worker.restarts, number(worker.queue), number(worker.batch_frames), number(worker.batch_seconds)],
    className: worker.bad ? "bad" : "",
  })));
}

function showSteering() {
  const { counts, rows, commands, closed } = state.steering;
  const select = by("command");
  if (select.options.length !== commands.length || commands.some((command, i) => select.options[i].value !== command.name)) {
    select.replaceChildren(...commands.map((command) => new Option(command.name, command.name)));
    chooseCommand();
  }
  by("ask").disabled = by("propose").hidden = Boolean(closed) || !commands.length;
  by("desk").textContent = closed ? `Nothing can be proposed: ${closed}.` : "";
  const words = Object.entries(counts).map(([event, count]) => `${event} ${count}`);
  by("ruled").textContent = words.length ? words.join(", ") : "No command has been proposed.";
  table("commands", [["step", 1], [""], ["command"], ["by"], ["why"]], rows.toReversed().map((row) => ({
    cells: [row.step, row.event, row.value === null || row.value === undefined ? row.name : `${row.name} ${row.value}`, row.origin, row.reason],
    className: mine.has(row.origin) ? "mine" : ["refused", "vetoed"].includes(row.event) ? "bad" : "",
  })));
}

function chooseCommand() {
  const command = state?.steering.commands.find((one) => one.name === by("command").value);
  by("value").hidden = !command?.takes_value;
  by("bounds").textContent = command?.takes_value ? command.bounds : "";
  if (command?.takes_value) {
    [by("value").min, by("value").max, by("value").step] = [command.minimum, command.maximum, command.integer ? 1 : "any"];
    by("value").value = command.minimum;
  }
}

async function propose() {
  const command = state.steering.commands.find((one) => one.name === by("command").value);
  const value = command.takes_value ? by("value").valueAsNumber : null;
  by("asked").textContent = value === null ? command.name : `${command.name} ${value}${command.unit && ` ${command.unit}`}`;
  by("confirm").returnValue = "no";
  by("confirm").showModal();
  await new Promise((resolve) => by("confirm").addEventListener("close", resolve, { once: true }));
  if (by("confirm").returnValue !== "yes") return;
  try {
    const told = await ask("propose", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: command.name, value }) });
    if (told.origin) mine.add(told.origin);
    by("told").textContent = told.refused ? `Not proposed: ${told.refused}.` : `Proposed as ${told.origin}: it appears below once the ranks have agreed.`;
  } catch (error) {
    by("told").textContent = `Not proposed: ${error.message}`;
  }
}

function lost(error) {
  by("lost").hidden = false;
  by("lost").textContent = `The view does not answer (${error.message}). Start it anew with cdi insitu view, or in a terminal: cdi insitu watch ${state?.folder ?? "FOLDER"}`;
}

async function look() {
  try {
    state = await ask("state");
    by("lost").hidden = true;
    showState();
    await readHistory();
  } catch (error) {
    lost(error);
  }
  setTimeout(look, document.hidden ? HIDDEN_LOOK_MS : LOOK_MS);
}

by("command").addEventListener("change", chooseCommand);
by("propose").addEventListener("submit", (event) => {
  event.preventDefault();
  propose();
});
look();
