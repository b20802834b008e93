// SPDX-License-Identifier: Apache-2.0
// The page: its state (kept in the hash), header, tabs, keyboard, theme, live reload and start.

const stateDefaults = { tab: "curves", run: "", stage: "", iteration: "", sample: "", filter: "all",
  color: "probability", search: "", everywhere: "", smooth: "1", log: "", hidden: "", metrics: "", window: "all",
  settings: "", find: "" };
const state = { ...stateDefaults };
const tabs = [
  ["curves", "Curves", drawCurves],
  ["digits", "Digits", drawDigits],
  ["samples", "Samples", drawSamples],
  ["events", "Events", drawEvents],
  ["settings", "Settings", drawSettings],
];
const keyboardHelp = [
  ["1 – 5", "views"], [", .", "previous and next logged iteration (Samples)"], ["/", "search (Samples) or filter"],
  ["t", "light or dark"], ["?", "this help"],
  ["← →", "move the cursor of a focused chart (with Shift by ten), or between tokens"],
  ["Enter", "open the samples at the cursor of a chart"], ["Esc", "leave a chart, close this"],
];
const isLive = typeof report.state === "string";
let drawGeneration = 0;
let writing = null;

function hashOf(values) {
  const parts = new URLSearchParams();
  for (const name of Object.keys(stateDefaults)) {
    if (values[name] !== stateDefaults[name]) parts.set(name, values[name]);
  }
  return `#${parts}`;
}

function readHash() {
  const parts = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, stateDefaults);
  for (const [name, value] of parts) if (name in stateDefaults) state[name] = value;
  if (!tabs.some(([name]) => name === state.tab)) state.tab = "curves";
}

function writeHash() {
  clearTimeout(writing);
  writing = null;
  const hash = hashOf(state);
  if (location.hash !== hash && (location.hash || hash !== "#")) setAddress("replaceState", hash);
}

// In a notebook's frame the page has no address of its own; the view then lasts as long as the page.
function setAddress(method, hash) {
  try {
    history[method](null, "", hash);
  } catch (error) {
    return;
  }
}

// A slider changes the state faster than browsers let a page write its address.
function remember(changes) {
  Object.assign(state, changes);
  if (!writing) writing = setTimeout(writeHash, 150);
}

function goTo(changes) {
  writeHash();
  Object.assign(state, changes);
  setAddress("pushState", hashOf(state));
  window.scrollTo(0, 0);
  return drawTab();
}

function currentRun(needed) {
  const named = runs.find((run) => String(run.name) === state.run);
  return named || runs.find((run) => (needed ? listOf(run[needed]).length : run.digits)) || runs[0];
}

async function drawTab() {
  const generation = ++drawGeneration;
  const [name, , draw] = tabs.find((tab) => tab[0] === state.tab);
  const root = element("div", { class: `view view-${name}` });
  document.body.dataset.ready = "false";
  hideTooltip();
  removeAllCharts();
  for (const button of document.querySelectorAll("#tabs button")) {
    button.setAttribute("aria-selected", String(button.id === `tab-${name}`));
  }
  document.getElementById("main").replaceChildren(root);
  document.getElementById("main").setAttribute("aria-labelledby", `tab-${name}`);
  try {
    await draw(root);
  } catch (error) {
    root.append(element("p", { class: "problem" }, `This view cannot be drawn: ${error}`));
  }
  if (generation === drawGeneration) document.body.dataset.ready = "true";
}

function say(text) {
  const message = element("p", { class: "message", role: "status" }, text);
  document.body.append(message);
  setTimeout(() => message.remove(), 4000);
}

function drawHeader() {
  const status = { running: "●", finished: "✓", stopped: "■", failed: "✗" };
  const rows = runs.map((run, index) => element("div", { class: "run" },
    runSwatch(index), element("b", { class: "name", title: shorten(run.name) }, runLabel(run)),
    element("span", { class: `status ${Object.keys(status).includes(run.status) ? run.status : ""}` },
      `${status[run.status] || "?"} ${shorten(run.status, 20)}`),
    element("span", { class: "progress" }, shorten(run.status_text, 120)),
    listOf(run.headline).filter(Array.isArray).map(([name, value]) => element("span", { class: "fact" },
      `${shorten(name, 60)} `,
      element("b", {}, shorten(value, 60))))));
  document.getElementById("header").append(
    element("div", { class: "title" }, element("h1", {}, shorten(document.title, 160)),
      element("span", { class: "made" }, isLive ? "live" : report.made ? `made ${shorten(report.made, 40)}` : ""),
      element("button", { id: "theme", title: "light or dark (t)", "aria-label": "light or dark",
        onclick: switchTheme }, "◐"),
      element("button", { id: "help", title: "keyboard (?)", "aria-label": "keyboard help", onclick: showHelp }, "?")),
    element("div", { class: "runs" }, rows));
}

function drawTabs() {
  const events = eventCount();
  document.getElementById("tabs").append(...tabs.map(([name, title], index) => element("button",
    { id: `tab-${name}`, role: "tab", title: `${title} (${index + 1})`, onclick: () => goTo({ tab: name }) }, title,
    name === "events" && events ? element("span", { class: "badge", title: "alarms and errors" }, String(events))
      : null)));
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  repaintCharts();
}

function switchTheme() {
  setTheme(isDark() ? "light" : "dark");
  stored("localStorage", "ntl-report-theme", document.documentElement.dataset.theme);
}

function startTheme() {
  const chosen = stored("localStorage", "ntl-report-theme");
  if (chosen === "light" || chosen === "dark") setTheme(chosen);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaintCharts);
}

function showHelp() {
  const open = document.querySelector("dialog");
  if (open) return open.remove();
  const dialog = element("dialog", { "aria-label": "keyboard", onclose: () => dialog.remove(),
    onclick: () => dialog.close() },
    element("h2", {}, "Keyboard"), element("dl", { class: "facts" },
      keyboardHelp.map(([keys, what]) => [element("dt", {}, element("kbd", {}, keys)), element("dd", {}, what)])));
  document.body.append(dialog);
  dialog.showModal();
}

function handleKey(event) {
  const typing = event.target.matches && event.target.matches("input[type=search], input[type=text], textarea");
  if (typing && event.key === "Escape") return event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const tab = tabs[Number(event.key) - 1];
  const field = document.querySelector("#main input[type=search]");
  if (tab) goTo({ tab: tab[0] });
  else if (event.key === "," || event.key === ".") stepIteration(event.key === "," ? -1 : 1);
  else if (event.key === "/" && field) field.focus();
  else if (event.key === "t" && !event.target.matches("select")) switchTheme();
  else if (event.key === "?") showHelp();
  else return;
  event.preventDefault();
}

// Charts are canvases in the colors of the screen: for paper they are painted again, those out of view included.
function startPrinting() {
  let theme = null;
  window.addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    printing = true;
    setTheme("light");
    if (state.tab === "curves") curvePanels.forEach(refreshPanel);
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    setTheme(theme);
  });
}

function stored(storage, name, value) {
  try {
    if (value !== undefined) window[storage].setItem(name, value);
    return window[storage].getItem(name);
  } catch (error) {
    // Pages opened from a disk may have no storage; a choice then lasts as long as the page.
    return null;
  }
}

function reloadInPlace() {
  writeHash();
  stored("sessionStorage", "ntl-report-scroll", String(window.scrollY));
  location.reload();
}

function startLive() {
  if (!isLive) return;
  const label = document.querySelector(".made");
  setInterval(async () => {
    try {
      const answer = await fetch("state", { cache: "no-store" });
      const text = answer.ok ? await answer.text() : report.state;
      const typing = document.activeElement && document.activeElement.matches("input[type=search]");
      label.textContent = "live";
      if (text !== report.state && !typing && !document.hidden) reloadInPlace();
    } catch (error) {
      label.textContent = "live: no answer from the server";
    }
  }, 2000);
}

function start() {
  startTheme();
  readHash();
  startTooltip();
  drawHeader();
  drawTabs();
  window.addEventListener("popstate", () => { readHash(); drawTab(); });
  window.addEventListener("pagehide", writeHash);
  document.addEventListener("keydown", handleKey);
  startPrinting();
  startLive();
  drawTab().then(() => {
    const place = isLive && Number(stored("sessionStorage", "ntl-report-scroll"));
    if (place) window.scrollTo(0, place);
    if (place) stored("sessionStorage", "ntl-report-scroll", "0");
  });
}

start();
