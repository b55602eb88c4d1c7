
// A figure over the last five minutes: layers on one another, or lines. All charts
// of the page have one axis of time and one cursor.

const EDGE = { left: 54, right: 10, top: 20, bottom: 24 };

class TimeChart {
  // The axis begins at nothing and counts in `unit`, its name and size; without one it is
  // logarithmic, and what stands beside it is what `textOf` makes of a value.
  constructor(title, { unit, textOf, onCursor }) {
    this.title = title;
    this.unit = unit;
    this.textOf = textOf;
    this.onCursor = onCursor;
    this.svg = shape("svg", { class: "chart", role: "img", tabindex: "0" });
    this.tip = element("div", { class: "tip", hidden: "" });
    this.now = element("b");
    this.keys = element("ul", { class: "legend" });
    this.host = element("figure", {},
      element("figcaption", {}, title, " ", this.now),
      element("div", { class: "plot" }, this.svg, this.tip), this.keys);
    this.forget();
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.onCursor(null, this));
    this.svg.addEventListener("blur", () => this.onCursor(null, this));
    this.svg.addEventListener("keydown", (event) => this.press(event));
  }

  forget() {
    this.data = null;
    this.all = [];
    for (const node of [this.svg, this.tip, this.now, this.keys]) node.replaceChildren();
    this.svg.removeAttribute("aria-label");
  }

  // Layers are `{ name, kind, value }`: value gives a number for a sample, or null.
  show(data) {
    this.data = data;
    this.all = data.pieces.flat();
    this.axis = this.unit ? this.plainAxis() : logAxis(this.all.flatMap((sample) => this.valuesOf(sample)));
    this.draw();
    this.showKeys();
  }

  valuesOf(sample) {
    return this.data.layers.map(({ value }) => value(sample)).filter((value) => value !== null);
  }

  plainAxis() {
    const { limit } = this.data;
    const most = Math.max(limit ? limit.value : 0, ...this.all.map((sample) => sumOf(this.valuesOf(sample))));
    const top = (most || this.unit.size) * 1.1;
    return { place: (value) => value / top, marks: (n) => {
      const step = roundStep(top / this.unit.size, n);
      const marks = [];
      for (let i = 0; i * step * this.unit.size <= top; i += 1) marks.push([i * step * this.unit.size, String(+(i * step).toPrecision(4))]);
      return marks;
    } };
  }

  x(at) {
    const inner = this.width - EDGE.left - EDGE.right;
    return EDGE.left + inner * (1 - (this.data.end - at) / KEPT_S);
  }

  y(value) {
    const inner = this.height - EDGE.top - EDGE.bottom;
    return this.height - EDGE.bottom - inner * this.axis.place(value);
  }

  draw() {
    this.width = this.svg.clientWidth;
    this.height = this.svg.clientHeight;
    if (!this.width || !this.data) return;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    const inside = shape("svg", {
      x: EDGE.left, y: 0, width: this.width - EDGE.left - EDGE.right, height: this.height,
      viewBox: `${EDGE.left} 0 ${this.width - EDGE.left - EDGE.right} ${this.height}`,
    }, ...(this.data.isStack ? this.stack() : this.lines()));
    this.marks = shape("g");
    this.svg.replaceChildren(...this.grid(), inside, ...this.limit(), this.marks);
    const last = this.all[this.all.length - 1];
    this.svg.setAttribute("aria-label", last ? `${this.title}: ${this.summary(last)}` : this.title);
  }

  grid() {
    const shapes = [];
    const right = this.width - EDGE.right;
    const ground = this.height - EDGE.bottom;
    shapes.push(shape("line", { class: "axis", x1: EDGE.left, x2: right, y1: ground, y2: ground }));
    for (const [value, text] of this.axis.marks(this.height / 45)) {
      const y = this.y(value);
      if (y < ground) shapes.push(shape("line", { class: "grid", x1: EDGE.left, x2: right, y1: y, y2: y }));
      shapes.push(shape("text", { x: EDGE.left - 7, y: y + 4, "text-anchor": "end" }, text));
    }
    if (this.unit) shapes.push(shape("text", { x: EDGE.left - 7, y: 12, "text-anchor": "end" }, this.unit.name));
    const minutes = this.width > 420 ? [5, 4, 3, 2, 1, 0] : [4, 2, 0];
    for (const n of minutes) {
      const x = this.x(this.data.end - n * 60);
      const anchor = n ? (n === 5 ? "start" : "middle") : "end";
      shapes.push(
        shape("line", { class: "axis", x1: x, x2: x, y1: ground, y2: ground + 4 }),
        shape("text", { x, y: ground + 17, "text-anchor": anchor }, n ? `−${n} min` : "now"),
      );
    }
    return shapes;
  }

  stack() {
    const below = new Map(this.all.map((sample) => [sample, 0]));
    return this.data.layers.map(({ kind, value }) => {
      let path = "";
      for (const piece of this.data.pieces) {
        const up = [];
        const down = [];
        for (const sample of piece) {
          const x = this.x(sample.at).toFixed(1);
          const low = below.get(sample);
          const high = low + (value(sample) || 0);
          below.set(sample, high);
          up.push(`${x} ${this.y(high).toFixed(1)}`);
          down.unshift(`${x} ${this.y(low).toFixed(1)}`);
        }
        path += `M${up.join("L")}L${down.join("L")}Z`;
      }
      return shape("path", { class: `area ${kind}`, d: path || "M0 0" });
    });
  }

  lines() {
    return this.data.layers.flatMap(({ kind, value }) => {
      let path = "";
      const dots = [];
      for (const run of this.data.pieces.flatMap((piece) => runsOf(piece, value))) {
        const points = run.map((sample) => [this.x(sample.at).toFixed(1), this.y(value(sample)).toFixed(1)]);
        path += `M${points.map((point) => point.join(" ")).join("L")}`;
        if (run.length === 1) dots.push(shape("circle", { class: `dot ${kind}`, cx: points[0][0], cy: points[0][1], r: 2.5 }));
      }
      return [shape("path", { class: `line ${kind}`, d: path || "M0 0" }), ...dots];
    });
  }

  limit() {
    if (!this.data.limit) return [];
    const y = this.y(this.data.limit.value);
    return [
      shape("line", { class: "limit", x1: EDGE.left, x2: this.width - EDGE.right, y1: y, y2: y }),
      shape("text", { class: "limit-text", x: this.width - EDGE.right - 4, y: y - 6, "text-anchor": "end" }, this.data.limit.text),
    ];
  }

  summary(sample) {
    const texts = this.data.layers.map(({ name, value }) => [name, value(sample)]);
    if (!this.data.isStack) {
      return texts.filter(([, value]) => value !== null).map(([name, value]) => `${name} ${this.textOf(value)}`).join(", ") || "no requests";
    }
    return this.textOf(sumOf(texts.map(([, value]) => value || 0)));
  }

  showKeys() {
    const last = this.all[this.all.length - 1];
    setText(this.now, last && this.data.isStack ? this.summary(last) : "");
    const wanted = this.data.layers.length > 1 ? this.data.layers : [];
    const items = wanted.map(({ name, kind, value }) => {
      const figure = last ? value(last) : null;
      return element("li", {}, element("span", { class: `swatch ${kind}` }), element("bdi", {}, name),
        element("b", {}, figure === null ? "–" : this.textOf(figure)));
    });
    this.keys.replaceChildren(...items);
  }

  point(event) {
    if (!this.data) return;
    const box = this.svg.getBoundingClientRect();
    const part = (event.clientX - box.left - EDGE.left) / (this.width - EDGE.left - EDGE.right);
    this.onCursor(this.nearest(this.data.end - (1 - part) * KEPT_S), this);
  }

  press(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.onCursor(null, this);
    if (!step || !this.all.length) return;
    event.preventDefault();
    const at = this.all.indexOf(this.cursor);
    const next = at < 0 ? this.all.length - 1 : Math.max(0, Math.min(this.all.length - 1, at + step));
    this.onCursor(this.all[next], this);
  }

  nearest(at) {
    let best = null;
    for (const sample of this.all) {
      if (!best || Math.abs(sample.at - at) < Math.abs(best.at - at)) best = sample;
    }
    return best;
  }

  // A line at one sample, in every chart; its figures, where the pointer is.
  mark(sample, isHere) {
    this.cursor = this.all.includes(sample) ? sample : null;
    this.tip.toggleAttribute("hidden", !this.cursor || !isHere);
    if (!this.marks) return;
    this.marks.replaceChildren();
    if (!this.cursor) return;
    const x = this.x(sample.at);
    this.marks.append(shape("line", { class: "cursor-line", x1: x, x2: x, y1: EDGE.top, y2: this.height - EDGE.bottom }));
    if (isHere) this.fillTip(sample, x);
  }

  fillTip(sample, x) {
    const rows = this.data.layers
      .map((layer) => ({ ...layer, figure: layer.value(sample) }))
      .filter(({ figure }) => figure !== null && (figure > 0 || this.data.layers.length < 4))
      .map(({ name, kind, figure }) => element("tr", {},
        element("td", {}, element("span", { class: `swatch ${kind}` }), element("bdi", {}, name)),
        element("td", {}, this.textOf(figure))));
    const seconds = this.data.end - sample.at;
    const ago = seconds < 1 ? "now" : `${spanText(seconds)} ago`;
    const body = element("tbody", {}, ...(rows.length ? rows : [element("tr", {}, element("td", {}, "no requests"))]));
    this.tip.replaceChildren(element("h3", {}, ago), element("table", {}, body));
    const room = this.width - this.tip.offsetWidth;
    const left = x + 14 > room ? x - this.tip.offsetWidth - 14 : x + 14;
    this.tip.style.transform = `translate(${Math.max(0, Math.min(room, left))}px, ${EDGE.top}px)`;
  }
}

// A logarithmic axis for times: p50 and p99 are often a hundredfold apart.
function logAxis(values) {
  const high = Math.max(...values, values.length ? 0 : 0.1) * 1.25;
  const low = Math.min(high / 10, Math.min(...values, high) / 1.25);
  const span = Math.log(high / low);
  return { place: (value) => Math.log(value / low) / span, marks: () => {
    const leads = span > Math.log(200) ? [1] : span > Math.log(20) ? [1, 3] : [1, 2, 5];
    const marks = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
      for (const lead of leads) {
        const value = lead * 10 ** power;
        if (value >= low && value <= high) marks.push([value, timeText(value).replace(/\.0+ /, " ")]);
      }
    }
    return marks;
  } };
}

// The parts of a piece in which a figure is there.
function runsOf(piece, value) {
  const runs = [];
  let run = [];
  for (const sample of piece) {
    if (value(sample) === null) {
      if (run.length) runs.push(run);
      run = [];
    } else run.push(sample);
  }
  if (run.length) runs.push(run);
  return runs;
}

// Only what has changed is written: a reader's selection and pointer stay where they are.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
