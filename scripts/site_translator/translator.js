// A recurrent translator with attention (utils/models/recurrent.py) in plain script.
// MODEL, in translator-weights.js, has its words and its numbers; explore() draws the arcs.
const [PADDING, UNKNOWN, START, END] = [0, 1, 2, 3];

// Numbers of 16 bits (1 for the sign, 5 for the exponent, 10 for the fraction) as tensors by name.
function readTensors() {
  const bytes = atob(MODEL.weights), numbers = new Float32Array(bytes.length / 2), tensors = {};
  for (let i = 0; i < numbers.length; i++) {
    const bits = bytes.charCodeAt(2 * i) + 256 * bytes.charCodeAt(2 * i + 1);
    const exponent = bits >> 10 & 31, fraction = bits & 1023;
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
    numbers[i] = bits >> 15 ? -size : size;
  }
  for (const [name, [start, rows, columns = 1]] of Object.entries(MODEL.tensors)) {
    tensors[name] = { rows, columns, numbers: numbers.subarray(start, start + rows * columns) };
  }
  return tensors;
}
const TENSORS = readTensors();

// The matrix times the vector, plus the bias if there is one.
function linear(name, vector, bias) {
  const { rows, columns, numbers } = TENSORS[name], result = new Float32Array(rows);
  for (let row = 0, at = 0; row < rows; row++) {
    let sum = bias ? TENSORS[bias].numbers[row] : 0;
    for (let column = 0; column < columns; column++) sum += numbers[at++] * vector[column];
    result[row] = sum;
  }
  return result;
}
const embed = (name, id) => {
  const { columns, numbers } = TENSORS[name];
  return numbers.subarray(id * columns, (id + 1) * columns);
};
const join = (...vectors) => Float32Array.from(vectors.flatMap(vector => [...vector]));
const sigmoid = x => 1 / (1 + Math.exp(-x));

function softmax(scores) {
  const largest = Math.max(...scores), powers = scores.map(x => Math.exp(x - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map(x => x / sum);
}

// One step of a gated recurrent unit: the gates "reset" and "update" come first, the new content last.
function gru(part, direction, input, state) {
  const name = kind => `${part}.${kind}_l0${direction}`, width = state.length;
  const fromInput = linear(name("weight_ih"), input, name("bias_ih"));
  const fromState = linear(name("weight_hh"), state, name("bias_hh"));
  return state.map((old, i) => {
    const reset = sigmoid(fromInput[i] + fromState[i]);
    const update = sigmoid(fromInput[width + i] + fromState[width + i]);
    const content = Math.tanh(fromInput[2 * width + i] + reset * fromState[2 * width + i]);
    return (1 - update) * content + update * old;
  });
}

// The encoder reads in both directions; each word's state has a half of each.
function encode(ids) {
  const half = TENSORS["encoder.weight_hh_l0"].columns, count = ids.length, vectors = ids.map(id => embed("source_embedding.weight", id));
  const forwards = [], backwards = [];
  let state = new Float32Array(half);
  for (let i = 0; i < count; i++) forwards[i] = state = gru("encoder", "", vectors[i], state);
  state = new Float32Array(half);
  for (let i = count - 1; i >= 0; i--) backwards[i] = state = gru("encoder", "_reverse", vectors[i], state);
  const states = forwards.map((vector, i) => join(vector, backwards[i]));
  return { states, keys: states.map(vector => linear("attention.key_projection.weight", vector)), last: join(forwards[count - 1], backwards[0]) };
}

// Greedy decoding: words, and for each of them the weights over the source.
function decode({ states, keys, last }) {
  const words = [], attention = [], score = TENSORS["attention.score.weight"].numbers;
  let state = linear("bridge.weight", last, "bridge.bias").map(Math.tanh), id = START;
  while (id !== END && words.length < 2 * states.length + 10) {
    const query = linear("attention.query_projection.weight", state), embedded = embed("target_embedding.weight", id);
    const weights = softmax(keys.map(key => key.reduce((sum, x, i) => sum + score[i] * Math.tanh(x + query[i]), 0)));
    const context = state.map((_, i) => weights.reduce((sum, weight, s) => sum + weight * states[s][i], 0));
    state = gru("decoder", "", join(embedded, context), state);
    const features = linear("readout.weight", join(state, context, embedded), "readout.bias").map(Math.tanh);
    const logits = linear("target_embedding.weight", features, "output_bias");
    for (const special of [PADDING, UNKNOWN, START]) logits[special] = -Infinity;
    id = logits.indexOf(Math.max(...logits));
    words.push(MODEL.target[id]);
    attention.push(weights);
  }
  return { words, attention };
}

// As word_tokenizer does: signs that nobody sees go, punctuation stands alone, "'s" begins a word.
const IDS = new Map(MODEL.known.map(id => [MODEL.source[id], id]));
function tokenize(text) {
  const seen = text.replace(/\uFEFF|(?![\s\x85])[\p{Cf}\p{Cc}\u034F\uFE00-\uFE0F]/gu, "").normalize("NFC").replaceAll("’", "'");
  return seen.split(/[\s\x85]+/u).flatMap(part => part.match(/[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}'-]+|[^]/gu) || [])
    .flatMap(part => part.split(/(?<!ujourd)(?=')/u));
}

// Words that are not known are left out, and returned.
function translate(text) {
  const tokens = tokenize(text), known = tokens.filter(word => IDS.has(word));
  const unknown = [...new Set(tokens.filter(word => !IDS.has(word)))];
  if (!known.length) return { read: [], words: [], attention: [], unknown };
  return { read: [...known, "</s>"], unknown, ...decode(encode([...known.map(word => IDS.get(word)), END])) };
}

// The number of letters to change, add or take away.
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let k = 1; k <= b.length; k++) next[k] = Math.min(row[k] + 1, next[k - 1] + 1, row[k - 1] + (a[i - 1] !== b[k - 1]));
    row = next;
  }
  return row[b.length];
}
const closest = word => [...IDS.keys()].map(other => [distance(word.toLowerCase(), other.toLowerCase()) / Math.max(word.length, other.length), other])
  .filter(([far]) => far <= 0.5).sort((a, b) => a[0] - b[0]).slice(0, 3).map(([, other]) => other);

const find = id => document.getElementById(id);
const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
let playing;

// Draw the arcs as each word is written: the explorer steps on by itself.
function draw({ read, words, attention }) {
  clearInterval(playing);
  const box = find("picture"), root = element("div", "");
  if (!words.length) return box.replaceChildren();
  const code = x => Math.round(1000 * x).toString(36).padStart(2, "0");
  root.className = "explorer";
  root.dataset.explorer = JSON.stringify({ kind: "alignment", weights: attention.flat().map(code).join(""), start: 0 });
  for (const [name, line] of [[box.dataset.from, read], [box.dataset.to, words]]) {
    const row = element("p", "");
    row.append(element("b", name), ...line.map(word => element("span", word)));
    root.append(row);
  }
  root.append(element("output", ""));
  box.replaceChildren(root);
  explore({ parentNode: box });
  const next = root.querySelectorAll("button")[1];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let left = words.length - 1;
  if (still) while (left--) next.click();
  else playing = setInterval(() => left-- > 0 ? next.click() : clearInterval(playing), 250);
  for (const event of ["pointerdown", "keydown"]) root.addEventListener(event, ({ isTrusted }) => { if (isTrusted) clearInterval(playing); });
}

function answer() {
  const text = find("sentence").value, start = performance.now(), found = translate(text), notes = [];
  find("translation").textContent = found.words.filter(word => word !== "</s>").join(" ") || "…";
  find("time").textContent = found.words.length ? `${Math.round(performance.now() - start)} ms` : "";
  draw(found);
  if (found.unknown.length) notes.push(element("p", `Left out, as it does not know them: ${found.unknown.map(word => `“${word}”`).join(", ")}.`));
  for (const word of found.unknown) {
    const near = closest(word), note = element("p", `Instead of “${word}”: `);
    if (!near.length) continue;
    for (const other of near) {
      const button = element("button", other);
      button.addEventListener("click", () => { find("sentence").value = text.replace(word, other); answer(); });
      note.append(button, " ");
    }
    notes.push(note);
  }
  if (found.read.length > MODEL.longest) notes.push(element("p", `No sentence in its training had more than ${MODEL.longest - 1} words: expect a poor translation.`));
  find("notes").replaceChildren(...notes);
}

find("sentence").addEventListener("input", answer);
document.querySelectorAll("#examples button").forEach(button => button.addEventListener("click", () => {
  find("sentence").value = button.textContent;
  answer();
}));
find("words").textContent = [...IDS.keys()].join(" · ");
find("count").textContent = IDS.size;
answer();
