
// Where partitions stand along the x axis: side by side with equal widths, or
// as wide as their times. Both are lists of edges, in partitions or in seconds.

class Scale {
  constructor(partitions, byTime) {
    const total = partitions.reduce((sum, part) => sum + part.time_s + part.stream_s, 0);
    this.byTime = byTime && total > 0;
    this.edges = [0];
    for (const part of partitions) {
      const width = this.byTime ? part.time_s + part.stream_s : 1;
      this.edges.push(this.edges[this.edges.length - 1] + width);
    }
    this.end = this.edges[this.edges.length - 1];
    const widths = partitions.map((_, i) => this.edges[i + 1] - this.edges[i]).filter((w) => w > 0);
    // The narrowest view: the smallest partition and a little around it.
    this.least = Math.min(this.end, Math.max(Math.min(...widths) * 1.5, this.end * 1e-5));
  }

  // The partition at `x`: the last one whose left edge is not beyond it.
  indexAt(x) {
    let low = 0;
    let high = this.edges.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.edges[middle] <= x) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // `x` counted in partitions, and back, so that a view survives a change of scale.
  toPlace(x) {
    const i = this.indexAt(Math.max(0, Math.min(x, this.end)));
    const width = this.edges[i + 1] - this.edges[i];
    return i + (width > 0 ? Math.min(1, (x - this.edges[i]) / width) : 0);
  }

  fromPlace(place) {
    const i = Math.min(Math.floor(place), this.edges.length - 2);
    return this.edges[i] + (place - i) * (this.edges[i + 1] - this.edges[i]);
  }

  // Keep a view inside of the axis and not narrower than is useful.
  clamp(low, high) {
    const width = Math.min(this.end, Math.max(high - low, this.least));
    const middle = (low + high) / 2;
    const start = Math.max(0, Math.min(middle - width / 2, this.end - width));
    return [start, start + width];
  }
}
