// SPDX-License-Identifier: Apache-2.0
// Data: the report, its blocks (base64 of gzip of JSON, decoded when they are needed), series of points, numbers as
// text.

const report = JSON.parse(document.getElementById("report").textContent);
const runs = listOf(report.runs);
const keptSampleBlocks = 8;
const metricsByRun = new Map();
const groupsByBlock = new Map();

function listOf(value) {
  return Array.isArray(value) ? value : [];
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

// The script runs before the parser has reached the blocks; a block is whole once something follows it.
function whenBlock(id) {
  const found = () => {
    const block = document.getElementById(id);
    return block && (block.nextElementSibling || document.readyState !== "loading") ? block : null;
  };
  if (found() || document.readyState !== "loading") return Promise.resolve(found());
  return new Promise((resolve) => {
    const finish = () => {
      if (!found() && document.readyState === "loading") return;
      observer.disconnect();
      document.removeEventListener("DOMContentLoaded", finish);
      resolve(found());
    };
    const observer = new MutationObserver(finish);
    observer.observe(document.body, { childList: true });
    document.addEventListener("DOMContentLoaded", finish);
  });
}

async function blockText(id) {
  const block = await whenBlock(id);
  if (!block) throw new Error(`block ${id} is missing from the page`);
  const binary = atob(block.textContent.trim());
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function metricsOf(run) {
  if (!metricsByRun.has(run)) {
    const reading = run.metrics ? blockText(run.metrics).then(JSON.parse) : Promise.resolve({});
    metricsByRun.set(run, reading.catch((error) => ({ problem: String(error) })));
  }
  return metricsByRun.get(run);
}

function parseGroups(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  return { groups: lines.map((line) => JSON.parse(line)) };
}

function groupsOf(id) {
  const reading = groupsByBlock.get(id) || blockText(id).then(parseGroups);
  groupsByBlock.delete(id);
  groupsByBlock.set(id, reading);
  if (groupsByBlock.size > keptSampleBlocks) groupsByBlock.delete(groupsByBlock.keys().next().value);
  return reading;
}

function hasMetric(metrics, stage, name) {
  const values = metrics && metrics[stage] && metrics[stage].values && metrics[stage].values[name];
  return listOf(values).some(isNumber);
}

function median(numbers) {
  const sorted = [...numbers].sort((left, right) => left - right);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : 1;
}

// A metric written every tenth iteration is a line of its points; a hole in its usual spacing is a gap.
function pointsOf(metrics, stage, name) {
  const column = listOf(metrics[stage].values[name]);
  const known = [];
  listOf(metrics[stage].steps).forEach((step, index) => {
    if (isNumber(step) && isNumber(column[index])) known.push([step, column[index]]);
  });
  known.sort((left, right) => left[0] - right[0]);
  const spacing = median(known.slice(1).map((point, index) => point[0] - known[index][0]));
  const points = { x: [], y: [], spacing };
  known.forEach(([step, value], index) => {
    if (index && step - known[index - 1][0] > 1.9 * spacing) {
      points.x.push(known[index - 1][0] + Math.max(1, Math.round(spacing)));
      points.y.push(null);
    }
    points.x.push(step);
    points.y.push(value);
  });
  return points;
}

// The mean of the last `width` iterations, over those that have a value.
function runningMean(points, width) {
  let first = 0;
  const y = points.y.map((value, index) => {
    if (value === null) return null;
    while (points.x[first] <= points.x[index] - width) first++;
    const inside = points.y.slice(first, index + 1).filter((other) => other !== null);
    return inside.reduce((sum, other) => sum + other, 0) / inside.length;
  });
  return { x: points.x, y };
}

// Columns for uPlot: one common x; undefined where a series has no point of its own (null would be a gap).
function alignColumns(columns) {
  const x = [...new Set(columns.flatMap((column) => column.x))].sort((left, right) => left - right);
  const places = new Map(x.map((value, index) => [value, index]));
  const aligned = columns.map((column) => {
    const values = new Array(x.length).fill(undefined);
    column.x.forEach((value, index) => { values[places.get(value)] = column.y[index]; });
    return values;
  });
  return [x, ...aligned];
}

function wilson(share, count) {
  const z = 1.96;
  const scale = 1 + (z * z) / count;
  const middle = (share + (z * z) / (2 * count)) / scale;
  const half = (z * Math.sqrt((share * (1 - share)) / count + (z * z) / (4 * count * count))) / scale;
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

function formatNumber(value) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return value.toLocaleString("en-US", { notation: "compact", maximumSignificantDigits: 4 });
  if (size >= 1000) return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
  if (size < 1e-3) return value.toExponential(1).replace("e-", "e−").replace(/^-/, "−");
  return String(Number(value.toPrecision(size < 1 ? 3 : 4))).replace(/^-/, "−");
}

function countText(value) {
  return Number(value).toLocaleString("en-US");
}

function formatPercent(value, digits = 1) {
  return isNumber(value) ? `${(value * 100).toFixed(digits)}%` : "–";
}

function formatValue(value, percent) {
  return percent ? formatPercent(value) : formatNumber(value);
}

function shorten(value, limit = 200) {
  const text = typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
  return text.length > limit ? `${text.slice(0, limit)}...` : text;
}

// Run folders end in a time and a code, which say little where the first part already differs.
function runLabel(run) {
  const short = (name) => String(name).replace(/-\d{8}-\d{6}(-\w+)?$/, "");
  const alike = runs.filter((other) => short(other.name) === short(run.name));
  return shorten(alike.length > 1 ? String(run.name) : short(run.name), 60);
}

function stageTitle(stage) {
  if (stage === "ppo") return "PPO";
  return stage === "warm_start" ? "Warm start" : String(stage);
}

function stageUnit(stage) {
  return stage === "warm_start" ? "step" : "iteration";
}
