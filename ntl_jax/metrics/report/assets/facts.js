// SPDX-License-Identifier: Apache-2.0
// The Events tab (errors, notes, alarms, divergence, rewards, pool) and the Settings tab (settings, versions,
// hardware).

function eventCount() {
  const count = (run) => (run.error ? 1 : 0) + listOf(run.alarms).length + listOf(run.reward_errors).length
    + (run.pool_faults || 0);
  return runs.reduce((sum, run) => sum + count(run), 0);
}

function drawEvents(root) {
  for (const run of runs) {
    const parts = runEvents(run).filter(Boolean);
    root.append(element("section", { class: "run-events" },
      element("h2", {}, runSwatch(runs.indexOf(run)), shorten(run.name),
        element("small", {}, shorten(run.status_text || run.status))),
      parts.length ? parts : note("Nothing happened that needs attention.")));
  }
}

function samplesLink(run, iteration, text) {
  if (!isNumber(iteration)) return text;
  if (!listOf(run.samples).length) return text;
  const stage = listOf(run.samples).some((logged) => logged[0] === "ppo") ? "ppo" : run.samples[0][0];
  const place = { ...stateDefaults, tab: "samples", run: String(run.name), stage, iteration: String(iteration) };
  return element("a", { href: hashOf(place), onclick: (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    goTo(place);
  } }, text);
}

function iterationsText(first, last) {
  if (!isNumber(first)) return "–";
  return first === last || !isNumber(last) ? `iteration ${first}` : `iterations ${first}–${last}`;
}

function runEvents(run) {
  return [
    run.error ? element("div", { class: "trouble" }, element("h3", {}, "Error"),
      longText(String(run.error), 10000, "pre")) : null,
    eventList("Notes", listOf(run.notes).map((text) => element("li", {}, shorten(text, 1000)))),
    eventList("Alarms", listOf(run.alarms).map((alarm) => element("li", { class: "alarm" },
      element("code", {}, `⚠ ${shorten(alarm.name, 80)}`),
        samplesLink(run, alarm.first, iterationsText(alarm.first, alarm.last)),
      element("span", { class: "text" }, shorten(alarm.text, 1000))))),
    divergenceEvents(run),
    listOf(run.reward_errors).length ? [element("h3", {}, "Reward errors"),
      table(["error", "samples", "iterations"], run.reward_errors.map((problem) => element("tr", {},
        element("td", { class: "text" }, shorten(problem.error, 1000)),
          element("td", { class: "number" }, formatNumber(problem.count)),
        element("td", {}, samplesLink(run, problem.first, iterationsText(problem.first, problem.last))))))] : null,
    listOf(run.pool).length ? [element("h3", {}, "Pool"),
      element("pre", { class: "log" }, run.pool.map((line) => shorten(line, 500)).join("\n"))] : null,
  ].flat();
}

function eventList(title, items) {
  return items.length ? [element("h3", {}, title), element("ul", { class: "events" }, items)] : null;
}

function divergenceEvents(run) {
  if (!run.divergence) return null;
  const words = { check: "⚠ check", note: "note", normal: "✓ normal" };
  const findings = listOf(run.divergence.findings).map((finding) => element("li",
    { class: finding.level === "check" ? "alarm" : "" },
    element("code", {}, words[finding.level] || shorten(finding.level, 20)),
      element("span", { class: "text" }, shorten(finding.text, 1000))));
  const tokens = listOf(run.divergence.tokens);
  return [
    element("h3", {}, "Sampler and trainer"),
    findings.length ? element("ul", { class: "events" }, findings) : null,
    tokens.length ? [divergenceTable(run, tokens), element("p", { class: "small" },
      `${tokens.length} of ${formatNumber(run.divergence.total)} logged tokens`)] : null,
  ];
}

// The log of divergent tokens has them in quotes already.
function quoted(text) {
  return shorten(/^(['"]).*\1$/s.test(text) ? text : JSON.stringify(text ?? ""), 60);
}

function divergenceTable(run, tokens) {
  const heads = ["iteration", "token", "difference", "sampler", "trainer", "flip", "staleness", "position",
    "right", "context"];
  const rows = tokens.slice(0, 500).map((token) => {
    const open = () => goTo({ ...stateDefaults, tab: "samples", run: String(run.name), stage: "ppo",
      iteration: String(token.iteration),
      color: "difference" });
    const right = token.is_correct === true ? "✓" : token.is_correct === false ? "✗" : "–";
    const cells = [[token.iteration], [element("code", {}, quoted(token.token_text))],
      [formatNumber(token.prob_divergence)], [formatNumber(token.rollout_prob)], [formatNumber(token.actor_prob)],
      [shorten(token.flip_type ?? "–", 40)], [token.staleness ?? "–"],
      [token.position ?? "–"], [right], [shorten(token.context_text ?? ""), "text"]];
    return element("tr", { class: "link", tabindex: 0, onclick: open,
      onkeydown: (event) => event.key === "Enter" && open() },
      cells.map(([content, kind]) => element("td", { class: kind },
        typeof content === "number" ? String(content) : content)));
  });
  return table(heads, rows, { class: "tokens-table" });
}

function drawSettings(root) {
  const body = element("div");
  const show = () => body.replaceChildren(settingsTable());
  root.append(
    element("div", { class: "controls" },
      textField("setting-filter", "filter settings", state.find, (text) => { remember({ find: text }); show(); }),
      checkbox("all-settings", "all settings", state.settings === "all",
        (on) => { remember({ settings: on ? "all" : "" }); show(); })),
    body, element("h2", {}, "Versions and hardware"), environmentTable());
  show();
}

function sameValue(left, right) {
  return JSON.stringify(left) === JSON.stringify(right);
}

function settingRows() {
  const rows = new Map();
  runs.forEach((run, index) => {
    for (const [path, usual, value] of listOf(run.settings).filter(Array.isArray)) {
      if (!rows.has(path)) rows.set(path, { path: String(path), usual,
        values: new Array(runs.length).fill(undefined) });
      rows.get(path).values[index] = value;
    }
  });
  for (const row of rows.values()) {
    row.changed = row.values.some((value) => value !== undefined && !sameValue(value, row.usual));
    row.differs = row.values.some((value) => !sameValue(value, row.values[0]));
  }
  return [...rows.values()];
}

function settingText(value) {
  if (value === undefined) return "–";
  return typeof value === "string" && value !== "" ? shorten(value, 300) : shorten(JSON.stringify(value), 300);
}

function settingsTable() {
  const all = settingRows();
  const words = state.find.toLowerCase().trim();
  const rows = all.filter((row) => state.settings === "all" || row.changed || row.differs)
    .filter((row) => !words || `${row.path} ${row.values.map(settingText).join(" ")}`.toLowerCase().includes(words));
  if (!all.length) return note("The runs have no settings.");
  if (!rows.length) return note(words ? "No setting matches." : "All settings are the defaults.");
  const lines = rows.map((row) => element("tr", { class: row.differs ? "differs" : null },
    element("th", { scope: "row" }, element("code", {}, row.path),
      row.differs ? element("em", { title: "differs between the runs" }, " ≠") : null),
    element("td", { class: "usual" }, settingText(row.usual)),
    row.values.map((value) => element("td",
      { class: value !== undefined && !sameValue(value, row.usual) ? "changed" : null },
      element("code", {}, settingText(value))))));
  return element("div", {}, table(["setting", "default", ...runs.map(runLabel)], lines, { class: "settings" }),
    element("p", { class: "small" }, `${rows.length} of ${all.length} settings; bold: not the default`,
      runs.length > 1 ? "; ≠: differs between the runs" : ""));
}

function environmentTable() {
  const flat = runs.map((run) => {
    const { packages, ...others } = run.environment || {};
    const joined = (value) => (Array.isArray(value) ? value.map((one) => shorten(one)).join(", ") : value);
    const plain = Object.entries(others).map(([name, value]) => [name, joined(value)]);
    return new Map([...plain, ...Object.entries(packages || {})]);
  });
  const names = [...new Set(flat.flatMap((one) => [...one.keys()]))];
  if (!names.length) return note("The runs say nothing about versions and hardware.");
  const lines = names.map((name) => {
    const values = flat.map((one) => one.get(name));
    const differs = values.some((value) => !sameValue(value, values[0]));
    return element("tr", { class: differs ? "differs" : null },
      element("th", { scope: "row" }, element("code", {}, shorten(name, 80)),
        differs ? element("em", { title: "differs between the runs" }, " ≠") : null),
      values.map((value) => element("td", { class: differs ? "changed" : null }, settingText(value))));
  });
  return table(["", ...runs.map(runLabel)], lines, { class: "settings" });
}
