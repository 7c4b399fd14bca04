// Points and lines in three dimensions on a plain canvas, turned by the mouse or the arrow keys.
"use strict";

const LINE_COLOURS = ["#d62728", "#ff7f0e", "#9467bd", "#2ca02c", "#e377c2", "#8c564b", "#17becf", "#bcbd22"];

// Black through purple and orange to pale yellow, as diffraction patterns are usually shown.
const HEAT = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

function heat(level) {
  const place = (Math.min(255, Math.max(0, level)) / 255) * (HEAT.length - 1);
  const low = Math.min(HEAT.length - 2, Math.floor(place));
  return HEAT[low].map((part, i) => Math.round(part + (place - low) * (HEAT[low + 1][i] - part)));
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function floatsOf(base64) {
  return new Float32Array(bytesOf(base64).buffer);
}

// As many pixels as the screen has for it, so that text is neither blurred nor drawn out; its size in the page's units.
function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [canvas.clientWidth || 300, canvas.clientHeight || 100];
  const [width, height] = [Math.round(wide * ratio), Math.round(high * ratio)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.setTransform(width / wide, 0, 0, height / high, 0, 0);
  context.clearRect(0, 0, wide, high);
  context.font = "12px system-ui, sans-serif";
  return { context, width: wide, height: high };
}

class Scene {
  // `points` (3 n), then either `normals` (3 n, a surface) or `levels` (n, a cloud); `lines` are lists of points.
  constructor(canvas) {
    this.canvas = canvas;
    this.turn = [-1.1, 0.5];
    this.zoom = 1;
    this.clear();
    let last = null;
    new ResizeObserver(() => this.redraw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => { last = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { last = null; });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.rotate((event.clientY - last[1]) * 0.01, (event.clientX - last[0]) * 0.01);
      last = [event.clientX, event.clientY];
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom = Math.min(8, Math.max(0.3, this.zoom * Math.exp(-event.deltaY * 0.001)));
      this.redraw();
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowUp: [-0.1, 0], ArrowDown: [0.1, 0], ArrowLeft: [0, -0.1], ArrowRight: [0, 0.1] }[event.key];
      if (!by) return;
      event.preventDefault();
      this.rotate(by[0], by[1]);
    });
  }

  clear() {
    this.show({ points: new Float32Array(0), lines: [], unit: "" });
  }

  show(content) {
    this.content = { normals: null, levels: null, lines: [], ...content };
    let far = 0;
    const { points, lines } = this.content;
    for (let i = 0; i < points.length; i += 3) far = Math.max(far, Math.hypot(points[i], points[i + 1], points[i + 2]));
    for (const line of lines) for (const p of line.points) far = Math.max(far, Math.hypot(p[0], p[1], p[2]));
    this.radius = far > 0 && Number.isFinite(far) ? far : 1;
    this.redraw();
  }

  rotate(up, round) {
    this.turn = [Math.max(-Math.PI, Math.min(0, this.turn[0] + up)), this.turn[1] + round];
    this.redraw();
  }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(); });
  }

  // Rows: to the right, up, towards the eye.
  axes() {
    const [tilt, round] = this.turn;
    const [c, s, ct, st] = [Math.cos(round), Math.sin(round), Math.cos(tilt), Math.sin(tilt)];
    return [[c, -s, 0], [s * ct, c * ct, -st], [s * st, c * st, ct]];
  }

  draw() {
    const { context, width, height } = fitted(this.canvas);
    const scale = (0.46 * Math.min(width, height) * this.zoom) / this.radius;
    const axes = this.axes();
    const seen = (x, y, z) => axes.map((axis) => axis[0] * x + axis[1] * y + axis[2] * z);
    const place = (p) => [width / 2 + scale * p[0], height / 2 - scale * p[1]];
    if (this.content.normals) {
      this.drawSurface(context, seen, place, scale, false);
      this.drawLines(context, seen, place);
      this.drawSurface(context, seen, place, scale, true);
    } else {
      this.drawCloud(context, seen, place);
    }
    this.drawAxes(context, axes, height);
    this.drawRuler(context, scale, width, height);
  }

  // The half turned away first, then lines, then the half in front as a veil.
  drawSurface(context, seen, place, scale, front) {
    const { points, normals, voxel } = this.content;
    const size = Math.max(2, 1.35 * scale * voxel);
    for (let i = 0; i < points.length; i += 3) {
      const normal = seen(normals[i] / 127, normals[i + 1] / 127, normals[i + 2] / 127);
      if ((normal[2] > 0) !== front) continue;
      const light = Math.round(255 * (0.45 + 0.4 * Math.abs(0.3 * normal[0] + 0.5 * normal[1] + 0.8 * normal[2])));
      context.fillStyle = `rgba(${Math.round(0.72 * light)},${Math.round(0.85 * light)},${light},${front ? 0.1 : 0.8})`;
      const [x, y] = place(seen(points[i], points[i + 1], points[i + 2]));
      context.fillRect(x - size / 2, y - size / 2, size, size);
    }
  }

  drawLines(context, seen, place) {
    context.lineWidth = 4;
    context.lineJoin = context.lineCap = "round";
    this.content.lines.forEach((line, number) => {
      context.strokeStyle = LINE_COLOURS[number % LINE_COLOURS.length];
      context.beginPath();
      line.points.forEach((p, i) => {
        const [x, y] = place(seen(p[0], p[1], p[2]));
        if (i) context.lineTo(x, y); else context.moveTo(x, y);
      });
      context.stroke();
    });
  }

  drawCloud(context, seen, place) {
    const { points, levels } = this.content;
    const dots = [];
    for (let i = 0; i < points.length; i += 3) dots.push([seen(points[i], points[i + 1], points[i + 2]), levels[i / 3]]);
    dots.sort((one, two) => one[0][2] - two[0][2]);
    for (const [p, level] of dots) {
      const [r, g, b] = heat(255 - 0.75 * level);
      context.fillStyle = `rgba(${r},${g},${b},${0.08 + 0.7 * (level / 255) ** 2})`;
      const [x, y] = place(p);
      const size = 2 + 5 * (level / 255) ** 1.5;
      context.fillRect(x - size / 2, y - size / 2, size, size);
    }
  }

  drawAxes(context, axes, height) {
    context.lineWidth = 1.5;
    ["x", "y", "z"].forEach((name, i) => {
      const [x, y] = [34 + 24 * axes[0][i], height - 34 - 24 * axes[1][i]];
      context.strokeStyle = context.fillStyle = ["#b22222", "#2e7d32", "#1f4e9c"][i];
      context.beginPath();
      context.moveTo(34, height - 34);
      context.lineTo(x, y);
      context.stroke();
      context.fillText(name, x + 2, y - 2);
    });
  }

  drawRuler(context, scale, width, height) {
    if (!this.content.points.length) return;
    const wanted = 90 / scale;
    const decade = 10 ** Math.floor(Math.log10(wanted));
    const length = [5, 2, 1].map((n) => n * decade).find((n) => n <= wanted);
    context.fillStyle = "#333";
    context.fillRect(width - 16 - length * scale, height - 18, length * scale, 2);
    context.textAlign = "right";
    context.fillText(`${Number(length.toPrecision(2))} ${this.content.unit}`, width - 16, height - 24);
    context.textAlign = "left";
  }
}

function drawSlice(canvas, slice) {
  const [rows, columns] = slice.shape;
  const levels = bytesOf(slice.levels);
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) image.data.set([...heat(levels[i]), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

// The colours of slices and what they stand for: level = log(1 + counts), from none to the most.
function drawBar(canvas, most) {
  const { context, width } = fitted(canvas);
  const full = Math.log1p(most);
  for (let i = 0; i < width; i++) {
    context.fillStyle = `rgb(${heat((255 * i) / Math.max(1, width - 1)).join()})`;
    context.fillRect(i, 0, 1.5, 10);
  }
  context.fillStyle = "#333";
  let free = 0;
  for (let value = 0; value <= most && full > 0; value = value ? 10 * value : 1) {
    const x = (Math.log1p(value) / full) * (width - 1);
    const word = value < 1e4 ? String(value) : `10${[...String(Math.round(Math.log10(value)))].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
    const long = context.measureText(word).width;
    const left = Math.min(width - long, Math.max(0, x - long / 2));
    if (left < free) continue;
    context.fillRect(Math.min(width - 1, x), 10, 1, 4);
    context.fillText(word, left, 26);
    free = left + long + 10;
  }
  if (free + 50 < width) {
    context.textAlign = "right";
    context.fillText("counts", width, 26);
    context.textAlign = "left";
  }
}
