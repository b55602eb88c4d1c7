
// The picture of memory by partition: layers stacked up to the budget, for the
// part of the pass that is in view, and a small picture of all of it below.

const LAYERS = [
  ["floor", "Floor: interpreter, libraries"],
  ["sessions", "Sessions"],
  ["resident", "Resident weights"],
  ["flight", "Weights in flight"],
  ["spare", "Buffer, unused"],
  ["activations", "Live activations"],
];
const LEFT = 62;
const RIGHT = 12;
const TOP = 22;
const BOTTOM = 34;

class Plot {
  constructor(plan) {
    this.plan = plan;
    this.plot = byId("plot");
    this.overview = byId("overview");
    this.overview.toggleAttribute("hidden", plan.partitions.length === 1);
    this.stacks = plan.partitions.map((part) => stackOf(plan, part));
    this.scale = new Scale(plan.partitions, false);
    this.view = [0, this.scale.end];
    this.shown = [0, plan.partitions.length - 1];
    this.cursor = null;
    this.brush = null;
    this.setTop();
  }

  // The axis ends above the budget, unless that would leave the layers a thin strip.
  setTop() {
    const most = Math.max(this.plan.peak_bytes, ...this.stacks.map((stack) => stack.total));
    this.far = this.plan.budget_bytes > 2 * most;
    this.top = Math.max(1, (this.far ? most : Math.max(most, this.plan.budget_bytes)) * 1.06);
  }

  isWhole() {
    return this.view[1] - this.view[0] >= this.scale.end * (1 - 1e-9);
  }

  measure() {
    this.width = this.plot.clientWidth;
    this.height = this.plot.clientHeight;
  }

  toScreen(x) {
    const part = (x - this.view[0]) / (this.view[1] - this.view[0]);
    return LEFT + part * (this.width - LEFT - RIGHT);
  }

  fromScreen(px) {
    const part = (px - LEFT) / Math.max(1, this.width - LEFT - RIGHT);
    return this.view[0] + Math.max(0, Math.min(1, part)) * (this.view[1] - this.view[0]);
  }

  toHeight(bytes) {
    return this.height - BOTTOM - (bytes / this.top) * (this.height - TOP - BOTTOM);
  }

  draw() {
    this.measure();
    if (!this.width) return;
    const first = this.scale.indexAt(this.view[0]);
    let last = this.scale.indexAt(this.view[1]);
    // A view that ends on an edge does not show the partition behind it.
    if (last > first && this.scale.edges[last] >= this.view[1]) last -= 1;
    this.shown = [first, last];
    this.plot.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.plot.replaceChildren(
      this.drawDefs(), this.drawGrid(), this.drawLayers(), this.drawTimes(), this.drawLimits(),
      (this.marks = shape("g")),
    );
    this.drawMarks();
    this.drawOverview();
  }

  drawDefs() {
    const box = { x: LEFT, y: 0, width: this.width - LEFT - RIGHT, height: this.height - BOTTOM };
    return shape("defs", {}, shape("clipPath", { id: "inside" }, shape("rect", box)));
  }

  drawGrid() {
    const group = shape("g");
    const step = roundStep(this.top / MIB, this.height / 60) * MIB;
    for (let bytes = 0; bytes <= this.top; bytes += step) {
      const y = this.toHeight(bytes);
      group.append(
        shape("line", { class: bytes ? "grid" : "axis", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }),
        shape("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, gridText(bytes, step)),
      );
    }
    return group;
  }

  drawLayers() {
    const group = shape("g", { "clip-path": "url(#inside)" });
    const [first, last] = this.shown;
    const xs = [];
    for (let i = first; i <= last + 1; i += 1) xs.push(this.toScreen(this.scale.edges[i]));
    LAYERS.forEach(([name], layer) => {
      let up = "";
      let back = "";
      for (let i = first; i <= last; i += 1) {
        const [a, b] = [xs[i - first].toFixed(2), xs[i - first + 1].toFixed(2)];
        const { sums } = this.stacks[i];
        const [low, high] = [this.toHeight(sums[layer]), this.toHeight(sums[layer + 1])];
        up += `${up ? "L" : "M"}${a} ${high.toFixed(2)}H${b}`;
        back = `L${b} ${low.toFixed(2)}H${a}${back}`;
      }
      group.append(shape("path", { class: `layer ${name}`, d: `${up}${back}Z` }));
    });
    if ((this.width - LEFT) / (last - first + 1) > 6) {
      const seams = xs.slice(1, -1).map((x) => `M${x.toFixed(2)} ${this.toHeight(0)}V${TOP}`);
      group.append(shape("path", { class: "seam", d: seams.join("") || "M0 0" }));
    }
    return group;
  }

  drawTimes() {
    const group = shape("g");
    const y = this.height - BOTTOM + 18;
    const [low, high] = this.view;
    const n = Math.max(2, this.width / 90);
    if (this.scale.byTime) {
      const unit = high < 2e-3 ? [1e6, "µs"] : high < 2 ? [1e3, "ms"] : [1, "s"];
      const step = roundStep((high - low) * unit[0], n);
      for (let t = Math.ceil((low * unit[0]) / step) * step; t <= high * unit[0]; t += step) {
        this.drawTick(group, this.toScreen(t / unit[0]), y, `${+t.toPrecision(6)} ${unit[1]}`);
      }
      return group;
    }
    const [first, last] = this.shown;
    const step = Math.max(1, roundStep(high - low, n));
    for (let i = first; i <= last; i += 1) {
      const x = this.toScreen(i + 0.5);
      const wanted = (i + 1) % step === 0 || (i === 0 && step <= 5);
      if (wanted && x >= LEFT && x <= this.width - RIGHT) this.drawTick(group, x, y, String(i + 1));
    }
    return group;
  }

  drawTick(group, x, y, text) {
    const base = this.height - BOTTOM;
    group.append(
      shape("line", { class: "axis", x1: x, x2: x, y1: base, y2: base + 5 }),
      shape("text", { x, y, "text-anchor": x > this.width - 40 ? "end" : "middle" }, text),
    );
  }

  drawLimits() {
    const group = shape("g");
    const { budget_bytes: budget, peak_bytes: peak } = this.plan;
    const [x1, x2] = [LEFT, this.width - RIGHT];
    const budgetY = this.far ? TOP - 2 : this.toHeight(budget);
    const peakY = this.toHeight(peak);
    if (!this.far) group.append(shape("line", { class: "limit", x1, x2, y1: budgetY, y2: budgetY }));
    // Two dashed lines on one another would be neither.
    if (Math.abs(peakY - budgetY) > 3) {
      group.append(shape("line", { class: "peak-line", x1, x2, y1: peakY, y2: peakY }));
    }
    group.append(
      shape("text", { class: "limit-text", x: x2 - 6, y: budgetY - 6, "text-anchor": "end" },
        `budget ${bytesText(budget)}${this.far ? " ↑" : ""}`),
    );
    // Beside the budget's words where the two lines are too close for words between them.
    const close = Math.abs(peakY - budgetY) < 20;
    group.append(shape("text", { class: "peak-text", x: LEFT + 4, y: (close ? Math.min(peakY, budgetY) : peakY) - 6 },
      `${this.width > 420 ? "predicted " : ""}peak ${bytesText(peak)}`));
    return group;
  }

  // Cursor and brush change often; the layers below them stay.
  drawMarks() {
    this.marks.replaceChildren();
    if (this.cursor !== null) {
      const a = Math.max(LEFT, this.toScreen(this.scale.edges[this.cursor]));
      const b = Math.min(this.width - RIGHT, this.toScreen(this.scale.edges[this.cursor + 1]));
      const box = { x: a, y: TOP, height: this.height - TOP - BOTTOM };
      this.marks.append(
        b - a > 3
          ? shape("rect", { class: "cursor", ...box, width: b - a })
          : shape("line", { class: "cursor-line", x1: a, x2: a, y1: TOP, y2: this.height - BOTTOM }),
      );
    }
    if (this.brush && Math.abs(this.brush[1] - this.brush[0]) > 3) {
      const [a, b] = [...this.brush].sort((p, q) => p - q);
      const y = { y: TOP, height: this.height - TOP - BOTTOM };
      this.marks.append(shape("rect", { class: "brush", x: a, width: b - a, ...y }));
    }
  }

  drawOverview() {
    const [width, height] = [this.overview.clientWidth, this.overview.clientHeight];
    if (!width) return;
    const inner = width - LEFT - RIGHT;
    const x = (value) => LEFT + (value / this.scale.end) * inner;
    // What changes from partition to partition, and nothing of what stands still.
    const most = Math.max(1, ...this.plan.partitions.map((part) => part.activation_bytes + flightOf(this.plan, part)));
    const outline = (bytesOf) => this.plan.partitions.reduce((d, part, i) => {
      const y = height - (bytesOf(part) / most) * (height - 4);
      return `${d}V${y.toFixed(1)}H${x(this.scale.edges[i + 1]).toFixed(1)}`;
    }, `M${LEFT} ${height}`) + `V${height}Z`;
    const [a, b] = this.view.map(x);
    this.overview.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.overview.replaceChildren(
      shape("path", { class: "activations", d: outline((part) => part.activation_bytes + flightOf(this.plan, part)) }),
      shape("path", { class: "flight", d: outline((part) => flightOf(this.plan, part)) }),
      shape("rect", { class: "outside", x: LEFT, y: 0, width: Math.max(0, a - LEFT), height }),
      shape("rect", { class: "outside", x: b, y: 0, width: Math.max(0, LEFT + inner - b), height }),
      shape("rect", { class: "window", x: a, y: 1, width: Math.max(2, b - a), height: height - 2, rx: 4 }),
    );
  }
}

// Sums of the layers from the ground up, sums[i] to sums[i + 1] is layer i.
function stackOf(plan, part) {
  const flight = flightOf(plan, part);
  const sizes = [
    plan.floor_bytes, plan.session_bytes, plan.resident_bytes,
    flight, plan.buffer_bytes - flight, part.activation_bytes,
  ];
  const sums = [0];
  for (const size of sizes) sums.push(sums[sums.length - 1] + size);
  return { sums, total: sums[sums.length - 1] };
}

function flightOf(plan, part) {
  return part.resident ? 0 : Math.min(part.weight_bytes, plan.buffer_bytes);
}

function gridText(bytes, step) {
  if (!bytes) return "0";
  return step >= MIB ? `${Math.round(bytes / MIB)} MiB` : bytesText(bytes);
}
