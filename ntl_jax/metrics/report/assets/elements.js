// SPDX-License-Identifier: Apache-2.0
// Elements: the one way in which this page makes nodes (data is always text), controls, and the tooltip.

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach((pair) => node.style.setProperty(...pair));
    else node.setAttribute(name, value === true ? "" : value);
  }
  const present = children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);
  node.append(...present);
  return node;
}

function element(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function drawing(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function note(text) {
  return element("p", { class: "note" }, text);
}

// Options are values or [value, text].
function choice(id, label, options, value, choose) {
  const select = element("select", { id, onchange: () => choose(select.value) });
  for (const option of options) {
    const [key, text] = Array.isArray(option) ? option : [option, option];
    select.append(element("option", { value: key, selected: String(key) === String(value) }, text));
  }
  return element("label", { class: "control" }, element("span", {}, label), select);
}

function checkbox(id, label, checked, choose) {
  const box = element("input", { id, type: "checkbox", checked, onchange: () => choose(box.checked) });
  return element("label", { class: "control" }, box, element("span", {}, label));
}

function textField(id, label, value, change) {
  const field = element("input", { id, type: "search", placeholder: label, "aria-label": label, autocomplete: "off",
    spellcheck: "false", value, oninput: () => change(field.value) });
  return field;
}

function runChoice(current, choose) {
  const options = runs.map((run, index) => [index, runLabel(run)]);
  return runs.length > 1 ? choice("run", "run", options, runs.indexOf(current), (index) => choose(runs[Number(index)]))
    : null;
}

function runSwatch(index, dash) {
  const line = drawing("line", { x1: 0, y1: 5, x2: 18, y2: 5,
    "stroke-dasharray": dash && dash.length ? dash.join(" ") : null });
  return drawing("svg", { class: "swatch", viewBox: "0 0 18 10", "aria-hidden": "true",
    style: { stroke: seriesColor(index) } }, line);
}

function seriesColor(index) {
  return `var(--series-${index % 8})`;
}

// A long text is shown from its beginning, with a button for the rest.
function longText(text, limit, tag = "div", attributes = {}) {
  const node = element(tag, attributes, text.length > limit ? `${text.slice(0, limit)}...` : text);
  if (text.length <= limit) return [node];
  const button = element("button", { class: "quiet", onclick: () => { node.textContent = text; button.remove(); } },
    `show all ${text.length.toLocaleString("en-US")} characters`);
  return [node, button];
}

function table(heads, rows, attributes = {}) {
  const head = element("tr", {}, heads.map((text) => element("th", { scope: "col" }, text)));
  return element("div", { class: "wide" }, element("table", attributes, element("thead", {}, head),
    element("tbody", {}, rows)));
}

// Long work is cut into slices, so that the page keeps answering; `current` ends work that nobody waits for anymore.
async function inSlices(items, work, current = () => true) {
  let started = performance.now();
  for (const item of items) {
    if (!current()) return false;
    work(item);
    if (performance.now() - started > 12 && !printing) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      started = performance.now();
    }
  }
  return current();
}

const tooltip = element("div", { class: "tooltip", id: "tooltip", role: "tooltip", hidden: true });
let tooltipAnchor = null;
let printing = false;

function showTooltip(anchor, content) {
  if (!content) return;
  hideTooltip();
  tooltipAnchor = anchor;
  anchor.setAttribute("aria-describedby", "tooltip");
  tooltip.replaceChildren(...[content].flat());
  tooltip.hidden = false;
  // A token that wraps has several boxes; its first one is the one to point at.
  const box = anchor.getClientRects()[0] || anchor.getBoundingClientRect();
  const width = tooltip.offsetWidth;
  const height = tooltip.offsetHeight;
  const left = Math.max(6, Math.min(box.left, document.documentElement.clientWidth - width - 6));
  const below = box.bottom + 6;
  const top = below + height < window.innerHeight ? below : Math.max(6, box.top - height - 6);
  tooltip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

function hideTooltip() {
  if (tooltipAnchor) tooltipAnchor.removeAttribute("aria-describedby");
  tooltipAnchor = null;
  tooltip.hidden = true;
}

// One set of listeners for all that matches inside the container, now or later.
function tooltipFor(container, selector, describe) {
  const show = (event) => {
    const anchor = event.target.closest && event.target.closest(selector);
    if (anchor && anchor !== tooltipAnchor) showTooltip(anchor, describe(anchor));
  };
  const leave = (event) => {
    if (event.pointerType === "touch") return;
    if (tooltipAnchor && !tooltipAnchor.contains(event.relatedTarget)) hideTooltip();
  };
  container.addEventListener("pointerover", show);
  container.addEventListener("focusin", show);
  container.addEventListener("click", show);
  container.addEventListener("pointerout", leave);
  container.addEventListener("focusout", leave);
}

function startTooltip() {
  document.body.append(tooltip);
  document.addEventListener("scroll", hideTooltip, { passive: true, capture: true });
  document.addEventListener("pointerdown", (event) => {
    if (tooltipAnchor && !tooltipAnchor.contains(event.target)) hideTooltip();
  });
}

// Rows of a name and a value, for tooltips and cards.
function facts(pairs) {
  const known = pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== "");
  const rows = known.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element("dl", { class: "facts" }, rows);
}
