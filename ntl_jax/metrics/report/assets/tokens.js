// SPDX-License-Identifier: Apache-2.0
// Tokens: a response as colored spans, what a color means, and what a token's tooltip says.

const shownCharacters = 20000;
const shownTokens = 4000;
const sampleOfCard = new WeakMap();
const digitsOfSample = new WeakMap();

// Steps from no tint to the strongest; a token has the first step whose bound it does not pass.
const colorings = {
  probability: { title: "probability by the sampler", value: (sample, index) => probability(sample.log_probs, index),
    falling: true,
    bounds: [0.99, 0.9, 0.7, 0.5, 0.3, 0.1, 0.03, 0.01] },
  advantage: { title: "advantage", value: (sample, index) => numberAt(sample.advantages, index), signed: true,
    bounds: [0.05, 0.5, 1, 1.5] },
  entropy: { title: "entropy, nats", value: entropy,
    bounds: [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5] },
  difference: { title: "difference of the probabilities by sampler and trainer", value: difference,
    bounds: [0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.4] },
  staleness: { title: "staleness of the weights that wrote the token, in iterations",
    value: (sample, index) => versionAge(sample, index),
    bounds: [1, 2, 3, 4], strength: 2 },
  nothing: { title: "", value: () => null, bounds: [] },
};
let shownStep = null;

function numberAt(values, index) {
  const value = listOf(values)[index];
  return isNumber(value) ? value : null;
}

function probability(logProbs, index) {
  const value = numberAt(logProbs, index);
  return value === null ? null : Math.exp(value);
}

function difference(sample, index) {
  const sampler = probability(sample.log_probs, index);
  const trainer = probability(sample.actor_log_probs, index);
  return sampler === null || trainer === null ? null : Math.abs(sampler - trainer);
}

// The trainer's, or the sampler's where only that is known.
function entropy(sample, index) {
  const ofTrainer = numberAt(sample.actor_entropy, index);
  return ofTrainer === null ? numberAt(sample.entropy, index) : ofTrainer;
}

function versionAt(sample, index) {
  const span = listOf(sample.versions).find((one) => Array.isArray(one) && one[0] <= index && index < one[1]);
  return span && isNumber(span[2]) ? span[2] : null;
}

function versionAge(sample, index) {
  const version = versionAt(sample, index);
  return version === null || shownStep === null ? null : shownStep - version;
}

function noteStep(step) {
  shownStep = step;
}

function chosenColoring() {
  return Object.hasOwn(colorings, state.color) ? colorings[state.color] : colorings.nothing;
}

function tintOf(coloring, value) {
  if (value === null) return "";
  const size = coloring.signed ? Math.abs(value) : value;
  const passed = coloring.bounds.filter((bound) => (coloring.falling ? size < bound : size >= bound)).length;
  if (!passed) return "";
  if (coloring.signed) return `${value < 0 ? "minus" : "plus"}-${passed}`;
  return `tint-${passed * (coloring.strength || 1)}`;
}

function scaleLegend() {
  const coloring = chosenColoring();
  const box = (tint, text) => element("span", { class: `step ${tint}` }, text);
  if (!coloring.bounds.length) return element("div", { class: "scale" });
  const words = coloring.bounds.map((bound) => String(bound));
  const boxes = coloring.signed
    ? [...words.map((word, index) => box(`minus-${index + 1}`, `≤ −${word}`)).reverse(), box("", "0"),
      ...words.map((word, index) => box(`plus-${index + 1}`, `≥ ${word}`))]
    : [box("", coloring.falling ? `≥ ${words[0]}` : `< ${words[0]}`),
      ...words.map((word, index) => box(`tint-${(index + 1) * (coloring.strength || 1)}`,
        `${coloring.falling ? "<" : "≥"} ${word}`))];
  return element("div", { class: "scale" }, element("span", { class: "name" }, coloring.title), boxes);
}

// Offsets count code points; JavaScript's strings count a rare character twice.
function tokenOffsets(sample) {
  const starts = listOf(sample.token_starts);
  const text = sample.response;
  if (!/[\ud800-\udfff]/.test(text)) return starts.map((start) => Math.max(0, Math.min(text.length, start || 0)));
  const units = [];
  let position = 0;
  for (const character of text) {
    units.push(position);
    position += character.length;
  }
  return starts.map((start) => (start < units.length ? units[Math.max(0, start || 0)] : text.length));
}

function tokenSpan(sample, offsets, index, digits) {
  const start = offsets[index];
  const end = index + 1 < offsets.length ? Math.max(start, offsets[index + 1]) : sample.response.length;
  const text = sample.response.slice(start, end);
  const id = listOf(sample.token_ids)[index];
  const special = !text || /^<[|\w/]{2,40}>$/.test(text);
  const coloring = chosenColoring();
  const classes = ["token", tintOf(coloring, coloring.value(sample, index))];
  if (special) classes.push("special");
  if (text.includes("\n")) classes.push("newline");
  const digit = digits.get(index);
  const off = digit && isNumber(digit.truth) && digit.sampled !== null && digit.truth !== digit.sampled;
  if (digit) classes.push("digit", off ? "off" : "");
  return element("span", { class: classes.filter(Boolean).join(" "), "data-index": index, tabindex: index ? -1 : 0,
    "data-start": start, "data-end": end },
  text ? shorten(text) : `#${id === undefined ? "?" : id}`);
}

function digitsOf(sample) {
  if (digitsOfSample.has(sample)) return digitsOfSample.get(sample);
  const known = new Map();
  const offsets = typeof sample.response === "string" ? tokenOffsets(sample) : [];
  listOf(sample.digit_positions).forEach((position, place) => {
    const text = offsets.length ? sample.response.slice(offsets[position], offsets[position + 1]) : "";
    const found = text.match(/\d/);
    known.set(position, { sampled: found ? Number(found[0]) : null, truth: listOf(sample.digit_truth)[place],
      probabilities: listOf(listOf(sample.digit_probabilities)[place]) });
  });
  digitsOfSample.set(sample, known);
  return known;
}

// The response as tokens where their places are known, else as plain text.
function responseNodes(sample) {
  if (typeof sample.response !== "string") return [note("no response")];
  if (!listOf(sample.token_starts).length) return longText(sample.response, shownCharacters, "div",
    { class: "tokens plain" });
  const offsets = tokenOffsets(sample);
  const digits = digitsOf(sample);
  const node = element("div", { class: "tokens" });
  const add = (first, last) => {
    if (!first && offsets[0] > 0) node.append(shorten(sample.response.slice(0, offsets[0])));
    for (let index = first; index < last; index++) node.append(tokenSpan(sample, offsets, index, digits));
  };
  const beyond = offsets.findIndex((start) => start > shownCharacters);
  const last = Math.min(offsets.length, shownTokens, beyond < 0 ? Infinity : beyond);
  add(0, last);
  if (last === offsets.length) return [node];
  const button = element("button", { class: "quiet", onclick: async () => {
    button.remove();
    const starts = [];
    for (let first = last; first < offsets.length; first += 500) starts.push(first);
    await inSlices(starts, (first) => add(first, Math.min(first + 500, offsets.length)), () => node.isConnected);
  } }, `show all ${offsets.length.toLocaleString("en-US")} tokens`);
  return [node, button];
}

function recolorTokens(root) {
  const coloring = chosenColoring();
  for (const card of root.querySelectorAll(".sample")) {
    const sample = sampleOfCard.get(card);
    for (const token of card.querySelectorAll(".token")) {
      const kept = token.className.replace(/ ?\b(tint|plus|minus)-\d\b/g, "");
      const tint = tintOf(coloring, coloring.value(sample, Number(token.dataset.index)));
      token.className = tint ? `${kept} ${tint}` : kept;
    }
  }
}

// A search's hits are marked on the tokens that they touch.
function markHits(card, sample, query) {
  if (!query || typeof sample.response !== "string") return;
  const text = sample.response.toLowerCase();
  const hits = [];
  const next = (from) => text.indexOf(query, from);
  for (let at = next(0); at >= 0 && hits.length < 200; at = next(at + query.length)) hits.push(at);
  if (!hits.length) return;
  for (const token of card.querySelectorAll(".token")) {
    const start = Number(token.dataset.start);
    const end = Number(token.dataset.end);
    token.classList.toggle("hit", hits.some((hit) => hit < end && hit + query.length > start));
  }
}

function tokenFacts(token) {
  const sample = sampleOfCard.get(token.closest(".sample"));
  if (!sample) return null;
  const index = Number(token.dataset.index);
  const text = String(sample.response || "").slice(Number(token.dataset.start), Number(token.dataset.end));
  const sampler = probability(sample.log_probs, index);
  const trainer = probability(sample.actor_log_probs, index);
  const exact = (value) => (value === null ? null : value > 0.0001 ? value.toFixed(4) : formatNumber(value));
  const digit = digitsOf(sample).get(index);
  return [
    element("div", { class: "token-name" }, element("code", {}, text ? shorten(JSON.stringify(text), 200) : "no text"),
      ` token ${listOf(sample.token_ids)[index] ?? "?"}, position ${index}`),
    facts([["sampler", exact(sampler)], ["trainer", exact(trainer)],
      ["difference", sampler !== null && trainer !== null ? exact(Math.abs(sampler - trainer)) : null],
      ["entropy", entropy(sample, index) === null ? null : `${formatNumber(entropy(sample, index))} nats`],
      ["advantage", numberAt(sample.advantages, index) === null ? null : formatNumber(sample.advantages[index])],
      ["weights", versionAt(sample, index) === null ? null : `before iteration ${versionAt(sample, index)}`]]),
    digit ? digitBars(digit) : null,
  ].filter(Boolean);
}

function digitBars(digit) {
  if (!digit.probabilities.length) return facts([["true digit", digit.truth]]);
  const rows = digit.probabilities.slice(0, 10).map((share, value) => {
    const marks = [value === digit.sampled ? "sampled" : "", value === digit.truth ? "true" : ""]
      .filter(Boolean).join(", ");
    return element("div", { class: `digit-row ${marks.replace(",", "")}` },
      element("span", { class: "value" }, String(value)),
      element("span", { class: "track" }, element("i",
        { style: { width: `${Math.max(0, Math.min(1, share || 0)) * 100}%` } })),
      element("span", { class: "share" }, isNumber(share) ? share.toFixed(3) : "–"),
        element("span", { class: "mark" }, marks));
  });
  return element("div", { class: "digit-bars" }, rows);
}
