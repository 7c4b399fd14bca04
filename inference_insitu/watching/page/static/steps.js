// The steps of one stream: plots of its numbers, and pattern, crystal and lines of the step that is looked at.
"use strict";

const crystal = new Scene(by("crystal"));
const pattern = new Scene(by("pattern"));
let past = { steps: [], series: {} };
let heard = { stream: null, answers: -1, generation: -1 };
let shownStep = null;
let shownResult = null;
let wanted = null;
let reading = false;
let mostCounts = 0;

async function readHistory() {
  const stream = by("stream").value;
  const answers = state.history[stream] ?? 0;
  if (heard.stream === stream && heard.answers === answers && heard.generation === state.generation) return;
  const told = await ask(`history?stream=${encodeURIComponent(stream)}`);
  const anew = heard.stream !== stream || heard.generation !== state.generation;
  heard = { stream, answers, generation: state.generation };
  past = told;
  if (anew) shownResult = null;
  const last = Math.max(0, past.steps.length - 1);
  by("step").max = last;
  if (by("follow").checked || anew) {
    by("step").value = last;
    await chooseStep();
  } else {
    by("step").value = nearest(shownStep);
    drawPlots();
  }
}

function nearest(step) {
  let best = 0;
  past.steps.forEach((one, i) => { if (Math.abs(one - step) < Math.abs(past.steps[best] - step)) best = i; });
  return best;
}

async function chooseStep() {
  shownStep = past.steps[Number(by("step").value)] ?? null;
  by("stepname").textContent = shownStep === null ? "step –" : `step ${shownStep}`;
  drawPlots();
  await readResult();
}

// Asked for one at a time; of the steps that were passed meanwhile only the last is shown.
async function readResult() {
  wanted = { stream: by("stream").value, step: by("follow").checked ? null : shownStep };
  if (reading) return;
  reading = true;
  try {
    while (wanted) {
      const { stream, step } = wanted;
      wanted = null;
      showResult(await ask(`result?stream=${encodeURIComponent(stream)}${step === null ? "" : `&step=${step}`}`));
    }
  } finally {
    reading = false;
  }
}

function showResult(told) {
  const result = told.result;
  by("volumes").hidden = !result;
  by("novolumes").hidden = Boolean(result) || shownStep === null;
  if (!result) {
    by("novolumes").textContent = told.problems.length ? told.problems.join("; ") : "No volumes of this stream are kept (results-*.h5): its analysis answers with numbers alone.";
    by("answer").textContent = shownStep === null ? "No answer yet." : numbersAt(Number(by("step").value));
    by("answer").className = "answer";
    return;
  }
  const key = `${told.file}/${told.stream}/${result.step}`;
  const certain = result.undetermined ? `undetermined (${result.undetermined_because})` : result.class;
  by("answer").textContent = `step ${result.step}: ${certain}; P(defect) ${percent(result.defect_probability)}; ${result.lines.length} lines traced, ${result.count} counted; answered in ${seconds(result.seconds)}`;
  by("answer").className = result.undetermined ? "answer undetermined" : "answer";
  if (shownResult === key) return;
  shownResult = key;
  const body = result.crystal;
  const edge = Math.cbrt(Math.abs(determinant(body.voxel)));
  crystal.show({ points: floatsOf(body.points), normals: new Int8Array(bytesOf(body.normals).buffer), voxel: edge, lines: result.lines, unit: body.unit });
  by("crystalscale").textContent = body.unit === "voxels" ? "in voxels: the frame did not say where it was sampled" : "";
  const seen = result.pattern;
  pattern.show({ points: floatsOf(seen.points), levels: bytesOf(seen.levels), unit: seen.unit });
  by("patternscale").textContent = `${seen.shape.join(" × ")}, ${Math.round(seen.photons).toLocaleString("en")} counts, ${number(seen.most, 3)} at most; darker: more`;
  for (const axis of ["x", "y", "z"]) {
    drawSlice(by(`slice-${axis}`), seen.slices[axis]);
    const [down, across] = ["x", "y", "z"].filter((other) => other !== axis);
    by(`axes-${axis}`).replaceChildren(...[[across, "→"], [down, "↓"]].map(([name, arrow]) => {
      const reach = seen.reach["xyz".indexOf(name)];
      return element("div", `${seen.unit === "voxels" ? name : `δq ${name}`} ${arrow} ±${number(reach, 2)} ${seen.unit}`);
    }));
  }
  mostCounts = seen.most;
  drawBar(by("bar"), mostCounts);
  showLines(result.lines);
}

function determinant([[a, b, c], [d, e, f], [g, h, i]]) {
  return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
}

function showLines(lines) {
  if (!lines.length) return by("lines").replaceChildren(element("div", "No line was traced in this step."));
  by("lines").replaceChildren(...lines.slice(0, 12).map((line, i) => {
    const row = element("div");
    const burgers = line.burgers ? `b = (${line.burgers.map((part) => number(part, 3)).join(", ")}) Å` : "b not determined";
    const windings = line.windings?.length ? `, g·b ${line.windings.map((part) => number(part, 2)).join(", ")}` : "";
    row.append(swatchOf(LINE_COLOURS[i % LINE_COLOURS.length]), element("span", `confidence ${number(line.confidence, 3)}, ${burgers}${windings}`));
    return row;
  }), ...(lines.length > 12 ? [element("div", `and ${lines.length - 12} more`)] : []));
}

function numbersAt(place) {
  const words = Object.entries(past.series).map(([name, rows]) => (rows[place] ? `${name} ${number(rows[place][0])}` : null));
  return `step ${past.steps[place]}: ${words.filter(Boolean).join(", ")}`;
}

function drawPlots() {
  const names = Object.keys(past.series);
  by("plotted").hidden = !names.length;
  const box = by("plots");
  if (box.children.length !== names.length || names.some((name, i) => box.children[i].dataset.name !== name)) {
    box.replaceChildren(...names.map((name) => {
      const figure = element("figure");
      figure.dataset.name = name;
      const canvas = element("canvas");
      canvas.addEventListener("click", (event) => goTo(Math.round(((event.offsetX - MARGIN) / (canvas.clientWidth - 2 * MARGIN)) * (past.steps.length - 1))));
      figure.append(canvas, element("figcaption", name));
      return figure;
    }));
  }
  names.forEach((name, i) => drawPlot(box.children[i], name, past.series[name]));
}

const MARGIN = 6;

// The mean over ranks as a line, their extremes as a band; places, not steps, so that the scrubber is the same axis.
function drawPlot(figure, name, rows) {
  const { context, width, height } = fitted(figure.firstChild);
  const foot = height - 16;
  const said = rows.filter(Boolean);
  const low = Math.min(...said.map((row) => row[1]));
  const high = Math.max(...said.map((row) => row[2]));
  const x = (i) => MARGIN + ((width - 2 * MARGIN) * i) / Math.max(1, rows.length - 1);
  const y = (value) => foot - 5 - (foot - 10) * (high > low ? (value - low) / (high - low) : 0.5);
  const here = Number(by("step").value);
  context.fillStyle = "#f0b429";
  context.fillRect(x(here) - 1, 0, 2, foot);
  context.fillStyle = "#5a5a5a";
  context.fillRect(0, foot, width, 1);
  context.fillText(`step ${past.steps[0]}`, 2, height - 3);
  context.textAlign = "right";
  if (rows.length > 1) context.fillText(String(past.steps[rows.length - 1]), width - 2, height - 3);
  context.textAlign = "left";
  context.fillStyle = "#c6dbef";
  context.strokeStyle = "#08519c";
  context.lineWidth = 1.5;
  context.beginPath();
  rows.forEach((row, i) => {
    if (!row) return;
    if (row[2] > row[1]) context.fillRect(x(i) - 1, y(row[2]), 2, y(row[1]) - y(row[2]));
    if (i && rows[i - 1]) context.lineTo(x(i), y(row[0])); else context.moveTo(x(i), y(row[0]));
  });
  context.stroke();
  if (rows[here]) {
    context.fillStyle = "#08519c";
    context.beginPath();
    context.arc(x(here), y(rows[here][0]), 4, 0, 7);
    context.fill();
  }
  const value = rows[here] ? `: ${number(rows[here][0])}` : "";
  figure.lastChild.textContent = `${name}${value}   (${number(low, 3)} … ${number(high, 3)})`;
}

function goTo(place) {
  by("follow").checked = false;
  by("step").value = Math.min(past.steps.length - 1, Math.max(0, place));
  chooseStep().catch(lost);
}

by("stream").addEventListener("change", () => readHistory().catch(lost));
by("follow").addEventListener("change", () => {
  if (by("follow").checked) by("step").value = by("step").max;
  chooseStep().catch(lost);
});
by("step").addEventListener("input", () => goTo(Number(by("step").value)));
by("back").addEventListener("click", () => goTo(Number(by("step").value) - 1));
by("on").addEventListener("click", () => goTo(Number(by("step").value) + 1));
window.addEventListener("resize", () => {
  drawPlots();
  drawBar(by("bar"), mostCounts);
  if (state) drawRates();
});
