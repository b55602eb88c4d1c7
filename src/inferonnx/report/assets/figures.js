
// What two answers of a server say together. Its counts only rise: rates and
// percentiles are differences of a sample and the one ten seconds before it.

const WINDOW_S = 10;
const KEPT_S = 300;
const SHARES = [["p50", 0.5], ["p90", 0.9], ["p99", 0.99]];

const keyOf = (model) => `${model.name} ${model.version} ${model.model_id}`;
const titleOf = (model) => `${model.name} v${model.version}`;
const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);

class History {
  constructor() {
    this.samples = [];
    this.broken = false;
  }

  get last() {
    return this.samples[this.samples.length - 1];
  }

  // What comes next does not join what was: nobody answered in between.
  interrupt() {
    this.broken = true;
  }

  // Add an answer that came at `at`, in seconds of any clock. A server that began anew
  // counts from zero, and so does its history.
  add(status, at) {
    if (this.last && status.uptime_s < this.last.uptime) this.samples = [];
    const sample = {
      at,
      uptime: status.uptime_s,
      cpu: status.cpu_s,
      resident: status.memory.resident_bytes,
      broken: this.broken,
      counts: new Map(status.models.map((model) => [keyOf(model), countsOf(model)])),
      rates: new Map(),
    };
    this.broken = false;
    this.samples.push(sample);
    while (this.samples[0].at < at - KEPT_S - WINDOW_S) this.samples.shift();
    this.compare(sample, this.baseOf(sample));
    return sample;
  }

  // The youngest sample that is ten seconds older, or else the oldest there is. What
  // is older than that has given its counts, and lets them go.
  baseOf(sample) {
    let base = null;
    for (const other of this.samples) {
      if (other === sample || (base && other.at > sample.at - WINDOW_S)) break;
      if (base) base.counts = null;
      base = other;
    }
    return base;
  }

  compare(sample, base) {
    sample.seconds = base ? sample.uptime - base.uptime : 0;
    if (!(sample.seconds > 0)) return;
    sample.cores = Math.max(0, sample.cpu - base.cpu) / sample.seconds;
    for (const [key, counts] of sample.counts) {
      const rates = ratesOf(counts, base.counts.get(key), sample.seconds);
      if (rates) sample.rates.set(key, rates);
    }
    sample.all = togetherOf([...sample.rates.values()]);
  }

  // What is drawn: samples with rates, in pieces that hang together.
  pieces() {
    const pieces = [];
    for (const sample of this.samples) {
      if (!sample.all) continue;
      if (sample.broken || !pieces.length) pieces.push([]);
      pieces[pieces.length - 1].push(sample);
    }
    return pieces;
  }
}

function countsOf(model) {
  return {
    requests: model.requests,
    failed: sumOf(Object.values(model.failures)),
    opened: model.opened_bytes,
    steps: model.latency_steps,
  };
}

// Rates of one model, null where nothing happened. A model that is new counts from zero.
function ratesOf(now, before, seconds) {
  const old = before && before.requests <= now.requests && before.failed <= now.failed
    ? before : { requests: 0, failed: 0, opened: 0, steps: [] };
  const [requests, failed] = [now.requests - old.requests, now.failed - old.failed];
  const opened = Math.max(0, now.opened - old.opened);
  if (!requests && !failed && !opened) return null;
  const was = new Map(old.steps);
  const steps = now.steps.map(([end, n]) => [end, n - (was.get(end) || 0)]).filter(([, n]) => n > 0);
  return {
    requests: requests / seconds, failed: failed / seconds, streamed: opened / seconds,
    steps, ...percentilesOf(steps),
  };
}

function togetherOf(parts) {
  const sums = new Map();
  for (const { steps } of parts) {
    for (const [end, n] of steps) sums.set(end, (sums.get(end) || 0) + n);
  }
  const steps = [...sums].sort((a, b) => a[0] - b[0]);
  return {
    requests: sumOf(parts.map((part) => part.requests)),
    failed: sumOf(parts.map((part) => part.failed)),
    streamed: sumOf(parts.map((part) => part.streamed)),
    ...percentilesOf(steps),
  };
}

// Seconds that a share of the requests kept to: where the step ends in which the last
// of them lies, by the server's own rule. Null where there was no request.
function percentilesOf(steps) {
  const total = sumOf(steps.map(([, n]) => n));
  return Object.fromEntries(SHARES.map(([name, share]) => {
    const wanted = Math.max(1, Math.ceil(share * total - 1e-9));
    let seen = 0;
    const found = steps.find(([, n]) => (seen += n) >= wanted);
    return [name, found ? found[0] / 1e3 : null];
  }));
}

function rateText(n) {
  if (!n) return "0";
  return n.toFixed(n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2);
}

// "3 h 12 min": the two largest units.
function spanText(seconds) {
  const whole = Math.floor(seconds);
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = Math.max(0, units.findIndex(([, n]) => whole >= n));
  if (whole < 1) return "0 s";
  return units.slice(first, first + 2).map(([unit, n], i) => {
    const bound = i ? units[first][1] : Infinity;
    return [Math.floor((whole % bound) / n), unit];
  }).filter(([n]) => n).map(([n, unit]) => `${n} ${unit}`).join(" ");
}
