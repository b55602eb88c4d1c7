
// Bars in groups, a value on each: one panel of a figure. What a bar is, stands in the
// legend; what it was made of, stands beside the pointer.

const EDGE = { top: 20, right: 4, left: 52 };
const HATCHES = {
  "entire-memory-tee": "lines",
  "entire-disk-plain-tls": "dots",
  "partitions-disk-tee": "back-lines",
};
const LETTER = 6.4;

function msText(ms) {
  if (ms < 9.995) return ms.toFixed(2);
  if (ms < 99.95) return ms.toFixed(1);
  return Math.round(ms).toLocaleString("en-US");
}

class Bars {
  constructor(host, chart) {
    this.host = host;
    this.chart = chart;
    this.isLog = false;
    this.plot = shape("svg", { "aria-hidden": "true" });
    this.tip = element("div", { class: "tip", hidden: "" });
    host.append(this.plot, this.tip);
    const runs = chart.values.flat().filter(Boolean).flatMap((bar) => bar.runs);
    this.most = Math.max(...runs, 0);
    this.least = Math.min(...runs.filter((ms) => ms > 0), this.most || 1);
    host.addEventListener("pointermove", (event) => this.point(event));
    host.addEventListener("pointerdown", (event) => this.point(event));
    host.addEventListener("pointerleave", () => this.leave());
    new ResizeObserver(() => this.draw()).observe(host);
    this.draw();
  }

  setScale(isLog) {
    this.isLog = isLog;
    this.draw();
  }

  draw() {
    this.width = this.host.clientWidth;
    this.height = this.host.clientHeight;
    this.room = this.width - EDGE.left - EDGE.right;
    this.group = this.room / this.chart.groups.length;
    this.bar = (this.group * 0.88) / this.chart.bars.length;
    this.fitNames();
    this.measure();
    this.plot.replaceChildren();
    this.leave();
    this.drawScale();
    this.chart.groups.forEach((_, i) => this.drawGroup(i));
  }

  // Names that are wider than their group are broken, and smaller.
  fitNames() {
    const wide = Math.max(...this.chart.groups.map((name) => name.length)) * 7.6 > this.group;
    this.nameStyle = wide ? "group-name narrow" : "group-name";
    this.names = this.chart.groups.map((name) => (wide ? name.split(/ |(?<=-)/) : [name]));
    this.foot = this.height - 12 - 14 * Math.max(...this.names.map((words) => words.length));
  }

  // Whether values fit on their bars decides how they stand, and how much room they take.
  measure() {
    const texts = this.chart.values.flat().filter(Boolean).map((bar) => msText(bar.ms));
    const longest = Math.max(...texts.map((text) => text.length), 1) * LETTER;
    this.stands = longest > this.bar + 2;
    this.head = EDGE.top + (this.stands ? longest : 8);
    this.floor = this.isLog ? 10 ** Math.floor(Math.log10(this.least)) : 0;
    this.ceiling = this.most || 1;
  }

  y(ms) {
    const part = this.isLog
      ? Math.log(Math.max(ms, this.floor) / this.floor) / Math.log(this.ceiling / this.floor || 1)
      : ms / this.ceiling;
    return this.foot - (Number.isFinite(part) ? part : 0) * (this.foot - this.head);
  }

  ticks() {
    const ticks = [];
    if (this.isLog) {
      for (let ms = this.floor; ms <= this.ceiling; ms *= 10) ticks.push(ms);
      return ticks;
    }
    const step = roundStep(this.ceiling, 8);
    for (let i = 0; i * step <= this.ceiling; i += 1) ticks.push(i * step);
    return ticks;
  }

  drawScale() {
    for (const ms of this.ticks()) {
      const y = this.y(ms);
      this.plot.append(
        shape("line", { class: "grid", x1: EDGE.left, x2: this.width - EDGE.right, y1: y, y2: y }),
        this.text(`${Number(ms.toPrecision(6)).toLocaleString("en-US")}`, EDGE.left - 6, y + 4, "", "end"));
    }
    this.plot.append(this.text("ms", EDGE.left - 6, this.head - 14, "", "end"));
  }

  drawGroup(i) {
    const middle = EDGE.left + (i + 0.5) * this.group;
    if (this.chart.values[i].some(Boolean)) {
      this.chart.bars.forEach((bar, k) => this.drawBar(i, k, this.left(i, k), bar));
    } else {
      this.plot.append(this.text("not measured", middle, this.foot - 6, this.nameStyle.replace("group-name", "")));
    }
    this.names[i].forEach((word, line) => {
      this.plot.append(this.text(word, middle, this.foot + 17 + 13 * line, this.nameStyle));
    });
    this.plot.append(shape("line", {
      class: "axis", x1: EDGE.left, x2: this.width - EDGE.right, y1: this.foot, y2: this.foot,
    }));
  }

  left(i, k) {
    return EDGE.left + i * this.group + this.group * 0.06 + k * this.bar;
  }

  drawBar(i, k, left, bar) {
    const value = this.chart.values[i][k];
    const middle = left + this.bar / 2;
    if (!value) {
      this.plot.append(this.standing("not measured", middle, this.foot - 4, ""));
      return;
    }
    const box = { x: left + 1, y: this.y(value.ms), width: Math.max(1, this.bar - 2) };
    box.height = Math.max(1, this.foot - box.y);
    this.plot.append(shape("rect", { class: `face bar-${bar.kind}`, ...box }));
    const hatch = HATCHES[bar.kind];
    if (hatch) this.plot.append(shape("rect", { class: "hatch", fill: `url(#${hatch})`, ...box }));
    const [low, high] = [Math.min(...value.runs), Math.max(...value.runs)].map((ms) => this.y(ms));
    if (low - high > 1) {
      this.plot.append(shape("path", {
        class: "whisker",
        d: `M${middle} ${low}V${high}M${middle - 3} ${high}h6M${middle - 3} ${low}h6`,
      }));
    }
    const style = `value${bar.ours ? " ours" : ""}${this.bar < 14 ? " tight" : ""}`;
    this.plot.append(this.stands
      ? this.standing(msText(value.ms), middle, high - 5, style)
      : this.text(msText(value.ms), middle, high - 5, style));
  }

  text(words, x, y, style, anchor = "middle") {
    return shape("text", { class: style, x, y, "text-anchor": anchor }, words);
  }

  standing(words, x, y, style) {
    return shape("text", { class: style, transform: `translate(${x + 4} ${y}) rotate(-90)` }, words);
  }

  // ---- pointer

  point(event) {
    const at = event.clientX - this.host.getBoundingClientRect().left;
    const i = Math.floor((at - EDGE.left) / this.group);
    const k = Math.floor((at - this.left(i, 0)) / this.bar);
    const value = this.chart.values[i] && this.chart.values[i][k];
    this.leave();
    if (!value) return;
    this.mark = shape("rect", {
      class: "pointed", x: this.left(i, k), y: 0, width: this.bar, height: this.foot,
    });
    this.plot.append(this.mark);
    this.fillTip(this.chart.groups[i], this.chart.bars[k].name, value);
    const wide = this.tip.offsetWidth;
    const x = at + 16 + wide <= this.width ? at + 16 : Math.max(0, at - 16 - wide);
    this.tip.style.left = `${x}px`;
  }

  fillTip(group, name, value) {
    const line = (head, text) => element("tr", {}, element("td", {}, head), element("td", {}, text));
    this.tip.replaceChildren(
      element("h3", {}, group, element("span", {}, `${msText(value.ms)} ms`)),
      element("p", { class: "what" }, name),
      element("table", {}, element("tbody", {},
        line("Runs", value.runs.map(msText).join(" · ")),
        ...value.facts.map(([head, text]) => line(head, text)))));
    this.tip.hidden = false;
  }

  leave() {
    if (this.mark) this.mark.remove();
    this.mark = null;
    this.tip.hidden = true;
  }
}
