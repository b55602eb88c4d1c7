
// A cumulative distribution: for each size, the part of all that needs at most so much.

class Curve extends Plot {
  constructor(host, values, limit) {
    super(host);
    this.sizes = [...values].sort((a, b) => a - b);
    this.limit = limit;
    this.low = Math.max(1, Math.min(...this.sizes.filter((size) => size > 0), limit) / 2);
    this.high = Math.max(...this.sizes, limit) * 2;
    this.begin();
  }

  x(size) {
    const part = Math.log(Math.max(size, this.low) / this.low) / Math.log(this.high / this.low);
    return SIDES.left + part * (this.right - SIDES.left);
  }

  y(part) {
    return this.foot - part * (this.foot - SIDES.top);
  }

  draw() {
    this.clear();
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      this.line("grid", SIDES.left, this.y(part), this.right, this.y(part));
      this.words(`${part * 100} %`, SIDES.left - 6, this.y(part) + 4, "end");
    }
    for (let size = 2 ** Math.ceil(Math.log2(this.low)); size < this.high; size *= 2) {
      const power = Math.round(Math.log2(size));
      if (power % (this.width < 500 ? 5 : 2) === 0) {
        this.words(sizeText(size), this.x(size), this.foot + 16, "middle");
      }
    }
    const n = this.sizes.length;
    const steps = this.sizes.map((size, i) => `H${this.x(size).toFixed(2)}V${this.y((i + 1) / n).toFixed(2)}`);
    const path = `M${SIDES.left} ${this.foot}${steps.join("")}H${this.right}`;
    this.picture.append(shape("path", { class: "under", d: `${path}V${this.foot}Z` }), shape("path", { class: "curve", d: path }));
    const limit = this.x(this.limit);
    this.line("limit", limit, SIDES.top, limit, this.foot);
    const below = this.part(this.limit);
    this.words(`EPC ${sizeText(this.limit)}: ${(below * 100).toFixed(below === 1 || !below ? 0 : 1)} % fit`, limit - 6, SIDES.top + 16, "end", "limit-text");
  }

  part(size) {
    return this.sizes.filter((one) => one <= size).length / this.sizes.length;
  }

  at(px) {
    if (px < SIDES.left || px > this.right) return null;
    const part = (px - SIDES.left) / (this.right - SIDES.left);
    const size = Math.round(this.low * (this.high / this.low) ** part);
    const count = Math.round(this.part(size) * this.sizes.length);
    return {
      box: { x: px - 1, width: 2 },
      tip: [element("h3", {}, bytesText(size), element("span", {}, `${(this.part(size) * 100).toFixed(1)} %`)),
        element("p", { class: "what" }, `${count} of ${this.sizes.length} operators need at most this`)],
    };
  }
}

// Sizes without a fraction where they are whole.
function sizeText(n) {
  return bytesText(n).replace(".0 ", " ");
}
