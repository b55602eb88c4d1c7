
// What a pointer, the wheel, a finger or the keyboard does to the picture: the
// view moves, details show, a partition opens; and the same in words.

class Timeline extends Plot {
  constructor(plan, onOpen) {
    super(plan);
    this.onOpen = onOpen;
    this.host = byId("timeline");
    this.tip = byId("tip");
    this.frame = 0;
    this.tapped = null;
    this.host.setAttribute("aria-valuemin", "1");
    this.host.setAttribute("aria-valuemax", String(plan.partitions.length));
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.host);
    this.draw();
  }

  draw() {
    super.draw();
    this.say();
  }

  setWidths(byTime) {
    const places = this.view.map((x) => this.scale.toPlace(x));
    const whole = this.isWhole();
    this.scale = new Scale(this.plan.partitions, byTime);
    const view = whole ? [0, this.scale.end] : places.map((place) => this.scale.fromPlace(place));
    this.jumpTo(...view);
  }

  jumpTo(low, high) {
    cancelAnimationFrame(this.frame);
    this.view = this.scale.clamp(low, high);
    this.draw();
  }

  // Move to another view, in a few frames where motion is welcome.
  zoomTo(low, high) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.jumpTo(low, high);
      return;
    }
    cancelAnimationFrame(this.frame);
    const from = this.view;
    const to = this.scale.clamp(low, high);
    const begun = performance.now();
    const step = (now) => {
      const part = Math.min(1, Math.max(0, (now - begun) / 160));
      const eased = 1 - (1 - part) ** 3;
      this.view = part === 1 ? to : [0, 1].map((i) => from[i] + (to[i] - from[i]) * eased);
      this.draw();
      if (part < 1) this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  zoomBy(factor, x = (this.view[0] + this.view[1]) / 2) {
    const [low, high] = this.view;
    this.zoomTo(x - (x - low) * factor, x + (high - x) * factor);
  }

  reset() {
    this.zoomTo(0, this.scale.end);
  }

  // ---- what is said in words

  say() {
    const n = this.plan.partitions.length;
    const [first, last] = this.shown;
    const all = this.isWhole();
    byId("range").textContent = all
      ? `All ${n === 1 ? "of the one partition" : `${n} partitions`}`
      : `Partitions ${first + 1} to ${last + 1} of ${n}`;
    byId("zoom-reset").disabled = all;
    byId("zoom-out").disabled = all;
    byId("zoom-in").disabled = this.view[1] - this.view[0] <= this.scale.least * (1 + 1e-9);
    const i = this.cursor === null ? first : this.cursor;
    const part = this.plan.partitions[i];
    this.host.setAttribute("aria-valuenow", String(i + 1));
    this.host.setAttribute("aria-valuetext",
      `Partition ${i + 1}: ${bytesText(this.stacks[i].total)} of ${bytesText(this.plan.budget_bytes)}, ` +
      `${kindOf(part)} weights${part.weight_bytes ? ` ${bytesText(part.weight_bytes)}` : ""}, ` +
      `activations ${bytesText(part.activation_bytes)}, ${timeText(part.time_s + part.stream_s)}`);
  }

  point(index, px) {
    this.cursor = index;
    this.drawMarks();
    this.say();
    if (index === null) {
      this.tip.hidden = true;
      return;
    }
    this.fillTip(index);
    this.tip.hidden = false;
    // Beside the pointer, on the side with room, never beyond the page.
    const { offsetWidth: wide, offsetHeight: high } = this.tip;
    const right = px + 16 + wide <= this.width;
    const left = right ? px + 16 : Math.max(0, px - 16 - wide);
    this.tip.style.left = `${Math.min(left, Math.max(0, this.width - wide))}px`;
    this.tip.style.top = `${Math.max(0, this.height - BOTTOM - high - 12) / 2}px`;
  }

  fillTip(index) {
    const part = this.plan.partitions[index];
    const { sums, total } = this.stacks[index];
    const rows = LAYERS.map(([name, label], i) => [name, label, sums[i + 1] - sums[i]])
      .filter(([name, , bytes]) => bytes > 0 || name === "activations")
      .reverse()
      .map(([name, label, bytes]) => row(
        [element("span", { class: `swatch ${name}` }), label.split(":")[0]], bytesText(bytes)));
    const free = this.plan.budget_bytes - total;
    const body = element("tbody", {}, ...rows);
    body.append(
      row(["Together"], bytesText(total), "total"),
      row([free < 0 ? "Above the budget" : "Below the budget"], bytesText(Math.abs(free))),
      row(["Its own weights"], part.weight_bytes ? `${bytesText(part.weight_bytes)}, ${kindOf(part)}` : "none", "gap"),
      row(["Compute"], timeText(part.time_s)),
    );
    if (part.stream_s > 0) body.append(row(["Read and open"], timeText(part.stream_s)));
    const n = part.operators.length || part.stop - part.start;
    this.tip.replaceChildren(
      element("h3", {}, `Partition ${index + 1}`, element("span", {}, n === 1 ? "1 operator" : `${n} operators`)),
      element("p", { class: "ops" }, element("bdi", {}, typesText(part, 4))),
      element("table", {}, body),
    );
  }

  // ---- pointer, wheel, keyboard

  listen() {
    const at = (event) => event.clientX - this.plot.getBoundingClientRect().left;
    // The wheel zooms only after the pointer has moved here: a page that scrolls
    // under a resting pointer goes on scrolling.
    let armed = false;
    addEventListener("scroll", () => { armed = false; }, { passive: true });
    this.host.addEventListener("pointermove", (event) => {
      armed = true;
      const px = at(event);
      if (this.brush) this.brush[1] = Math.max(LEFT, Math.min(px, this.width - RIGHT));
      this.point(this.scale.indexAt(this.fromScreen(px)), px);
    });
    this.host.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.point(null);
    });
    this.host.addEventListener("blur", () => this.point(null));
    this.host.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.host.setPointerCapture(event.pointerId);
      const px = Math.max(LEFT, Math.min(at(event), this.width - RIGHT));
      this.brush = [px, px];
      this.point(this.scale.indexAt(this.fromScreen(px)), px);
    });
    this.host.addEventListener("pointerup", (event) => this.finishBrush(event));
    this.host.addEventListener("pointercancel", () => { this.brush = null; this.drawMarks(); });
    this.host.addEventListener("wheel", (event) => {
      const outward = event.deltaY > 0;
      if (!armed || (outward && this.isWhole())) return;
      event.preventDefault();
      const factor = Math.exp(Math.max(-1, Math.min(1, event.deltaY / 240)));
      this.zoomBy(factor, this.fromScreen(at(event)));
    }, { passive: false });
    this.host.addEventListener("keydown", (event) => this.onKey(event));
    this.listenOverview();
  }

  finishBrush(event) {
    if (!this.brush) return;
    const [a, b] = [...this.brush].sort((p, q) => p - q);
    this.brush = null;
    this.drawMarks();
    if (b - a > 6) this.zoomTo(this.fromScreen(a), this.fromScreen(b));
    else if (this.cursor !== null) {
      // A finger can't hover: its first tap shows the details, the next one opens.
      const opens = event.pointerType === "mouse" || this.tapped === this.cursor;
      this.tapped = this.cursor;
      if (opens) this.onOpen(this.cursor);
    }
  }

  listenOverview() {
    const move = (event) => {
      if (!(event.buttons & 1)) return;
      const box = this.overview.getBoundingClientRect();
      const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
      const half = (this.view[1] - this.view[0]) / 2;
      const middle = part * this.scale.end;
      this.jumpTo(middle - half, middle + half);
    };
    this.overview.addEventListener("pointerdown", (event) => {
      this.overview.setPointerCapture(event.pointerId);
      move(event);
    });
    this.overview.addEventListener("pointermove", move);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.plan.partitions.length - 1;
    const from = this.cursor === null ? this.shown[0] - 1 : this.cursor;
    const moves = {
      ArrowRight: from + 1, ArrowUp: from + 1, ArrowLeft: from - 1, ArrowDown: from - 1,
      PageDown: from + 10, PageUp: from - 10, Home: 0, End: last,
    };
    if (event.key in moves) this.step(Math.max(0, Math.min(last, moves[event.key])));
    else if (event.key === "+" || event.key === "=") this.zoomBy(0.5, this.middle());
    else if (event.key === "-") this.zoomBy(2, this.middle());
    else if (event.key === "0" || event.key === "Escape") this.reset();
    else if (event.key === "Enter" && this.cursor !== null) this.onOpen(this.cursor);
    else return;
    event.preventDefault();
  }

  middle() {
    if (this.cursor === null) return undefined;
    return (this.scale.edges[this.cursor] + this.scale.edges[this.cursor + 1]) / 2;
  }

  // Go to a partition by key; the view follows if it is out of sight.
  step(index) {
    const [a, b] = [this.scale.edges[index], this.scale.edges[index + 1]];
    const [low, high] = this.view;
    if (a < low || b > high) {
      const half = (high - low) / 2;
      this.jumpTo((a + b) / 2 - half, (a + b) / 2 + half);
    }
    const px = (this.toScreen(a) + this.toScreen(b)) / 2;
    this.point(index, px);
  }
}

function kindOf(part) {
  if (!part.weight_bytes) return "no";
  return part.resident ? "resident" : "streamed";
}

function row(head, value, kind = "") {
  return element("tr", { class: kind }, element("td", {}, ...head), element("td", {}, value));
}
