// Explorers: a root beside the script, its numbers in an attribute; no id, no library, no network.
// Python sends what is common, the view of one kind, and the last lines (utils/plots/explorers.py).
(script => {
  const root = script.parentNode.querySelector(".explorer:not(.on)");
  if (!root) return;
  root.classList.add("on");
  const data = JSON.parse(root.dataset.explorer), views = {};
  const told = [...root.querySelectorAll("p")].map(line => ({
    name: line.querySelector("b").textContent,
    words: [...line.querySelectorAll("span")].map(word => word.textContent),
  }));
  const say = root.querySelector("output"), tell = text => { say.textContent = text; };
  const percent = x => `${(100 * x).toFixed(1)} %`, fixed = x => x.toFixed(2).replace("-", "−");
  let redraw = () => {};
  root.replaceChildren(say);

  const el = (tag, options, ...children) => {
    const element = Object.assign(document.createElement(tag), options);
    element.append(...children);
    return element;
  };
  const shape = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    return element;
  };
  // JupyterLab takes keys for commands ("d d" deletes the cell) unless the focused element says no.
  const guard = element => { element.dataset.lmSuppressShortcuts = "true"; return element; };
  const button = (text, onclick) => guard(el("button", { type: "button", textContent: text, onclick }));
  const word = text => el("span", { textContent: text, dir: "auto", className: "word" });
  const line = (name, ...items) => el("p", {}, el("b", { textContent: name }), ...items);

  // Numbers as text: `size` characters of 64 each, thousandths, the middle of the range is 0.
  const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
  function unpack(text, size = 2) {
    const numbers = [];
    for (let i = 0; i < text.length; i += size) {
      let code = 0;
      for (let k = i; k < i + size; k++) code = 64 * code + DIGITS.indexOf(text[k]);
      numbers.push((code - 64 ** size / 2) / 1000);
    }
    return numbers;
  }
  const rows = (numbers, width) =>
    Array.from({ length: numbers.length / width }, (_, i) => numbers.slice(i * width, (i + 1) * width));

  // Elements of which one is chosen, by pointer, arrows, Home or End; returns a function that chooses.
  function choice(items, label, pick, at = 0) {
    const mark = () => items.forEach((item, i) => {
      item.tabIndex = i === at ? 0 : -1;
      item.setAttribute("aria-checked", i === at);
    });
    const set = (index, focus) => {
      at = Math.max(0, Math.min(items.length - 1, index));
      mark();
      if (focus) items[at].focus();
      pick(at);
    };
    items.forEach((item, i) => {
      guard(item).setAttribute("role", "radio");
      item.addEventListener("click", () => set(i, true));
      item.addEventListener("keydown", event => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const to = step ? at + step : { Home: 0, End: items.length - 1, " ": i, Enter: i }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        set(to, true);
      });
    });
    const group = items[0].parentNode;
    group.setAttribute("role", "radiogroup");
    group.setAttribute("aria-label", label);
    mark();
    return set;
  }
  function options(label, names, pick, at) {
    const items = names.map(textContent => el("span", { textContent, className: "option" }));
    const whole = line(label, ...items);
    choice(items, label, pick, at);
    return whole;
  }
  function slider(label, max, value, name, change) {
    const input = guard(el("input", { type: "range", min: 0, max, value })), shown = el("span");
    const update = () => {
      shown.textContent = name(+input.value);
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.addEventListener("input", () => { update(); change(+input.value); });
    update();
    return el("label", { className: "slider" }, el("b", { textContent: label }), input, shown);
  }
  // Names with their probabilities; those for which act(i) gives a function are buttons.
  function bars(pairs, act = () => null) {
    return el("div", { className: "bars" }, ...pairs.flatMap(([text, p], i) => {
      const action = act(i), fill = el("i");
      fill.style.width = `${100 * p}%`;
      const name = action ? button(text, action) : word(text);
      return [name, el("div", {}, fill), el("span", { textContent: percent(p) })];
    }));
  }
  const best = (weights, names, least = 0.05) => weights.map((weight, i) => [weight, names[i]])
    .filter(([weight]) => weight >= least).sort((a, b) => b[0] - a[0]).slice(0, 3)
    .map(([weight, name]) => `${name} ${percent(weight)}`).join(", ");

  // Two lines of words and the weights [below, above] between them, as curves and colours.
  function pair({ names, above, below, weights, at, phrases, pick = () => {}, fade = () => "", other }) {
    const picture = shape("svg", { "aria-hidden": "true" });
    const words = [above, below].map(texts => texts.map(word));
    const area = el("div", { className: "pair" }, picture, ...words.map((items, i) => line(names[i], ...items)));
    function show(side, index) {
      const box = picture.getBoundingClientRect(), others = words[1 - side], here = words[side][index];
      const row = matrix => others.map((_, i) => side ? matrix[index][i] : matrix[i][index]);
      const found = row(weights), theirs = other && row(other.weights);
      words.flat().forEach(item => { item.classList.remove("here"); item.style.background = ""; });
      here.classList.add("here");
      words.forEach((items, i) => items.forEach((item, k) => {
        item.classList.toggle("faint", fade(i, k, at) === "faint");
        item.classList.toggle("masked", fade(i, k, at) === "masked");
      }));
      const curve = (weight, i, dashed) => {
        const [a, b] = (side ? [others[i], here] : [here, others[i]]).map(item => item.getBoundingClientRect());
        const x = a.left + a.width / 2 - box.left, y = a.bottom - box.top;
        const to = b.left + b.width / 2 - box.left, end = b.top - box.top, middle = (y + end) / 2;
        return shape("path", {
          d: `M${x},${y}C${x},${middle} ${to},${middle} ${to},${end}`, class: dashed ? "other" : "",
          "stroke-opacity": 0.15 + 0.85 * weight, "stroke-width": dashed ? 2 : 1 + 4 * weight,
        });
      };
      others.forEach((item, i) => { item.style.background = `rgba(204,121,167,${found[i] / 2})`; });
      picture.replaceChildren(
        ...found.flatMap((weight, i) => weight < 0.01 ? [] : [curve(weight, i)]),
        ...(theirs || []).flatMap((weight, i) => weight < 0.05 ? [] : [curve(weight, i, true)]),
      );
      const texts = others.map(item => item.textContent);
      tell(phrases[side](here.textContent, best(found, texts) || "no word above 5 %")
        + (theirs ? `; ${other.name}: ${best(theirs, texts) || "not known"}` : ""));
    }
    words.forEach((items, side) => items.forEach((item, i) => item.addEventListener("pointerenter", () => show(side, i))));
    area.addEventListener("pointerleave", () => show(1, at));
    redraw = () => show(1, at);
    const set = choice(words[1], names[1], index => { at = index; pick(at); show(1, at); }, at);
    return { area, step: by => set(at + by), draw: matrix => { weights = matrix; show(1, at); } };
  }
  const stepper = step => el("p", {}, button("◀ back", () => step(-1)), button("next ▶", () => step(1)));

  //: alignment
  views.alignment = () => {
    const [source, target] = told, width = source.words.length;
    const other = data.compare && { name: data.name, weights: rows(unpack(data.compare), width) };
    const view = pair({
      names: [source.name, target.name], above: source.words, below: target.words, at: data.start, other,
      weights: rows(unpack(data.weights), width), fade: (side, i, at) => side && i > at ? "faint" : "",
      phrases: [(text, list) => `“${text}” is looked at for: ${list}`, (text, list) => `while “${text}” is predicted: ${list}`],
    });
    const legend = other ? [el("p", { className: "legend" }, el("i"), "this model", el("i"), data.name)] : [];
    say.before(view.area, ...legend, stepper(view.step));
  };
  //: heads
  views.heads = () => {
    let kind = 0, head = data.start, at = -1;
    const thumbs = el("div", { className: "thumbs" }), place = el("div");
    // One pixel for each weight; places that the mask hides are hatched.
    function thumbnail(matrix, masked) {
      const canvas = el("canvas", { width: matrix[0].length, height: matrix.length }), paint = canvas.getContext("2d");
      matrix.forEach((row, y) => row.forEach((weight, x) => {
        const hidden = masked && x > y;
        paint.fillStyle = hidden ? `rgba(136,136,136,${0.2 + 0.25 * ((x + y) % 2)})` : `rgba(190,80,145,${weight ** 0.7})`;
        paint.fillRect(x, y, 1, 1);
      }));
      return canvas;
    }
    function choose() {
      const map = data.maps[kind], below = told[map.rows], above = told[map.columns];
      const size = above.words.length * below.words.length, width = above.words.length;
      const all = rows(unpack(map.weights), size).map(flat => rows(flat, width));
      head = Math.min(head, all.length - 1);
      if (at < 0 || at >= below.words.length) at = Math.min(data.at, below.words.length - 1);
      const view = pair({
        names: [`${above.name}: looked at`, `${below.name}: looks`], above: above.words, below: below.words, at,
        weights: all[head], pick: index => { at = index; },
        fade: (side, i, at) => map.masked && !side && i > at ? "masked" : "",
        phrases: [
          (text, list) => `“${text}” is looked at by: ${list}`,
          (text, list) => `“${text}” looks at ${list}${map.masked && at < width - 1 ? `; the mask hides the ${width - 1 - at} to the right` : ""}`,
        ],
      });
      const items = all.map((matrix, i) => {
        const item = el("span", { className: "thumb" }, thumbnail(matrix, map.masked));
        item.setAttribute("aria-label", item.title = `layer ${data.layers[Math.floor(i / map.heads)]}, head ${data.heads[i % map.heads]}`);
        return item;
      });
      thumbs.replaceChildren(...items.flatMap((item, i) =>
        i % map.heads ? [item] : [el("b", { textContent: `layer ${data.layers[i / map.heads]}` }), item]));
      thumbs.style.gridTemplateColumns = `repeat(${map.heads + 1}, auto)`;
      choice(items, "layer and head", index => { head = index; view.draw(all[head]); }, head);
      place.replaceChildren(view.area);
      redraw();
    }
    const names = data.maps.map(map => map.kind);
    const kinds = names.length > 1 ? [options("kind", names, index => { kind = index; choose(); })] : [];
    say.before(...kinds, thumbs, place);
    choose();
  };
  //: attention
  views.attention = () => {
    const [asking, asked] = told, { keys, values } = data, width = keys[0].length, plane = width === 2;
    const add = numbers => numbers.reduce((a, b) => a + b, 0), list = vector => `[${vector.map(fixed).join("  ")}]`;
    const reach = 1.1 * Math.max(...[...keys, ...data.queries].flat().map(Math.abs));
    let query = [...data.queries[0]], root_of = Math.sqrt(width), name = asking.words[0];
    const cells = keys.map((key, i) => [word(asked.words[i]), el("code", { textContent: list(key), className: "vector" }),
      ...[0, 1, 2].map(() => el("code")), el("div", {}, el("i")), el("span")]);
    const heads = ["", "key", "q · k", "÷ √d", "e to it", "softmax", ""].map((text, i) =>
      el("small", { textContent: text, className: i === 1 ? "vector" : "" }));
    const grid = el("div", { className: "sums" }, ...heads, ...cells.flat()), asks = el("code"), gets = el("code");
    const svg = shape("svg", { viewBox: `${-reach} ${-reach} ${2 * reach} ${2 * reach}`, class: "plane" });
    const arrow = (cls, [x, y]) => shape("line", { class: cls, x2: x, y2: -y });
    const hand = guard(shape("circle", { r: reach / 14, tabindex: 0, role: "slider", "aria-label": "query", class: "hand" }));
    const needle = arrow("query", query);
    function draw() {
      const products = keys.map(key => add(key.map((x, i) => x * query[i])));
      const scores = products.map(x => x / root_of), powers = scores.map(Math.exp), sum = add(powers);
      const weights = powers.map(x => x / sum);
      cells.forEach(([, , product, score, power, bar, share], i) => {
        [product.textContent, score.textContent] = [fixed(products[i]), fixed(scores[i])];
        power.textContent = powers[i] < 1e4 ? fixed(powers[i]) : powers[i].toExponential(1);
        bar.firstChild.style.width = `${100 * weights[i]}%`;
        share.textContent = percent(weights[i]);
      });
      const context = values[0].map((_, d) => add(weights.map((weight, i) => weight * values[i][d])));
      asks.textContent = list(query);
      gets.textContent = list(context);
      if (plane) {
        for (const [attribute, i, sign] of [["x", 0, 1], ["y", 1, -1]]) {
          hand.setAttribute("c" + attribute, sign * query[i]);
          needle.setAttribute(attribute + "2", sign * query[i]);
        }
        svg.querySelectorAll(".key").forEach((item, i) => item.setAttribute("stroke-opacity", 0.25 + 0.75 * weights[i]));
        hand.setAttribute("aria-valuetext", list(query));
      }
      tell(`${name} looks at ${best(weights, asked.words)}`);
    }
    const move = to => {
      query = to.map(x => Math.max(-reach, Math.min(reach, x)));
      name = "your query";
      draw();
    };
    const queries = options(asking.name, asking.words, i => { query = [...data.queries[i]]; name = `“${asking.words[i]}”`; draw(); });
    name = `“${name}”`;
    const divide = options("divide by √d", ["yes", "no"], i => {
      root_of = i ? 1 : Math.sqrt(width);
      heads[3].textContent = i ? "as it is" : "÷ √d";
      draw();
    });
    if (plane) {
      svg.append(shape("path", { class: "axis", d: `M${-reach} 0H${reach}M0 ${-reach}V${reach}` }));
      keys.forEach((key, i) => {
        const text = shape("text", { x: key[0] * 1.06, y: -key[1] * 1.06, "font-size": reach / 9, "text-anchor": key[0] < 0 ? "start" : "end" });
        text.textContent = asked.words[i];
        svg.append(arrow("key", key), text);
      });
      svg.append(needle, hand);
      const drag = event => {
        const box = svg.getBoundingClientRect();
        const at = (event.clientX - box.left) / box.width, down = (event.clientY - box.top) / box.height;
        move([(2 * at - 1) * reach, (1 - 2 * down) * reach]);
      };
      svg.addEventListener("pointerdown", event => { svg.setPointerCapture(event.pointerId); hand.focus(); drag(event); event.preventDefault(); });
      svg.addEventListener("pointermove", event => { if (event.buttons) drag(event); });
      hand.addEventListener("keydown", event => {
        const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (!by) return;
        event.preventDefault();
        move(query.map((x, i) => x + by[i] * reach / 20));
      });
    }
    const body = el("div", { className: "beside" }, ...(plane ? [svg] : []), el("div", {},
      line("query q", asks), grid, line("context", gets)));
    say.before(queries, divide, body, ...(plane ? [el("small", { textContent: "Drag the end of the query, or move it with the arrow keys." })] : []));
    draw();
  };
  //: steps
  views.steps = () => {
    const [read, written] = told, count = read.words.length, width = data.width;
    const states = rows(unpack(data.states), width), vector = unpack(data.vector), decoder = rows(unpack(data.decoder), width);
    const weights = data.weights && rows(unpack(data.weights), count), panel = el("div", { className: "panel" });
    // A vector as a strip, a cell for each number: blue below zero, vermilion above.
    function strip(numbers) {
      const canvas = el("canvas", { width: numbers.length, height: 1, className: "strip" }), paint = canvas.getContext("2d");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${numbers.length} numbers`);
      numbers.forEach((x, i) => {
        paint.fillStyle = `rgba(${x < 0 ? "0,114,178" : "213,94,0"},${Math.min(1, Math.abs(x))})`;
        paint.fillRect(i, 0, 1, 1);
      });
      canvas.addEventListener("pointermove", event => {
        const box = canvas.getBoundingClientRect(), i = Math.floor((event.clientX - box.left) / box.width * numbers.length);
        if (i in numbers) canvas.title = `number ${i + 1} of ${numbers.length}: ${fixed(numbers[i])}`;
      });
      return canvas;
    }
    const nothing = new Array(width).fill(0), shared = data.weights ? "mix of the encoder's states" : "vector handed over";
    function look(i) {
      const t = i - count - 1, lines = [];
      const put = (name, content) => lines.push(el("b", { textContent: name }), content);
      if (i < count) {
        put("goes in", word(read.words[i]));
        if (!data.both) put("state before", strip(states[i - 1] || nothing));
        put(data.both ? "its state" : "state after", strip(states[i]));
        tell(`The encoder reads “${read.words[i]}”, word ${i + 1} of ${count}. ` + (data.both
          ? "The left half of its state has read up to here from the left, the right half from the right."
          : i ? "Its new state is made of the word and the state before; nothing else is kept." : "Its state was all zeros; now it holds the first word."));
      } else if (t < 0) {
        put("handed over", strip(vector));
        put("first state", strip(decoder[0]));
        tell(`${width} numbers are handed over, however long the sentence; the decoder makes its first state of them.`
          + (data.weights ? " And with attention it may look back at every state of the encoder." : " It sees nothing else."));
      } else {
        const mix = weights ? nothing.map((_, d) => weights[t].reduce((sum, weight, s) => sum + weight * states[s][d], 0)) : vector;
        put("goes in", word(t ? written.words[t - 1] : "<s>"));
        put(shared, strip(mix));
        put("state before", strip(decoder[t]));
        put("state after", strip(decoder[t + 1]));
        put("comes out", bars(data.guesses[t]));
        tell(`Step ${t + 1} of the decoder: “${data.guesses[t][0][0]}” is likeliest with ${percent(data.guesses[t][0][1])}, so it is written, and goes in next.`
          + (weights ? ` It looked at ${best(weights[t], read.words)}.` : ""));
      }
      cells.forEach((cell, k) => {
        cell.classList.toggle("here", k === i);
        cell.classList.toggle("faint", k > i);
        cell.style.background = weights && t >= 0 && k < count ? `rgba(204,121,167,${weights[t][k] / 2})` : "";
      });
      panel.replaceChildren(...lines);
    }
    const cells = [...read.words, `${width} numbers`, ...written.words].map(word);
    const group = (name, cls, items) => el("span", { className: `cells ${cls}` }, el("b", { textContent: name }), ...items);
    const chain = el("div", { className: "chain" }, group(read.name, "encoder", cells.slice(0, count)), " → ",
      group("handed over", "vector", [cells[count]]), " → ", group(written.name, "decoder", cells.slice(count + 1)));
    let at = data.start;
    const set = choice(cells, "steps", i => { at = i; look(i); }, at);
    chain.querySelectorAll("span.cells").forEach(item => item.setAttribute("role", "presentation"));
    chain.setAttribute("role", "radiogroup");
    say.before(chain, stepper(by => set(at + by)), panel);
    look(at);
  };
  //: gaps
  views.gaps = () => {
    const texts = told[0].words, gaps = data.gaps, fills = gaps.map(() => ""), panel = el("div");
    const items = texts.map(word), places = data.places, asked = places.map(i => items[i]);
    let at = data.start, instead = "";
    function show() {
      const place = places[at], gap = gaps.indexOf(place), open = gap >= 0 ? fills : gaps.map(() => "");
      items.forEach((item, i) => {
        const k = gaps.indexOf(i), text = k >= 0 ? open[k] : i === place ? instead : texts[i];
        item.textContent = text || "____";
        item.classList.toggle("filled", k >= 0 ? !!text : i === place && !!text);
        item.classList.toggle("here", i === place);
        item.setAttribute("aria-label", text || "gap");
      });
      const key = open.map((fill, k) => k === gap ? "" : fill).join("|");
      const found = gap < 0 ? data.single[place] : data.chain[key] && data.chain[key][gap];
      const others = open.filter((fill, k) => fill && k !== gap).map(fill => `“${fill}”`).join(" and ");
      if (!found) {
        panel.replaceChildren();
        tell("Open the gaps again to fill this one anew.");
        return;
      }
      panel.replaceChildren(bars(found, i => () => {
        if (gap >= 0) fills[gap] = found[i][0];
        else instead = found[i][0];
        const next = gap < 0 ? -1 : fills.indexOf("");
        if (next >= 0) set(places.indexOf(gaps[next]), true);
        else { show(); asked[at].focus(); }
      }));
      tell(`${gap >= 0 ? "For this gap" : `Instead of “${texts[place]}”`} the model expects “${found[0][0]}” (${percent(found[0][1])})`
        + (others ? `, now that ${others} is there` : gap < 0 && gaps.length ? ", with every gap open" : ""));
    }
    const sentence = line(told[0].name, ...items);
    const set = choice(asked, told[0].name, index => { at = index; instead = ""; show(); }, at);
    const again = gaps.length ? [el("p", {}, button(gaps.length > 1 ? "open all gaps" : "open the gap", () => { fills.fill(""); set(places.indexOf(gaps[0])); }))] : [];
    say.before(sentence, panel, ...again);
    show();
  };
  //: next
  views.next = () => {
    let path = [], heat = data.start, keep = 50;
    const text = el("p", { className: "writing" }), panel = el("div");
    const node = () => data.nodes[path.join()], names = at => at.words.split("\t");
    const visible = piece => piece.replace(/^ /, "").replace(/\n/g, "⏎") || "␣";
    function show() {
      const { logits, rest } = node(), words = names(node()), heat_of = data.temperatures[heat], most = words.length;
      const all = keep >= most, powers = unpack(logits, 3).slice(0, all ? most : keep + 1).map(x => Math.exp(x / heat_of));
      const others = all ? Math.exp(unpack(rest, 3)[heat]) : 0, sum = powers.reduce((a, b) => a + b, others);
      const pairs = powers.slice(0, 10).map((power, i) => [visible(words[i]), power / sum]);
      const seen = pairs.reduce((total, [, p]) => total + p, 0), left = (all ? data.vocabulary : powers.length) - pairs.length;
      const focused = panel.contains(document.activeElement);
      if (left > 0) pairs.push([`the other ${left.toLocaleString("en")}`, Math.max(0, 1 - seen)]);
      panel.replaceChildren(bars(pairs, i => i < words.length && data.nodes[[...path, i].join()] && i < 10 ? () => { path.push(i); show(); } : null));
      if (focused) (panel.querySelector("button") || back).focus();
      const written = path.map((_, i) => names(data.nodes[path.slice(0, i).join()])[path[i]]);
      text.replaceChildren(data.prompt, ...written.map(piece => el("mark", { textContent: piece })), el("span", { className: "caret", textContent: "▁" }));
      back.disabled = !path.length;
      tell(`“${pairs[0][0]}” has ${percent(pairs[0][1])} at temperature ${heat_of}, ${all ? "of all words" : `of the likeliest ${powers.length}`}`
        + (panel.querySelector("button") ? "" : "; the branch ends here: go back, or type with a kernel"));
    }
    const back = button("◀ take back", () => { path.pop(); show(); });
    say.before(text, slider("temperature", data.temperatures.length - 1, heat, i => String(data.temperatures[i]), i => { heat = i; show(); }),
      slider("top-k", 50, 50, i => i < 50 ? String(i + 1) : "all", i => { keep = i; show(); }), panel, el("p", {}, back));
    show();
  };
  //: labels
  views.labels = () => {
    const { arms, counts, accuracy, guesses, truth, names } = data, reviews = told[told.length - 1];
    let arm = 0, at = data.start, before = at;
    const flat = accuracy.flat().filter(x => x !== null), low = Math.min(...flat, data.chance) - 0.02, high = Math.max(...flat) + 0.02;
    const x = i => 40 + 400 * i / Math.max(1, counts.length - 1), y = p => 130 - 115 * (p - low) / (high - low);
    const svg = shape("svg", { viewBox: "0 0 460 160", class: "chart", "aria-hidden": "true" });
    const put = (text, left, top, anchor = "middle") => {
      const item = shape("text", { x: left, y: top, "text-anchor": anchor });
      item.textContent = text;
      svg.append(item);
    };
    counts.forEach((count, i) => put(count, x(i), 148));
    [low + 0.02, high - 0.02].forEach(p => put(`${Math.round(100 * p)} %`, 32, y(p) + 4, "end"));
    svg.append(shape("path", { class: "chance", d: `M40 ${y(data.chance)}H440` }));
    put("chance", 440, y(data.chance) - 3, "end");
    const curves = accuracy.map(list => {
      const points = list.flatMap((p, i) => p === null ? [] : [`${x(i)},${y(p)}`]);
      return shape("polyline", { points: points.join(" ") });
    });
    const dot = shape("circle", { r: 5 });
    svg.append(...curves, dot);
    const cards = reviews.words.map((_, i) => el("span", { className: "card", textContent: i + 1 }));
    const grid = el("div", { className: "cards" }, ...cards), text = el("p", { className: "review", dir: "auto" });
    let chosen = 0;
    const read = i => {
      const guess = guesses[arm] && guesses[arm][at];
      chosen = i;
      text.replaceChildren(`${i + 1}: “${reviews.words[i]}”`, el("br"), el("b", {
        textContent: `${names[truth[i]]}${guess ? `; this body says ${names[guess[i]]} ${guess[i] === truth[i] ? "✓" : "✗"}` : ""}`,
      }));
    };
    function show() {
      const p = accuracy[arm][at], guess = guesses[arm] && guesses[arm][at], old = guesses[arm] && guesses[arm][before];
      curves.forEach((curve, i) => curve.setAttribute("class", i === arm ? "chosen" : ""));
      dot.setAttribute("cx", x(at));
      dot.setAttribute("cy", p === null ? -9 : y(p));
      let flips = 0, right = 0;
      cards.forEach((card, i) => {
        const good = guess && guess[i] === truth[i], flipped = guess && old && guess[i] !== old[i];
        flips += !!flipped;
        right += !!good;
        card.className = `card${guess ? good ? " right" : " wrong" : ""}${flipped ? " flipped" : ""}`;
        card.textContent = guess ? `${i + 1} ${good ? "✓" : "✗"}` : i + 1;
        card.setAttribute("aria-label", `review ${i + 1}${guess ? good ? ", right" : ", wrong" : ""}${flipped ? ", flipped" : ""}`);
      });
      tell(`${arms[arm]}, ${counts[at]} labels: ${p === null ? "not measured" : `${percent(p)} right on all test reviews`}`
        + (guess ? `; of these ${cards.length}: ${right} right${at === before ? "" : `, ${flips} changed since ${counts[before]} labels`}` : "; its answers were not kept"));
      read(chosen);
    }
    say.before(options("body", arms, i => { arm = i; before = at; show(); }),
      slider("labels", counts.length - 1, at, i => String(counts[i]), i => { before = at; at = i; show(); }), svg, grid, text);
    choice(cards, "reviews", read);
    cards.forEach((card, i) => card.addEventListener("pointerenter", () => read(i)));
    show();
  };
  //: end
  root.addEventListener("keydown", event => { if (!event.ctrlKey && !event.metaKey) event.stopPropagation(); });
  views[data.kind]();
  new ResizeObserver(() => redraw()).observe(root);
  redraw();
})(document.currentScript);
