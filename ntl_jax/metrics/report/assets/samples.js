// SPDX-License-Identifier: Apache-2.0
// The Samples tab: the prompts and samples of one logged iteration, filters, and the search in one or all iterations.

const mostResults = 200;
let samplesView = null;

async function drawSamples(root) {
  const run = currentRun("samples");
  const view = { run, logged: listOf(run.samples), generation: 0, searching: 0 };
  view.controls = element("div", { class: "controls sticky" },
    runChoice(run, (other) => goTo({ run: String(other.name), sample: "" })));
  root.append(view.controls);
  if (!view.logged.length) return void root.append(note("This run has no logged samples."));
  samplesView = view;
  view.index = loggedIndex(view);
  view.summary = element("p", { class: "summary", "aria-live": "polite" });
  view.results = element("div", { class: "results" });
  view.list = element("div", { class: "groups" });
  view.scale = element("div", {}, scaleLegend());
  addSampleControls(view);
  root.append(view.scale, view.results, view.summary, view.list);
  tooltipFor(view.list, ".token", tokenFacts);
  view.list.addEventListener("keydown", moveBetweenTokens);
  searchEverywhere(view);
  await showIteration(view);
}

// The logged iteration that the state names, else the nearest of its stage, else the last.
function loggedIndex(view) {
  const wanted = Number(state.iteration);
  if (!state.iteration || !isNumber(wanted)) return view.logged.length - 1;
  let best = null;
  view.logged.forEach(([stage, step], index) => {
    if (state.stage && stage !== state.stage) return;
    const distance = Math.abs(step - wanted);
    if (!best || distance < best.distance) best = { index, distance };
  });
  return best ? best.index : view.logged.length - 1;
}

function addSampleControls(view) {
  const slider = element("input", { id: "iteration", type: "range", min: 0, max: view.logged.length - 1,
    "aria-label": "logged iteration",
    oninput: () => chooseIteration(Number(slider.value)) });
  view.slider = slider;
  view.place = element("output", { class: "place" });
  const search = textField("search", "search responses and prompts", state.search, (text) => {
    remember({ search: text });
    clearTimeout(view.typing);
    view.typing = setTimeout(() => { showIteration(view); searchEverywhere(view); }, 200);
  });
  const step = (change, label, text) => element("button",
    { title: label, "aria-label": label, onclick: () => stepIteration(change) }, text);
  view.controls.append(
    element("div", { class: "control iterations" }, step(-1, "previous iteration (,)", "‹"), slider,
      step(1, "next iteration (.)", "›"), view.place),
    choice("filter", "show", ["all", "right", "wrong", "no reward"], state.filter, (value) => {
      remember({ filter: value });
      showIteration(view);
    }),
    choice("color", "color by", Object.keys(colorings), state.color, (value) => {
      remember({ color: value });
      view.scale.replaceChildren(scaleLegend());
      recolorTokens(view.list);
    }),
    search,
    checkbox("everywhere", "in all iterations", state.everywhere === "1", (on) => {
      remember({ everywhere: on ? "1" : "" });
      searchEverywhere(view);
    }));
}

function chooseIteration(index, sample = "") {
  const view = samplesView;
  const [stage, step] = view.logged[index];
  view.index = index;
  remember({ stage, iteration: String(step), sample });
  return showIteration(view);
}

function stepIteration(change) {
  const view = samplesView;
  if (!view || !view.list || !view.list.isConnected) return;
  const next = view.index + change;
  if (next >= 0 && next < view.logged.length) chooseIteration(next);
}

async function showIteration(view) {
  const generation = ++view.generation;
  const current = () => generation === view.generation && view.list.isConnected;
  const [stage, step, block] = view.logged[view.index];
  document.body.dataset.ready = "false";
  view.slider.value = String(view.index);
  view.slider.setAttribute("aria-valuetext", `${stageTitle(stage)} ${stageUnit(stage)} ${step}`);
  view.place.textContent = `${stageTitle(stage)} ${stageUnit(stage)} ${step}`;
  view.place.title = `${view.index + 1} of ${view.logged.length} logged`;
  let read;
  try {
    read = await groupsOf(block);
  } catch (error) {
    read = { groups: [], problem: String(error) };
  }
  if (!current()) return;
  hideTooltip();
  noteStep(step);
  const shown = read.groups.map((group, index) => ({ group, index,
    samples: listOf(group.samples).map((sample, place) => ({ sample: sample || {}, place }))
      .filter((one) => matches(group, one.sample)) }));
  view.summary.textContent = summaryText(view, read, shown);
  view.list.replaceChildren();
  const whole = await inSlices(shown.filter((one) => one.samples.length || (state.filter === "all" && !state.search)),
    (one) => view.list.append(groupNode(one, stage)), current);
  if (!whole) return;
  if (state.sample) revealSample(view, state.sample);
  document.body.dataset.ready = "true";
}

function matches(group, sample) {
  if (state.filter === "right" && sample.is_correct !== true) return false;
  if (state.filter === "wrong" && sample.is_correct !== false) return false;
  if (state.filter === "no reward" && isNumber(sample.reward)) return false;
  const query = state.search.toLowerCase();
  return !query || [sample.response, group.prompt].some((text) => typeof text === "string"
    && text.toLowerCase().includes(query));
}

function summaryText(view, read, shown) {
  const all = read.groups.flatMap((group) => listOf(group.samples)).filter(Boolean);
  const count = shown.reduce((sum, one) => sum + one.samples.length, 0);
  const wanted = Number(state.iteration);
  const parts = [`${read.groups.length} prompts, ${all.length} samples`,
    `${all.filter((sample) => sample.is_correct === true).length} right`,
    `mean reward ${formatNumber(mean(all.map((sample) => sample.reward)))}`];
  if (count < all.length) parts.push(`${count} shown`);
  if (read.problem) parts.push(`the samples cannot be read: ${read.problem}`);
  const asked = state.iteration && wanted !== view.logged[view.index][1];
  if (asked) parts.push(`${wanted} is not logged; this is the nearest that is`);
  return parts.join(" · ");
}

function mean(values) {
  const known = values.filter(isNumber);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

function groupNode({ group, index, samples }, stage) {
  const all = listOf(group.samples).filter(Boolean);
  const right = all.filter((sample) => sample.is_correct === true).length;
  const identity = [["prompt", group.prompt_index], ["draw", group.draw]].filter(([, value]) => isNumber(value));
  return element("section", { class: "group", "data-group": index },
    element("div", { class: "prompt" },
      element("div", { class: "prompt-facts" },
        element("span", {}, identity.map(([name, value]) => `${name} ${value}`).join(" · ")
          || `prompt of ${stageTitle(stage)}`),
        element("span", {}, "true answer ", element("b", {},
          group.ground_truth === null || group.ground_truth === undefined ? "–" : shorten(group.ground_truth))),
        element("span", {}, "mean reward ", element("b", {}, formatNumber(mean(all.map((sample) => sample.reward))))),
        element("span", {}, element("b", {}, `${right} of ${all.length}`), " right")),
      longText(typeof group.prompt === "string" ? group.prompt : "no prompt text", 3000, "div",
        { class: "prompt-text" })),
    element("div", { class: "cards" }, samples.map(({ sample, place }) => sampleCard(sample, place))));
}

function verdict(sample) {
  if (sample.is_correct === true) return element("span", { class: "verdict right" }, "✓ right");
  if (sample.is_correct === false) return element("span", { class: "verdict wrong" }, "✗ wrong");
  return element("span", { class: "verdict" }, "? undecided");
}

function sampleCard(sample, place) {
  const advantage = mean(listOf(sample.advantages));
  const metrics = Object.entries(sample.reward_metrics || {});
  const card = element("article", { class: "sample", "data-place": place },
    element("header", {}, verdict(sample),
      element("span", {}, "reward ", element("b", {}, formatNumber(sample.reward))),
      advantage === null ? null : element("span", { title: "mean over the tokens" }, "advantage ",
        element("b", {}, `${advantage > 0 ? "+" : ""}${formatNumber(Number(advantage.toFixed(2)))}`)),
      sample.answer === null || sample.answer === undefined ? null
        : element("span", { title: "answer read from the response" }, "answer ",
          element("b", {}, shorten(sample.answer, 40)))),
    responseNodes(sample),
    sample.error ? element("p", { class: "problem" }, shorten(sample.error, 1000)) : null,
    element("footer", {}, [
      `#${isNumber(sample.sample_index) ? sample.sample_index : place}`,
      Array.isArray(sample.token_ids) ? `${sample.token_ids.length} tokens` : null,
      finishText(sample.finish_reason),
      isNumber(sample.ntl_loss) ? `NTL ${formatNumber(sample.ntl_loss)}` : null,
      ...metrics.map(([name, value]) => `${shorten(name, 40)} ${wordOf(value)}`),
    ].filter(Boolean).map((text) => element("span", {}, text))));
  sampleOfCard.set(card, sample);
  markHits(card, sample, state.search.toLowerCase());
  return card;
}

function wordOf(value) {
  return isNumber(value) ? formatNumber(value) : shorten(value, 40);
}

function finishText(reason) {
  const words = { stop: "ended", length: "cut at the limit", lost: "lost with its worker" };
  return reason ? words[reason] || shorten(reason, 40) : null;
}

function revealSample(view, place) {
  const [group, sample] = place.split(".");
  const card = view.list.querySelector(`[data-group="${Number(group)}"] [data-place="${Number(sample)}"]`);
  if (!card) return;
  for (const other of view.list.querySelectorAll(".sample.current")) other.classList.remove("current");
  card.classList.add("current");
  card.scrollIntoView({ block: "center" });
}

// One token of a response is in the tab order; arrows go on from there.
function moveBetweenTokens(event) {
  const token = event.target.closest(".token");
  if (!token) return;
  if (event.key === "Escape") return hideTooltip();
  const next = { ArrowRight: token.nextElementSibling, ArrowLeft: token.previousElementSibling }[event.key];
  if (!next || !next.classList.contains("token")) return;
  event.preventDefault();
  next.focus();
}

async function searchEverywhere(view) {
  const searching = ++view.searching;
  const query = state.search.toLowerCase();
  const current = () => searching === view.searching && view.list.isConnected;
  view.results.replaceChildren();
  if (state.everywhere !== "1" || !query) return;
  const progress = element("p", { class: "summary", "aria-live": "polite" }, "searching ...");
  const list = element("ol", {});
  view.results.append(progress, list);
  let count = 0;
  for (let index = 0; index < view.logged.length && count < mostResults; index++) {
    const inBlock = await searchBlock(view, index, query).catch(() => []);
    if (!current()) return;
    count += inBlock.length;
    list.append(...inBlock.map((result) => resultItem(view, index, result)));
    progress.textContent = `${count} found in ${index + 1} of ${view.logged.length} iterations ...`;
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (!current()) return;
  }
  const found = count >= mostResults ? `${mostResults} or more` : String(count);
  progress.textContent = `${found} found in all logged iterations`;
}

// Most blocks do not hold the text at all, which shows without reading their JSON.
async function searchBlock(view, index, query) {
  const text = await blockText(view.logged[index][2]);
  if (/^[\x20-\x7e]+$/.test(query) && !/["\\<>&/]/.test(query) && !text.toLowerCase().includes(query)) return [];
  const found = [];
  parseGroups(text).groups.forEach((group, groupPlace) => listOf(group.samples).forEach((sample, place) => {
    for (const [where, value] of [["sample", sample && sample.response], ["prompt", place ? null : group.prompt]]) {
      const at = typeof value === "string" ? value.toLowerCase().indexOf(query) : -1;
      if (at < 0) continue;
      found.push({ place: `${groupPlace}.${place}`, where, right: sample && sample.is_correct,
        parts: [value.slice(Math.max(0, at - 50), at), value.slice(at, at + query.length),
          value.slice(at + query.length, at + query.length + 90)] });
    }
  }));
  return found;
}

function resultItem(view, index, result) {
  const [stage, step] = view.logged[index];
  const [before, hit, after] = result.parts;
  const mark = result.where === "prompt" ? "" : result.right === true ? " ✓" : result.right === false ? " ✗" : "";
  return element("li", {}, element("button", { onclick: () => {
    remember({ filter: "all" });
    document.getElementById("filter").value = "all";
    chooseIteration(index, result.place);
  } },
    element("span", { class: "where" }, `${stageUnit(stage)} ${step}, ${result.where}${mark}`),
    element("span", { class: "snippet" }, before, element("mark", {}, shorten(hit)), after)));
}
