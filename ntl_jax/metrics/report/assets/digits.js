// SPDX-License-Identifier: Apache-2.0
// The Digits tab: which digit the policy expects where another is true, how far its probabilities hold, and where it
// errs.

async function drawDigits(root) {
  const run = currentRun();
  const digits = run.digits;
  const controls = element("div", { class: "controls" },
    runChoice(run, (other) => goTo({ run: String(other.name), window: "all" })));
  root.append(controls);
  if (!digits || !listOf(digits.iterations).length) {
    root.append(note("This run has no digits to show: it ran without NTL, "
      + "or its logged samples hold no captured digit probabilities."));
    return;
  }
  const windows = digits.iterations;
  const body = element("div", { class: "digits" });
  const shown = element("output");
  const slider = element("input", { id: "window", type: "range", min: 0, max: windows.length,
    oninput: () => show(Number(slider.value)) });
  slider.value = String(state.window === "all" ? 0 : Math.min(windows.length, Number(state.window) || 0));
  const show = (value) => {
    remember({ window: value ? String(value) : "all" });
    shown.textContent = value ? `iterations ${windows[value - 1].join("–")}`
      : `all iterations (${windows.length} windows)`;
    hideTooltip();
    body.replaceChildren(...digitPictures(digits, value ? [value - 1] : windows.map((window, index) => index)));
  };
  if (windows.length > 1) controls.append(element("label", { class: "control" }, element("span", {}, "window"), slider,
    shown));
  root.append(body);
  show(Number(slider.value));
  tooltipFor(body, "[data-hint]", (anchor) => anchor.dataset.hint.split("\n").map((line) => element("div", {}, line)));
  if (windows.length > 1) movement(root, digits);
}

// Sums an array of numbers, nested to any depth, over the chosen windows.
function sumOver(windows, chosen) {
  const add = (left, right) => {
    if (Array.isArray(right)) return right.map((item, index) => add(Array.isArray(left) ? left[index] : null, item));
    return (isNumber(left) ? left : 0) + (isNumber(right) ? right : 0);
  };
  return chosen.map((index) => listOf(windows)[index])
    .reduce((sum, window) => (window ? add(sum, window) : sum), null) || [];
}

function digitPictures(digits, chosen) {
  const confusion = sumOver(digits.confusion, chosen);
  const maps = listOf(digits.places).map((place, index) => heatmap(place, listOf(confusion[index]))).filter(Boolean);
  return [
    element("h2", {}, "Expected digit, by true digit",
      element("small", {}, "percent of a row; expected: the mean under the ten probabilities, rounded")),
    maps.length ? element("div", { class: "heatmaps" }, maps) : note("No digits with a true value in this window."),
    element("div", { class: "measures" },
      element("section", {}, element("h2", {}, "Calibration", element("small", {}, "of the ten digits' probabilities")),
        reliability(sumOver(digits.calibration, chosen))),
      element("section", {},
        element("h2", {}, "Right by place", element("small", {}, "the likeliest digit is the true one")),
        shareBars(listOf(digits.places), sumOver(digits.by_place, chosen), "digits")),
      element("section", {},
        element("h2", {}, "Right by length", element("small", {}, "digits before the decimal point of the number")),
        shareBars(listOf(digits.lengths), sumOver(digits.by_length, chosen), "digits"))),
  ];
}

function heatmap(place, counts) {
  const total = counts.flat().reduce((sum, count) => sum + count, 0);
  if (!total) return null;
  const range = [...Array(10).keys()];
  const head = element("tr", {}, element("td", { class: "corner" }),
    range.map((digit) => element("th", { scope: "col" }, String(digit))));
  const rows = range.map((truth) => {
    const row = listOf(counts[truth]);
    const size = row.reduce((sum, count) => sum + count, 0);
    return element("tr", {}, element("th", { scope: "row" }, String(truth)), range.map((expected) => {
      const count = row[expected] || 0;
      const share = size ? count / size : 0;
      const percent = Math.round(share * 100);
      return element("td", { class: share > 0.55 ? "strong" : null,
        style: { "--share": `${Math.round(Math.sqrt(share) * 100)}%` },
        "data-hint": `true ${truth}, expected ${expected}\n`
          + `${countText(count)} of ${countText(size)}: ${formatPercent(share)}` },
      percent ? String(percent) : "");
    }));
  });
  const right = range.reduce((sum, digit) => sum + (listOf(counts[digit])[digit] || 0), 0);
  return element("figure", { class: "heatmap" },
    element("figcaption", {}, element("b", {}, place),
      ` ${formatPercent(right / total)} on the diagonal, ${countText(total)} digits`),
    element("div", { class: "axis" }, "expected →"),
    element("table", { "aria-label": `true digit by expected digit, ${place}` }, head, rows),
    element("div", { class: "axis down" }, "true ↓"));
}

function calibrationError(bins) {
  const total = bins.reduce((sum, bin) => sum + bin[0], 0);
  return total ? bins.reduce((sum, [count, probability, hits]) => sum + Math.abs(probability - hits), 0) / total : null;
}

// Points: how often a digit is true, by its mean probability; below, the size of each bin.
// Nearly all of the ten are near 0, so that only a logarithm shows the other bins.
function reliability(bins) {
  const known = bins.filter((bin) => Array.isArray(bin) && bin[0] > 0);
  if (!known.length) return note("No digits in this window.");
  const most = Math.max(...known.map((bin) => bin[0]));
  const x = (share) => 34 + share * 240;
  const y = (share) => 190 - share * 180;
  const parts = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    drawing("line", { class: "grid", x1: x(0), x2: x(1), y1: y(share), y2: y(share) }),
    drawing("text", { x: x(0) - 6, y: y(share) + 3, "text-anchor": "end" }, `${share * 100}%`),
    drawing("text", { x: x(share), y: 246, "text-anchor": "middle" }, `${share * 100}%`)]);
  parts.push(drawing("line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  const points = [];
  bins.forEach((bin, index) => {
    if (!Array.isArray(bin) || !(bin[0] > 0)) return;
    const [count, probability, hits] = bin;
    const mean = probability / count;
    points.push(`${x(mean)},${y(hits / count)}`);
    const height = Math.max(1, (Math.log1p(count) / Math.log1p(most)) * 34);
    const hint = `probability ${formatPercent(mean)}\ntrue ${formatPercent(hits / count)}\n`
      + `${countText(count)} probabilities`;
    parts.push(drawing("rect", { class: "count", x: x(index / 10) + 1, width: 22, y: 232 - height, height }),
      drawing("circle", { class: "point", cx: x(mean), cy: y(hits / count), r: 3.5 }),
      drawing("rect", { class: "catch", x: x(index / 10), width: 24, y: y(1), height: 226, tabindex: 0,
        "data-hint": hint }));
  });
  parts.splice(16, 0, drawing("polyline", { class: "line", points: points.join(" ") }));
  return element("div", { class: "reliability" },
    drawing("svg", { viewBox: "0 0 290 252", role: "img", "aria-label": "how often digits are true, by probability" },
      parts),
    element("p", { class: "small" }, "how often true, by probability; bars: count, log scale; ",
      `mean gap ${formatPercent(calibrationError(known))}`));
}

function shareBars(names, pairs, unit) {
  const rows = names.map((name, index) => [name, listOf(pairs[index])]).filter(([, pair]) => pair[1] > 0);
  if (!rows.length) return note("No numbers in this window.");
  return element("div", { class: "bars" }, rows.map(([name, [right, count]]) => {
    const share = right / count;
    const percent = (value) => `${value * 100}%`;
    return element("div", { class: "bar-row", tabindex: 0,
      "data-hint": `${name}: ${countText(right)} of ${countText(count)} ${unit} right\n`
        + formatPercent(share) },
    element("span", { class: "name" }, name),
    element("span", { class: "track" },
      element("i", { class: "share", style: { width: percent(share) } })),
    element("span", { class: "value" }, formatPercent(share)),
    element("span", { class: "count" }, countText(count)));
  }));
}

// The same measures, window by window.
function movement(root, digits) {
  const x = digits.iterations.map(([first, last]) => (first + last) / 2);
  const shares = (values, names) => listOf(names).map((name, place) => ({ name,
    y: x.map((middle, index) => {
      const [right, count] = listOf(listOf(listOf(values)[index])[place]);
      return count > 0 ? right / count : null;
    }) }));
  const distances = listOf(digits.places).map((name, place) => ({ name,
    y: x.map((middle, index) => meanDistance(listOf(listOf(listOf(digits.confusion)[index])[place]))) }));
  const bins = (index) => listOf(listOf(digits.calibration)[index]).filter(Array.isArray);
  const gaps = [{ name: "mean gap", y: x.map((middle, index) => calibrationError(bins(index))) }];
  const grid = element("div", { class: "panels" });
  const pictures = [
    ["Right by place", shares(digits.by_place, digits.places), true],
    ["Right by length of the number", shares(digits.by_length, digits.lengths), true],
    ["Distance of expected and true digit", distances, false],
    ["Calibration gap", gaps, true],
  ];
  root.append(element("h2", {}, "Over the run", element("small", {}, "by the middle of each window of iterations")),
    grid);
  for (const [title, lines, percent] of pictures) movementPanel(grid, title, lines, percent, digits, x);
}

function meanDistance(counts) {
  let sum = 0;
  let total = 0;
  counts.forEach((row, truth) => listOf(row).forEach((count, expected) => {
    sum += count * Math.abs(truth - expected);
    total += count;
  }));
  return total ? sum / total : null;
}

function movementPanel(grid, title, lines, percent, digits, x) {
  const known = lines.filter((line) => line.y.some(isNumber));
  if (!known.length) return;
  const where = element("span", { class: "where" });
  const values = known.map(() => element("b"));
  const legend = element("div", { class: "legend" }, known.map((line, index) => element("span", { class: "key" },
    element("i", { style: { background: seriesColor(index) } }), element("span", { class: "label" }, line.name),
      values[index])));
  const box = element("div", { class: "chart" });
  const input = { stage: "windows", percent, log: false, bands: [],
    series: known.map((line, index) => ({ color: `--series-${index % 8}` })),
    columns: known.map((line) => ({ x, y: line.y })),
    open: (at) => openSamples("ppo", at, null) };
  input.cursor = (index) => {
    const at = isNumber(index) ? index : x.length - 1;
    where.textContent = isNumber(index) ? `iterations ${digits.iterations[at].join("–")}` : "";
    known.forEach((line, place) => { values[place].textContent = formatValue(line.y[at], percent); });
  };
  const panel = element("section", { class: "panel", tabindex: 0, role: "group", "data-title": title,
    "aria-label": title },
    element("h3", {}, title, where), legend, box);
  grid.append(panel);
  const chart = drawChart(box, input);
  input.cursor(null);
  panel.addEventListener("keydown", (event) => chart && chartKeys(chart, input, event));
}
