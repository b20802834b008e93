// SPDX-License-Identifier: Apache-2.0
// The Curves tab: panels of metrics as small multiples, and a list of all other metrics.

const smoothings = [1, 3, 5, 10, 20, 50];
let curvePanels = [];
let curveMetrics = [];
let panelsInView = null;

function hiddenRuns() {
  return new Set(state.hidden ? state.hidden.split(",").map(Number) : []);
}

function shownRuns() {
  const hidden = hiddenRuns();
  return runs.map((run, index) => index).filter((index) => !hidden.has(index));
}

async function drawCurves(root) {
  curveMetrics = await Promise.all(runs.map(metricsOf));
  if (!root.isConnected) return;
  curvePanels = [];
  if (panelsInView) panelsInView.disconnect();
  panelsInView = new IntersectionObserver((entries) => {
    const seen = new Set(entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target));
    curvePanels.filter((item) => seen.has(item.node)).forEach(refreshPanel);
  }, { rootMargin: "300px" });
  const problems = runs.map((run, index) => curveMetrics[index].problem &&
    note(`The metrics of ${runLabel(run)} cannot be read: ${curveMetrics[index].problem}`));
  const panels = listOf(report.panels).filter((panel) => panelHasData(panel));
  root.append(curveControls(), ...problems.filter(Boolean));
  if (!panels.length) root.append(note("No run has metrics for the panels."));
  for (const stage of new Set(panels.map((panel) => panel.stage))) {
    const grid = element("div", { class: "panels" });
    root.append(element("h2", { class: "stage" }, stageTitle(stage), element("small", {}, `by ${stageUnit(stage)}`)),
      grid);
    for (const panel of panels.filter((one) => one.stage === stage)) addPanel(grid, panel);
  }
  root.append(otherMetrics(panels));
  for (const item of curvePanels) if (item.node.getBoundingClientRect().top < window.innerHeight) refreshPanel(item);
}

function panelHasData(panel) {
  const names = Object.keys(panel.metrics || {});
  return curveMetrics.some((metrics) => names.some((name) => hasMetric(metrics, panel.stage, name)));
}

function curveControls() {
  const shown = element("output", {}, smoothingText());
  const slider = element("input", { id: "smoothing", type: "range", min: 0, max: smoothings.length - 1,
    value: Math.max(0, smoothings.indexOf(Number(state.smooth))), oninput: () => {
      remember({ smooth: String(smoothings[Number(slider.value)]) });
      shown.textContent = smoothingText();
      refreshPanels();
    } });
  return element("div", { class: "controls" },
    element("label", { class: "control" }, element("span", {}, "smoothing"), slider, shown),
    checkbox("log", "log scale", state.log === "1", (on) => { remember({ log: on ? "1" : "" }); refreshPanels(); }),
    element("div", { class: "chips", role: "group", "aria-label": "runs shown" }, runs.map(runToggle)),
    element("button", { id: "whole", hidden: !zoomByStage.size,
      onclick: () => [...zoomByStage.keys()].forEach((stage) => zoom(stage, null)) },
      "whole range"),
    element("span", { class: "hint" }, "click: samples · drag: zoom"));
}

function smoothingText() {
  return state.smooth === "1" ? "off" : `mean of ${state.smooth}`;
}

function runToggle(run, index) {
  const button = element("button", { class: "chip", "aria-pressed": String(!hiddenRuns().has(index)),
    title: shorten(run.name),
    onclick: () => {
      const hidden = hiddenRuns();
      if (!hidden.delete(index)) hidden.add(index);
      remember({ hidden: [...hidden].join(",") });
      button.setAttribute("aria-pressed", String(!hidden.has(index)));
      refreshPanels();
    } }, runSwatch(index, runs.length > 1 ? dashes[index % dashes.length] : []), runLabel(run));
  return button;
}

function addPanel(grid, panel) {
  const item = { panel, chart: null, stale: true, input: null, entries: [] };
  item.where = element("span", { class: "where" });
  item.legend = element("div", { class: "legend" });
  item.box = element("div", { class: "chart" });
  item.node = element("section", { class: "panel", tabindex: 0, role: "group", "data-title": panel.title,
    "aria-label": `${panel.title}, ${stageTitle(panel.stage)}`,
    onkeydown: (event) => item.chart && chartKeys(item.chart, item.input, event) },
  element("h3", {}, shorten(panel.title, 90), item.where), item.legend, item.box);
  grid.append(item.node);
  curvePanels.push(item);
  panelsInView.observe(item.node);
  return item;
}

function refreshPanels() {
  for (const item of curvePanels) {
    item.stale = true;
    const box = item.node.getBoundingClientRect();
    if (box.bottom > 0 && box.top < window.innerHeight) refreshPanel(item);
    panelsInView.unobserve(item.node);
    panelsInView.observe(item.node);
  }
}

function refreshPanel(item) {
  if (!item || !item.stale) return;
  item.stale = false;
  removeChart(item.chart);
  item.entries = panelEntries(item.panel);
  item.input = panelInput(item.panel, item.entries);
  item.input.open = (x, series) => openSamples(item.panel.stage, x, series);
  item.input.mark = () => (state.iteration && state.stage === item.panel.stage ? Number(state.iteration) : null);
  item.input.cursor = (index) => showValues(item, index);
  item.box.replaceChildren();
  item.chart = item.entries.length ? drawChart(item.box, item.input) : null;
  if (!item.chart) item.box.append(note("no values in the runs shown"));
  drawLegend(item);
}

// Colors tell runs apart where there is one metric, else metrics; dashes then tell the runs apart.
function panelEntries(panel) {
  const shown = shownRuns();
  const metrics = Object.entries(panel.metrics || {});
  const entries = [];
  metrics.forEach(([name, label], place) => {
    for (const index of shown) {
      if (!hasMetric(curveMetrics[index], panel.stage, name)) continue;
      entries.push({ name, label, runIndex: index, points: pointsOf(curveMetrics[index], panel.stage, name),
        color: `--series-${(metrics.length > 1 ? place : index) % 8}`,
        dash: metrics.length > 1 && shown.length > 1 ? dashes[index % dashes.length] : [] });
    }
  });
  return entries;
}

function panelInput(panel, entries) {
  const input = { stage: panel.stage, range: stageRange(panel.stage), percent: panel.percent, series: [], columns: [],
    bands: [], log: false };
  const oneRun = new Set(entries.map((entry) => entry.runIndex)).size === 1;
  if (panel.kind === "stack" && oneRun) return stackInput(input, entries);
  input.log = state.log === "1" && entries.some((entry) => entry.points.y.some((value) => value > 0));
  const positive = (points) => (input.log ? { ...points, y: points.y.map((value) => (value > 0 ? value : null)) }
    : points);
  const add = (points, series) => { input.columns.push(positive(points)); return input.series.push(series); };
  for (const entry of entries) {
    const { color, dash } = entry;
    entry.read = entry.points;
    const width = Number(state.smooth);
    if (width > entry.points.spacing) {
      add(entry.points, { color, alpha: 0.28, width: 1, entry });
      entry.read = { ...entry.points, ...runningMean(entry.points, width) };
      add(entry.read, { color, dash, width: 2, entry });
      continue;
    }
    const bounds = panel.interval && !input.log && intervalOf(panel, entry);
    if (bounds) input.bands.push([add(bounds.high, { color, silent: true }), add(bounds.low, { color, silent: true }),
      color]);
    add(entry.points, { color, dash, entry });
  }
  return input;
}

// Areas lie on each other: the sums are drawn from the highest down, each over the one behind.
function stackInput(input, entries) {
  const [x, ...known] = alignColumns(entries.map((entry) => entry.points));
  const columns = known.map((column) => runningMean({ x, y: column.map((value) => value || 0) },
    Number(state.smooth)).y);
  input.fromZero = true;
  const sums = new Array(x.length).fill(0);
  entries.forEach((entry, place) => {
    const y = x.map((value, index) => {
      sums[index] += columns[place][index];
      return sums[index];
    });
    entry.read = Number(state.smooth) > 1 ? { x, y: columns[place], spacing: 1 } : entry.points;
    input.columns.unshift({ x, y });
    input.series.unshift({ color: entry.color, area: true, width: 1, entry });
  });
  return input;
}

// Panels of a stage have the same x, so that a cursor stands at the same place in all of them.
function stageRange(stage) {
  const steps = shownRuns().flatMap((index) => listOf((curveMetrics[index][stage] || {}).steps)).filter(isNumber);
  return steps.reduce(([low, high], step) => [Math.min(low, step), Math.max(high, step)], [Infinity, -Infinity]);
}

function intervalOf(panel, entry) {
  const { points, runIndex } = entry;
  const counts = panel.interval === "prompts" ? null : curveMetrics[runIndex][panel.stage].values[panel.interval];
  const steps = listOf(curveMetrics[runIndex][panel.stage].steps);
  const countAt = counts ? new Map(steps.map((step, index) => [step, counts[index]])) : null;
  const everywhere = panel.interval === "prompts" ? runs[runIndex].prompts_per_iteration : 0;
  const known = points.x.map((step) => (countAt ? countAt.get(step) : everywhere));
  if (!known.some((count) => count > 0)) return null;
  const isShare = (value) => isNumber(value) && value >= 0 && value <= 1;
  const boundsOf = (value, count) => (isShare(value) && count > 0 ? wilson(value, count) : null);
  const bounds = points.y.map((value, index) => boundsOf(value, known[index]));
  const side = (place) => ({ x: points.x, y: bounds.map((bound) => bound && bound[place]) });
  return { low: side(0), high: side(1) };
}

// One legend item a line, or a metric with a value for each run.
function drawLegend(item) {
  const byColor = new Map();
  for (const entry of item.entries) {
    if (!byColor.has(entry.color + entry.name)) byColor.set(entry.color + entry.name, []);
    byColor.get(entry.color + entry.name).push(entry);
  }
  const severalMetrics = Object.keys(item.panel.metrics || {}).length > 1;
  item.legend.replaceChildren(...[...byColor.values()].map((entries) => {
    const [first] = entries;
    for (const entry of entries) entry.shown = element("b", { title: shorten(runs[entry.runIndex].name) });
    const text = severalMetrics || runs.length === 1 ? shorten(first.label || first.name, 60)
      : runLabel(runs[first.runIndex]);
    const meaning = (report.meanings || {})[first.name];
    return element("span", { class: "key", title: `${first.name}${meaning ? `: ${meaning}` : ""}` },
      element("i", { style: { background: `var(${first.color})` } }), element("span", { class: "label" }, text),
      entries.map((entry, place) => [place ? "/" : "", entry.shown]));
  }));
  showValues(item, null);
}

function showValues(item, index) {
  const at = item.chart && isNumber(index) ? item.chart.data[0][index] : null;
  item.where.textContent = at === null ? "" : `${stageUnit(item.panel.stage)} ${at}`;
  for (const entry of item.entries) {
    const { y } = entry.read;
    const value = at === null ? y[y.length - 1] : valueNear(entry.read, at);
    entry.shown.textContent = formatValue(value, item.panel.percent);
  }
}

// Between two evaluations, the nearer one is shown.
function valueNear({ x, y, spacing }, at) {
  let best = null;
  x.forEach((step, index) => {
    const distance = Math.abs(step - at);
    if (distance <= spacing / 2 && (!best || distance < best.distance)) best = { distance, value: y[index] };
  });
  return best ? best.value : null;
}

function openSamples(stage, x, series) {
  const wanted = series && series.entry ? runs[series.entry.runIndex] : null;
  const run = [wanted, ...runs].find((one) => one && listOf(one.samples).some((logged) => logged[0] === stage));
  if (!run) return say(`No samples of ${stageTitle(stage)} are logged.`);
  const steps = run.samples.filter((logged) => logged[0] === stage).map((logged) => logged[1]);
  const nearest = steps.reduce((best, step) => (Math.abs(step - x) < Math.abs(best - x) ? step : best));
  goTo({ tab: "samples", run: String(run.name), stage, iteration: String(nearest), sample: "" });
}

function otherMetrics(panels) {
  const inPanels = new Set(panels.flatMap((panel) => Object.keys(panel.metrics)
    .map((name) => `${panel.stage} ${name}`)));
  const names = new Map();
  for (const metrics of curveMetrics) {
    for (const stage of Object.keys(metrics)) {
      for (const name of Object.keys((metrics[stage] || {}).values || {})) {
        const key = `${stage} ${name}`;
        if (!inPanels.has(key) && hasMetric(metrics, stage, name)) names.set(key, [stage, name]);
      }
    }
  }
  if (!names.size) return element("span");
  const rows = [...names.values()].map(([stage, name]) => metricRow(stage, name));
  const filter = (text) => {
    for (const row of rows) row.hidden = !row.dataset.words.includes(text.toLowerCase().trim());
  };
  return element("section", { class: "others" },
    element("h2", {}, "All metrics", element("small", {}, `${rows.length} more; open one to draw it`)),
    textField("metric-filter", "filter by name or meaning", "", filter),
      element("div", { class: "metric-list" }, rows));
}

function metricRow(stage, name) {
  const meaning = (report.meanings || {})[name] || "";
  const key = `${stage}:${name}`;
  const opened = () => new Set(state.metrics ? state.metrics.split(",") : []);
  const grid = element("div", { class: "panels" });
  const details = element("details", { open: opened().has(key),
    "data-words": `${stage} ${name} ${meaning}`.toLowerCase(), ontoggle: () => {
    const open = opened();
    if (details.open) open.add(key);
    else open.delete(key);
    remember({ metrics: [...open].join(",") });
    if (!details.open || grid.children.length) return;
    addPanel(grid, { title: name, stage, metrics: { [name]: name }, kind: "lines" });
  } }, element("summary", {}, element("code", {}, shorten(name, 80)),
    element("span", { class: "meaning" }, shorten(meaning, 300)),
    stage === "ppo" ? null : element("em", {}, stageTitle(stage))), grid);
  return details;
}
