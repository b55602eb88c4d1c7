
"use strict";
// Sizes and times as people read them; the same rules as in the package's Python.

const KIB = 1024;
const MIB = 1024 * KIB;

function bytesText(n) {
  if (n >= MIB) return (n / MIB).toFixed(1) + " MiB";
  if (n >= KIB) return (n / KIB).toFixed(1) + " KiB";
  return n + " B";
}

function timeText(seconds) {
  if (seconds === 0) return "0 s";
  for (const [scale, unit] of [[1e6, "µs"], [1e3, "ms"], [1, "s"]]) {
    const value = seconds * scale;
    if (value < 999.5 || unit === "s") {
      return value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2) + " " + unit;
    }
  }
  return "";
}

// Round steps (1, 2, 5 times a power of ten) for about `n` marks up to `span`.
function roundStep(span, n) {
  const rough = span / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  return power * (lead > 5 ? 10 : lead > 2 ? 5 : lead > 1 ? 2 : 1);
}

// "Conv ×5, Relu ×4": operator types of a partition, most frequent first.
function typesText({ operators, start, stop }, most) {
  if (!operators.length) return `nodes ${start} to ${stop - 1}`;
  const counts = new Map();
  for (const { op_type } of operators) counts.set(op_type, (counts.get(op_type) || 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  const shown = sorted.slice(0, most).map(([name, n]) => (n > 1 ? `${name} ×${n}` : name));
  if (sorted.length > most) shown.push("…");
  return shown.join(", ");
}
