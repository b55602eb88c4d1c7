
// Layers over the operators of a graph, in their order: a step for each, a line for the
// limit, and beside the pointer what one operator is.

const SIDES = { top: 16, right: 6, bottom: 22, left: 62 };

// What all plots have: a drawing as wide as its place, words on it, and a tip.
class Plot {
  constructor(host) {
    this.host = host;
    this.picture = shape("svg", { "aria-hidden": "true" });
    this.tip = element("div", { class: "tip", hidden: "" });
    host.append(this.picture, this.tip);
    host.addEventListener("pointermove", (event) => this.follow(event));
    host.addEventListener("pointerdown", (event) => this.follow(event));
    host.addEventListener("pointerleave", () => this.leave());
  }

  begin() {
    new ResizeObserver(() => this.draw()).observe(this.host);
    this.draw();
  }

  clear() {
    this.width = this.host.clientWidth;
    this.height = this.host.clientHeight;
    this.right = this.width - SIDES.right;
    this.foot = this.height - SIDES.bottom;
    this.picture.replaceChildren();
    this.leave();
  }

  words(text, x, y, anchor, style = "") {
    this.picture.append(shape("text", { class: style, x, y, "text-anchor": anchor }, text));
  }

  line(style, x1, y1, x2, y2) {
    this.picture.append(shape("line", { class: style, x1, y1, x2, y2 }));
  }

  follow(event) {
    const at = event.clientX - this.host.getBoundingClientRect().left;
    this.leave();
    const found = this.at(at);
    if (!found) return;
    this.mark = shape("rect", { class: "pointed", y: SIDES.top, height: this.foot - SIDES.top, ...found.box });
    this.picture.append(this.mark);
    this.tip.replaceChildren(...found.tip);
    this.tip.hidden = false;
    const wide = this.tip.offsetWidth;
    this.tip.style.left = `${at + 16 + wide <= this.width ? at + 16 : Math.max(0, at - 16 - wide)}px`;
  }

  leave() {
    if (this.mark) this.mark.remove();
    this.mark = null;
    this.tip.hidden = true;
  }
}

class Steps extends Plot {
  // layers: [{ kind, values, isStacked }]; text: how a value is written; tip: of an operator.
  constructor(host, { n, text, tip, limit }) {
    super(host);
    Object.assign(this, { n, text, tipOf: tip, limit, layers: [], isLog: false });
  }

  show(layers, isLog = this.isLog, limit = this.limit) {
    const first = !this.layers.length;
    Object.assign(this, { layers, isLog, limit });
    if (first) this.begin();
    else this.draw();
  }

  draw() {
    this.clear();
    const tops = this.layers.reduce((sums, layer) =>
      (layer.isStacked ? sums.map((sum, i) => sum + layer.values[i]) : sums.map((sum, i) => Math.max(sum, layer.values[i]))),
    new Array(this.n).fill(0));
    this.most = Math.max(...tops, this.limit || 0) * 1.06 || 1;
    const least = Math.min(...this.layers.flatMap(({ values }) => values.filter((value) => value > 0)), this.most);
    this.floor = this.isLog ? 10 ** Math.floor(Math.log10(least)) : 0;
    this.drawScale();
    let under = new Array(this.n).fill(0);
    for (const layer of this.layers) {
      const base = layer.isStacked ? under : new Array(this.n).fill(0);
      const top = layer.values.map((value, i) => base[i] + value);
      this.picture.append(shape("path", { class: `${layer.kind} layer`, d: this.area(base, top) }));
      if (layer.isStacked) under = top;
    }
    if (this.limit) {
      this.line("limit", SIDES.left, this.y(this.limit), this.right, this.y(this.limit));
      this.words(`EPC ${this.text(this.limit)}`, this.right - 4, this.y(this.limit) - 5, "end", "limit-text");
    }
  }

  drawScale() {
    const ticks = [];
    if (this.isLog) for (let v = this.floor; v <= this.most; v *= 10) ticks.push(v);
    else {
      const unit = this.most > MIB ? MIB : 1;
      const step = roundStep(this.most / unit, 5) * unit;
      for (let i = 0; i * step <= this.most; i += 1) ticks.push(i * step);
    }
    for (const value of ticks) {
      this.line("grid", SIDES.left, this.y(value), this.right, this.y(value));
      this.words(this.text(value), SIDES.left - 6, this.y(value) + 4, "end");
    }
    this.line("axis", SIDES.left, this.foot, this.right, this.foot);
    this.words("operator 0", SIDES.left, this.foot + 16, "start");
    this.words(`${this.n - 1}`, this.right, this.foot + 16, "end");
  }

  x(i) {
    return SIDES.left + (i / this.n) * (this.right - SIDES.left);
  }

  y(value) {
    const part = this.isLog
      ? Math.log(Math.max(value, this.floor) / this.floor) / Math.log(this.most / this.floor)
      : value / this.most;
    return this.foot - part * (this.foot - SIDES.top);
  }

  area(base, top) {
    const there = top.map((value, i) => `H${this.x(i).toFixed(2)}V${this.y(value).toFixed(2)}H${this.x(i + 1).toFixed(2)}`);
    const back = base.map((value, i) => `V${this.y(value).toFixed(2)}H${this.x(i).toFixed(2)}`).reverse();
    return `M${SIDES.left} ${this.foot}${there.join("")}${back.join("")}Z`;
  }

  at(px) {
    const i = Math.floor(((px - SIDES.left) / (this.right - SIDES.left)) * this.n);
    if (i < 0 || i >= this.n) return null;
    return { box: { x: this.x(i), width: Math.max(2, this.x(i + 1) - this.x(i)) }, tip: this.tipOf(i) };
  }
}
