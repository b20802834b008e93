// SPDX-License-Identifier: Apache-2.0
// Charts: line charts by uPlot, with colors of the theme, cursors and zoom shared by the charts of a stage, and a
// keyboard.

const charts = new Set();
const zoomByStage = new Map();
const resolvedColors = new Map();
const chartHeight = 170;
const integerSteps = [1, 2, 5].flatMap((step) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6].map((scale) => step * scale))
  .sort((left, right) => left - right);
const dashes = [[], [6, 4], [2, 3], [9, 3, 2, 3], [12, 4], [4, 2, 1, 2], [1, 2], [7, 2]];
const chartSizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const chart = target.chart;
    if (chart && target.clientWidth && chart.width !== target.clientWidth) {
      chart.setSize({ width: target.clientWidth, height: chart.height });
    }
  }
});

// A canvas knows no CSS variables: the browser resolves the color on an element.
function paint(variable, alpha = 1) {
  if (!resolvedColors.has(variable)) {
    const probe = element("span", { hidden: true, style: { color: `var(${variable})` } });
    document.body.append(probe);
    resolvedColors.set(variable, getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number));
    probe.remove();
  }
  const [red, green, blue] = resolvedColors.get(variable);
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}

// Where one color lies on another, without letting through what is below.
function paintOver(variable, ground, alpha) {
  paint(variable);
  paint(ground);
  const below = resolvedColors.get(ground);
  const above = resolvedColors.get(variable);
  const mixed = above.map((value, index) => Math.round(value * alpha + below[index] * (1 - alpha)));
  return `rgb(${mixed.join(", ")})`;
}

function repaintCharts() {
  resolvedColors.clear();
  for (const chart of charts) chart.redraw(false, true);
}

function removeChart(chart) {
  if (!chart) return;
  charts.delete(chart);
  chartSizes.unobserve(chart.root.parentNode);
  chart.destroy();
}

function removeAllCharts() {
  for (const chart of [...charts]) removeChart(chart);
}

function yRange({ percent, fromZero, log }) {
  return (chart, low, high) => {
    if (low === null || high === null) return log ? [1, 10] : [0, 1];
    if (log) return low === high ? [low / 2, high * 2] : [low * (low / high) ** 0.06, high * (high / low) ** 0.06];
    if (fromZero) return [0, high * 1.05 || 1];
    if (low === high) {
      const room = Math.abs(low) * 0.1 || 0.5;
      return percent ? [Math.max(0, low - 0.05), Math.min(1, high + 0.05)] : [low - room, high + room];
    }
    const room = (high - low) * 0.08;
    const bottom = low >= 0 && low - room < 0 ? 0 : low - room;
    return [bottom, percent && high <= 1 ? Math.min(1, high + room) : high + room];
  };
}

// Ones, twos and fives of each power of ten; where that leaves too few, evenly spaced round numbers.
function logTicks(low, high) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const powers = [...Array(Math.min(40, last - first + 1)).keys()].map((place) => 10 ** (first + place));
  const inside = (values) => values.filter((value) => value >= low && value <= high);
  const digits = last - first > 4 ? [1] : last - first > 2 ? [1, 3] : [1, 2, 5];
  const ticks = inside(powers.flatMap((power) => digits.map((digit) => Number((digit * power).toPrecision(2)))));
  if (ticks.length > 1) return ticks;
  const wanted = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = power * [5, 2, 1].find((factor) => factor * power <= wanted);
  const start = Math.ceil(low / step);
  return [...Array(Math.min(12, Math.floor(high / step) - start + 1)).keys()]
    .map((place) => Number(((start + place) * step).toPrecision(8)));
}

function tickText(value, percent) {
  if (value === null || value === undefined) return "";
  if (percent) return `${Number((value * 100).toFixed(2))}%`;
  const size = Math.abs(value);
  if (size >= 1e4) return value.toLocaleString("en-US", { notation: "compact", maximumSignificantDigits: 3 });
  if (size && size < 1e-3) return value.toExponential().replace("e-", "e−").replace(/^-/, "−");
  return String(Number(value.toPrecision(6))).replace(/^-/, "−");
}

function chartAxes(input) {
  const common = {
    stroke: () => paint("--muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: () => paint("--grid"), width: 1 },
    ticks: { show: false },
  };
  return [
    { ...common, size: 22, gap: 4, space: 46, incrs: integerSteps, grid: { show: false },
      values: (chart, ticks) => ticks.map((tick) => tickText(tick)) },
    { ...common, size: 48, gap: 6, space: 30,
      ...(input.log ? { splits: (chart, axis, low, high) => logTicks(low, high), filter: (chart, ticks) => ticks }
        : {}),
      values: (chart, ticks) => ticks.map((tick) => tickText(tick, input.percent)) },
  ];
}

function chartSeries(input) {
  return [{}, ...input.series.map((series) => ({
    stroke: () => (series.silent ? "transparent" : paint(series.color, series.alpha)),
    width: series.width || 1.5,
    dash: series.dash,
    fill: series.area ? () => paintOver(series.color, "--ground", 0.55) : undefined,
    points: { show: series.silent || series.alpha || series.area ? false : undefined, size: 4,
      fill: () => paint(series.color) },
    spanGaps: false,
  }))];
}

function drawMark(chart, input) {
  const at = input.mark && input.mark();
  if (!isNumber(at) || at < chart.scales.x.min || at > chart.scales.x.max) return;
  const { ctx, bbox } = chart;
  const x = Math.round(chart.valToPos(at, "x", true));
  const size = 4 * devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = paint("--accent");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(x - size, bbox.top);
  ctx.lineTo(x + size, bbox.top);
  ctx.lineTo(x, bbox.top + 1.5 * size);
  ctx.fill();
  ctx.restore();
}

function zoom(stage, range) {
  if (range) zoomByStage.set(stage, range);
  else zoomByStage.delete(stage);
  for (const chart of charts) if (chart.stage === stage) applyZoom(chart);
  showZoomButton();
}

function showZoomButton() {
  const button = document.getElementById("whole");
  if (button) button.hidden = !zoomByStage.size;
}

function applyZoom(chart) {
  const x = chart.data[0];
  const [low, high] = zoomByStage.get(chart.stage) || chart.range || [x[0], x[x.length - 1]];
  chart.setScale("x", low === high ? { min: low - 1, max: high + 1 } : { min: low, max: high });
}

// The series whose line is nearest to the cursor, of those that have a value there.
function nearestSeries(chart, input) {
  const index = chart.cursor.idx;
  let best = null;
  input.series.forEach((series, place) => {
    const value = chart.data[place + 1][index];
    if (series.silent || !isNumber(value)) return;
    const distance = Math.abs(chart.valToPos(value, "y") - chart.cursor.top);
    if (!best || distance < best.distance) best = { distance, series };
  });
  return best && best.series;
}

// Without a mouse, the first tap reads the values and a second one at the same place opens.
function watchClicks(chart, input) {
  let tapped = null;
  chart.over.addEventListener("click", () => {
    const index = chart.cursor.idx;
    if (index === null || index === undefined || chart.dragged) return;
    const settled = matchMedia("(hover: hover)").matches || tapped === index;
    tapped = index;
    if (settled && input.open) input.open(chart.data[0][index], nearestSeries(chart, input));
  });
}

function chartHooks(input) {
  return {
    setCursor: [(chart) => input.cursor && input.cursor(chart.cursor.left >= 0 ? chart.cursor.idx : null, chart)],
    setSelect: [(chart) => {
      chart.dragged = chart.select.width > 4;
      if (!chart.dragged) return;
      const range = [chart.select.left, chart.select.left + chart.select.width]
        .map((left) => chart.posToVal(left, "x"));
      chart.setSelect({ left: 0, width: 0 }, false);
      zoom(input.stage, range);
    }],
    draw: [(chart) => {
      drawMark(chart, input);
      if (!performance.getEntriesByName("first-curve").length) performance.mark("first-curve");
    }],
  };
}

// input: stage, range (of x), series [{color, alpha, dash, width, area, silent}], columns (points of each series),
// bands [[high, low, color]], percent, log, fromZero, open(x, series), cursor(index), mark().
function drawChart(box, input) {
  const data = alignColumns(input.columns);
  if (!data[0].length) return null;
  const visible = (place) => place > 0 && !input.series[place - 1].silent && !input.series[place - 1].alpha;
  const options = {
    width: box.clientWidth || 300,
    height: chartHeight,
    padding: [8, 16, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false },
      points: { size: (chart, place) => (visible(place) ? 7 : 0), width: 0,
        fill: (chart, place) => paint(input.series[place - 1].color) },
      sync: { key: `stage ${input.stage}`, filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
      bind: { dblclick: () => null,
        mousedown: (chart, target, handler) => (event) => { chart.dragged = false; return handler(event); } },
    },
    scales: { x: { time: false }, y: { distr: input.log ? 3 : 1, range: yRange(input) } },
    axes: chartAxes(input),
    series: chartSeries(input),
    bands: input.bands.map(([high, low, color]) => ({ series: [high, low], fill: () => paint(color, 0.16) })),
    hooks: chartHooks(input),
  };
  const chart = new uPlot(options, data, box);
  chart.stage = input.stage;
  chart.range = input.range;
  box.chart = chart;
  charts.add(chart);
  chartSizes.observe(box);
  applyZoom(chart);
  watchClicks(chart, input);
  return chart;
}

// Left and right move the cursor over the points of a focused chart, Enter opens, Escape leaves.
function chartKeys(chart, input, event) {
  const x = chart.data[0];
  const current = chart.cursor.idx;
  const known = chart.cursor.left >= 0 && isNumber(current);
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const next = known ? current + (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 1) : x.length - 1;
    const index = Math.max(0, Math.min(x.length - 1, next));
    chart.setCursor({ left: chart.valToPos(x[index], "x"), top: chart.over.clientHeight / 2 }, true, true);
  } else if (event.key === "Enter" && known && input.open) {
    input.open(x[current], nearestSeries(chart, input));
  } else if (event.key === "Escape") {
    chart.setCursor({ left: -10, top: -10 }, true, true);
    document.activeElement.blur();
  } else {
    return;
  }
  event.preventDefault();
}
