// A root beside the script, its numbers in an attribute; no id, no library.
// explorers.py sends what is common, one view, and the end.
(script => {
	const root = script.parentNode.querySelector(".explorer:not(.on)");
	if (!root) return;
	root.classList.add("on");
	const data = JSON.parse(root.dataset.explorer), say = root.querySelector("output"), views = {};
	const told = [...root.querySelectorAll("p")].map(p => ({
		name: p.firstChild.textContent, words: [...p.querySelectorAll("span")].map(word => word.textContent),
	}));
	const tell = text => { say.textContent = text; }, percent = x => `${(100 * x).toFixed(1)} %`;
	const fixed = x => x.toFixed(2).replace("-0.00", "0.00"), list = v => `[${v.map(fixed).join("  ")}]`;
	const add = numbers => numbers.reduce((a, b) => a + b, 0);
	let redraw = () => {};
	root.replaceChildren(say);

	const el = (tag, className = "", ...children) => {
		const element = Object.assign(document.createElement(tag), { className });
		element.append(...children);
		return element;
	};
	const put = (element, attributes) => {
		for (const name in attributes) element.setAttribute(name, attributes[name]);
		return element;
	};
	const on = (element, event, act) => element.addEventListener(event, act), box = element => element.getBoundingClientRect();
	const shape = (tag, attributes, ...children) => {
		const element = put(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes);
		element.append(...children);
		return element;
	};
	// JupyterLab takes keys for commands ("d d" deletes a cell) unless the focused element says no.
	const guard = element => put(element, { "data-lm-suppress-shortcuts": "true" });
	const button = (text, onclick) => Object.assign(guard(el("button", "", text)), { onclick });
	const word = text => put(el("span", "word", text), { dir: "auto" });
	const line = (name, ...items) => el("p", "", el("b", "", name), ...items.flatMap(item => [item, " "]));

	// Numbers as text, to three digits: 2 characters each from 0 to 1, 3 characters from -23 to 23.
	const unpack = (text, size = 2) => text.match(RegExp(`.{${size}}`, "g")).map(code => parseInt(code, 36) / 1000 - (size > 2 && 23));
	const rows = (all, width) => Array.from({ length: all.length / width }, (_, i) => all.slice(i * width, (i + 1) * width));

	const arrow = ({ key }) => ({ ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] })[key];
	// Elements of which one is chosen, by pointer, arrows, Home or End; gives the function that chooses.
	function choice(items, label, pick, at = 0, group = items[0].parentNode) {
		const mark = () => items.forEach((item, i) => put(item, { tabindex: i === at ? 0 : -1, "aria-checked": i === at }));
		const set = (index, focus) => {
			at = Math.max(0, Math.min(items.length - 1, index));
			mark();
			if (focus) items[at].focus();
			pick(at);
		};
		items.forEach((item, i) => {
			put(guard(item), { role: "radio" });
			on(item, "click", () => set(i, true));
			on(item, "keydown", event => {
				const step = arrow(event), to = step ? i + step[0] - step[1] : { Home: 0, End: items.length, " ": i, Enter: i }[event.key];
				if (to === undefined) return;
				event.preventDefault();
				set(to, true);
			});
		});
		put(group, { role: "radiogroup", "aria-label": label });
		mark();
		return set;
	}
	function options(label, names, pick) {
		const items = names.map(name => el("span", "option", name)), whole = line(label, ...items);
		choice(items, label, pick);
		return whole;
	}
	function slider(label, max, value, name, change) {
		const input = put(guard(el("input")), { type: "range", max, value }), shown = el("span");
		const update = () => put(input, { "aria-valuetext": shown.textContent = name(+input.value) });
		on(input, "input", () => { update(); change(+input.value); });
		update();
		return el("label", "slider", el("b", "", label), input, shown);
	}
	const tint = (item, weight) => { item.style.background = `rgba(204,121,167,${weight / 2})`; };
	// Names with probabilities; those with an act(i) are buttons.
	const bar = p => { const fill = el("i"); fill.style.width = `${100 * p}%`; return el("div", "", fill); };
	const bars = (pairs, act = () => null) => el("div", "bars", ...pairs.flatMap(([name, p], i) => {
		const action = act(i);
		return [action ? button(name, action) : word(name), bar(p), el("span", "", percent(p))];
	}));
	const best = (weights, names) => weights.map((weight, i) => [weight, names[i]]).filter(([weight]) => weight >= 0.05)
		.sort((a, b) => b[0] - a[0]).slice(0, 3).map(([weight, name]) => `${name} ${percent(weight)}`).join(", ") || "no word above 5 %";
	const stepper = step => el("p", "", button("◀ back", () => step(-1)), button("next ▶", () => step(1)));
	// A matrix as pixels; paint(number, row, column) is a colour.
	function pixels(matrix, className, paint) {
		const canvas = put(el("canvas", className), { width: matrix[0].length, height: matrix.length }), brush = canvas.getContext("2d");
		matrix.forEach((row, y) => row.forEach((number, x) => { brush.fillStyle = paint(number, y, x); brush.fillRect(x, y, 1, 1); }));
		return canvas;
	}
	// Two lines of words and the weights [below, above] between them, as curves and colours.
	function pair(lines, { weights, at, pick = () => {}, fade, other }) {
		const picture = shape("svg", { "aria-hidden": true }), words = lines.map(line => line.words.map(word));
		const area = el("div", "pair", picture, ...words.map((items, i) => line(lines[i].name, ...items)));
		function show(side, index) {
			const frame = box(picture), others = words[1 - side], here = words[side][index];
			const row = matrix => others.map((_, i) => side ? matrix[index][i] : matrix[i][index]), found = row(weights);
			const curve = (weight, i, dashed) => {
				const [a, b] = (side ? [others[i], here] : [here, others[i]]).map(box);
				const across = at => at.left + at.width / 2 - frame.left + dashed, x1 = across(a), x2 = across(b);
				const y1 = a.bottom - frame.top, y2 = b.top - frame.top;
				return shape("path", {
					d: `M${x1},${y1}C${x1},${(y1 + y2) / 2} ${x2},${(y1 + y2) / 2} ${x2},${y2}`, class: dashed ? "other" : "",
					"stroke-opacity": 0.15 + 0.85 * weight, "stroke-width": dashed ? 2 : 1 + 4 * weight,
				});
			};
			words.forEach((items, i) => items.forEach((item, k) => {
				item.className = "word" + (item === here ? " here" : "") + (k > at && fade && fade[i] || "");
				tint(item, i === side ? 0 : found[k]);
			}));
			picture.replaceChildren(...found.flatMap((weight, i) => weight < 0.01 ? [] : [curve(weight, i, 0)]),
				...(other ? row(other) : []).flatMap((weight, i) => weight < 0.05 ? [] : [curve(weight, i, 7)]));
			const texts = others.map(item => item.textContent);
			tell(`“${here.textContent}” ${side ? "looks at" : "is looked at by"} ${best(found, texts)}` + (other && add(row(other)) ? `; ${data.name}: ${best(row(other), texts)}` : ""));
		}
		words.forEach((items, side) => items.forEach((item, i) => on(item, "pointerenter", () => show(side, i))));
		on(area, "pointerleave", () => show(1, at));
		redraw = () => show(1, at);
		const set = choice(words[1], lines[1].name, index => { at = index; pick(at); redraw(); }, at);
		return { area, step: by => set(at + by), draw: matrix => { weights = matrix; redraw(); } };
	}

	//: alignment
	views.alignment = () => {
		const matrix = text => text && rows(unpack(text), told[0].words.length);
		const view = pair(told, { weights: matrix(data.weights), at: data.start, fade: ["", " faint"], other: matrix(data.compare) });
		say.before(view.area, data.compare ? el("p", "", el("i"), "this model", el("i"), data.name) : "", stepper(view.step));
	};
	//: heads
	views.heads = () => {
		let head = data.start, at = -1;
		const thumbs = el("div", "thumbs"), place = el("div");
		function choose(kind) {
			const map = data.maps[kind], below = told[map.rows], above = told[map.columns], width = above.words.length;
			const all = rows(unpack(map.weights), width * below.words.length).map(flat => rows(flat, width));
			if (!all[head]) head = 0;
			if (at < 0 || at >= below.words.length) at = Math.floor(below.words.length / 2);
			const lines = [{ name: "looked at", words: above.words }, { name: "looks", words: below.words }];
			const view = pair(lines, { weights: all[head], at, pick: index => { at = index; }, fade: map.masked && [" masked", ""] });
			const items = all.map((matrix, i) => {
				const title = `layer ${Math.floor(i / map.heads) + 1}, head ${i % map.heads + 1}`;
				return put(el("span", "thumb", pixels(matrix, "", (weight, y, x) =>
					map.masked && x > y ? `rgba(136,136,136,${0.2 + 0.25 * ((x + y) % 2)})` : `rgba(190,80,145,${weight ** 0.7})`)), { title });
			});
			thumbs.style.gridTemplateColumns = `auto repeat(${map.heads}, minmax(0, 56px))`;
			thumbs.replaceChildren(...items.flatMap((item, i) => i % map.heads ? [item] : [el("b", "", `layer ${i / map.heads + 1}`), item]));
			choice(items, "layer and head", index => { head = index; view.draw(all[head]); }, head);
			place.replaceChildren(view.area, el("small", "", map.masked ? "Hatched: hidden by the mask." : ""));
			redraw();
		}
		say.before(options("kind", data.maps.map(map => map.kind), choose), thumbs, place);
		choose(0);
	};
	//: attention
	views.attention = () => {
		const [asking, asked] = told, { keys, values, queries } = data, width = keys[0].length, plane = width === 2;
		const reach = 1.1 * Math.max(...[...keys, ...queries].flat().map(Math.abs));
		let query = queries[0], divisor = Math.sqrt(width), name = `“${asking.words[0]}”`;
		const grid = el("div", "sums"), asks = el("samp"), gets = el("samp");
		const svg = shape("svg", { viewBox: `${-reach} ${-reach} ${2 * reach} ${2 * reach}`, class: "plane" });
		const hand = guard(shape("circle", { r: reach / 14, tabindex: 0, role: "slider", "aria-label": "query", class: "hand" }));
		const arrows = [...keys, query].map((key, i) => shape("line", { class: i < keys.length ? "" : "query", x2: key[0], y2: -key[1] }));
		function draw() {
			const products = keys.map(key => add(key.map((x, i) => x * query[i]))), scores = products.map(x => x / divisor);
			const powers = scores.map(Math.exp), weights = powers.map(x => x / add(powers));
			const head = ["", "key", "q · k", `÷ ${divisor === 1 ? 1 : "√d"}`, "e to it", "softmax", ""].map(text => el("small", "", text));
			grid.replaceChildren(...head, ...keys.flatMap((key, i) => [word(asked.words[i]),
				...[list(key), fixed(products[i]), fixed(scores[i]), +powers[i].toPrecision(3)].map(text => el("samp", "", text)),
				bar(weights[i]), el("span", "", percent(weights[i]))]));
			asks.textContent = list(query);
			gets.textContent = list(values[0].map((_, d) => add(weights.map((weight, i) => weight * values[i][d]))));
			weights.forEach((weight, i) => put(arrows[i], { "stroke-opacity": 0.25 + 0.75 * weight }));
			put(arrows[keys.length], { x2: query[0], y2: -query[1] });
			put(hand, { cx: query[0], cy: -query[1], "aria-valuetext": list(query) });
			tell(`${name} looks at ${best(weights, asked.words)}`);
		}
		const move = to => { query = to.map(x => Math.max(-reach, Math.min(reach, x))); name = "your query"; draw(); };
		const drag = event => {
			const { left, top, width } = box(svg);
			move([(event.clientX - left) / width, 1 - (event.clientY - top) / width].map(x => (2 * x - 1) * reach));
		};
		svg.append(shape("path", { class: "axis", d: `M${-reach} 0H${reach}M0 ${-reach}V${reach}` }), ...arrows, ...keys.map(([x, y], i) =>
			shape("text", { x, y: -y, "font-size": reach / 9, "text-anchor": x < 0 ? "start" : "end" }, asked.words[i])), hand);
		on(svg, "pointerdown", event => { event.preventDefault(); svg.setPointerCapture(event.pointerId); hand.focus(); drag(event); });
		on(svg, "pointermove", event => { if (event.buttons) drag(event); });
		on(hand, "keydown", event => {
			const by = arrow(event);
			if (!by) return;
			event.preventDefault();
			move(query.map((x, i) => x + by[i] * reach / 20));
		});
		say.before(options(asking.name, asking.words, i => { query = queries[i]; name = `“${asking.words[i]}”`; draw(); }),
			options("divide by √d", ["yes", "no"], i => { divisor = i ? 1 : Math.sqrt(width); draw(); }),
			el("div", "beside", plane ? svg : "", el("div", "", line("query q", asks), grid, line("context", gets))),
			el("small", "", plane ? "Drag the query's end, or move it with the arrow keys." : ""));
		draw();
	};
	//: steps
	views.steps = () => {
		const [read, written] = told, count = read.words.length, width = data.width, vectors = text => rows(unpack(text, 3), width);
		const states = vectors(data.states), [vector] = vectors(data.vector), decoder = vectors(data.decoder), panel = el("div", "panel");
		const weights = data.weights && rows(unpack(data.weights), count), nothing = new Array(width).fill(0);
		// A vector, a cell for each number: blue below zero, vermilion above.
		const strip = numbers => pixels([numbers], "strip", x => `rgba(${x < 0 ? "0,114,178" : "213,94,0"},${Math.min(1, Math.abs(x))})`);
		function look(i) {
			const t = i - count - 1;
			let lines, text;
			if (i < count) {
				lines = [["goes in", word(read.words[i])], ["state after", strip(states[i])]];
				if (!data.both) lines.splice(1, 0, ["state before", strip(states[i - 1] || nothing)]);
				text = `The encoder reads word ${i + 1} of ${count}. ${data.both ? "Half of its state" : "Its new state"} is made of this word and the state before`
					+ (data.both ? "; the other half reads from the end." : ".");
			} else if (t < 0) {
				lines = [["handed over", strip(vector)], ["first state", strip(decoder[0])]];
				text = `${width} numbers, however long the sentence. The decoder makes its first state of them`
					+ (weights ? ", and may look back at the encoder's states." : " and sees nothing else.");
			} else {
				const mix = weights ? nothing.map((_, d) => add(weights[t].map((weight, s) => weight * states[s][d]))) : vector;
				lines = [["goes in", word(written.words[t - 1] || "<s>")], [weights ? "context" : "vector", strip(mix)],
					["state before", strip(decoder[t])], ["state after", strip(decoder[t + 1])], ["comes out", bars(data.guesses[t])]];
				text = `“${data.guesses[t][0][0]}” is likeliest with ${percent(data.guesses[t][0][1])}: it is written, and goes in next.`
					+ (weights ? ` The decoder looked at ${best(weights[t], read.words)}.` : "");
			}
			cells.forEach((cell, k) => {
				cell.className = `word${k === i ? " here" : k > i ? " faint" : ""}`;
				tint(cell, weights && t >= 0 && k < count ? weights[t][k] : 0);
			});
			panel.replaceChildren(...lines.flatMap(([name, content]) => [el("b", "", name), content]));
			tell(text);
		}
		const cells = [...read.words, `${width} numbers`, ...written.words].map(word);
		const group = (name, color, items) => Object.assign(line(name, ...items), { className: `cells ${color}` });
		const chain = el("div", "", group(read.name, "encoder", cells.slice(0, count)), " → ",
			group("handed over", "vector", [cells[count]]), " → ", group(written.name, "decoder", cells.slice(count + 1)));
		let at;
		const set = choice(cells, "steps", i => { at = i; look(i); }, data.start, chain);
		say.before(chain, stepper(by => set(at + by)), panel);
		set(data.start);
	};
	//: gaps
	views.gaps = () => {
		const texts = told[0].words, { gaps, places } = data, fills = gaps.map(() => ""), panel = el("div"), items = texts.map(word);
		let at = data.start;
		function show() {
			const place = places[at], gap = gaps.indexOf(place), now = gap < 0 ? gaps.map(() => "") : fills;
			items.forEach((item, i) => {
				const fill = gaps.includes(i) ? now[gaps.indexOf(i)] : "", open = !fill && (i === place || gaps.includes(i));
				item.textContent = open ? "____" : fill || texts[i];
				item.className = `word${fill ? " filled" : ""}${i === place ? " here" : ""}`;
			});
			const key = now.map((fill, k) => k === gap ? "" : fill).join("|"), found = gap < 0 ? data.single[place] : (data.chain[key] || [])[gap];
			panel.replaceChildren(...(found ? [bars(found, i => gap < 0 ? null : () => {
				fills[gap] = found[i][0];
				const next = fills.indexOf("");
				set(next < 0 ? at : places.indexOf(gaps[next]), true);
			})] : []));
			const others = now.filter((fill, k) => fill && k !== gap).map(fill => `“${fill}”`).join(" and ");
			tell(found ? `The model expects “${found[0][0]}”, ${percent(found[0][1])}${gap < 0 ? `; here stood “${texts[place]}”` : others && `, now that ${others} is there`}`
				: "Open the gaps to fill this one again.");
		}
		const sentence = line(told[0].name, ...items);
		const set = choice(places.map(i => items[i]), told[0].name, index => { at = index; show(); }, at);
		say.before(sentence, panel, gaps.length ? button("open the gaps", () => { fills.fill(""); set(places.indexOf(gaps[0])); }) : "");
		show();
	};
	//: next
	views.next = () => {
		let path = [], heat = data.start, keep = 50;
		const text = el("p", "writing"), panel = el("div"), back = button("◀ take back", () => { path.pop(); show(); });
		const names = at => unpack(data.nodes[at.join()][0], 3).map(x => data.words[Math.round(1000 * x) + 23000]);
		const visible = piece => piece.replace(/^ /, "").replace(/\n/g, "⏎") || "␣";
		function show() {
			const [, logits, rest] = data.nodes[path.join()], words = names(path), temperature = data.temperatures[heat], all = keep >= words.length;
			const powers = unpack(logits, 3).slice(0, keep + 1).map(x => Math.exp(x / temperature));
			const sum = add(powers) + (all ? Math.exp(unpack(rest, 3)[heat]) : 0), focused = panel.contains(document.activeElement);
			const pairs = powers.slice(0, 10).map((power, i) => [visible(words[i]), power / sum]), more = i => i < 10 && data.nodes[[...path, i].join()];
			const left = (all ? data.vocabulary : powers.length) - pairs.length;
			if (left > 0) pairs.push([`the other ${left.toLocaleString("en")}`, Math.max(0, 1 - add(pairs.map(([, p]) => p)))]);
			back.disabled = !path.length;
			panel.replaceChildren(bars(pairs, i => more(i) ? () => { path.push(i); show(); } : null));
			if (focused) (panel.querySelector("button") || back).focus();
			text.replaceChildren(data.prompt, ...path.map((at, i) => el("mark", "", names(path.slice(0, i))[at])), "▁");
			tell(`“${pairs[0][0]}” has ${percent(pairs[0][1])} at temperature ${temperature}${more(0) ? "" : "; the branch ends here"}`);
		}
		say.before(text, slider("temperature", data.temperatures.length - 1, heat, i => data.temperatures[i], i => { heat = i; show(); }),
			slider("top-k", 50, 50, i => i < 50 ? i + 1 : "all", i => { keep = i; show(); }), panel, back);
		show();
	};
	//: labels
	views.labels = () => {
		const { arms, counts, accuracy, guesses, truth, names, chance } = data, reviews = told[arms.length].words, flat = accuracy.flat().filter(p => p);
		let arm = 0, at = Math.min(1, counts.length - 1), before = at, chosen = 0;
		const low = Math.min(...flat, chance), high = Math.max(...flat), x = i => 40 + 400 * i / (counts.length - 1 || 1), y = p => 125 - 110 * (p - low) / (high - low);
		const label = (x, y, text, anchor) => shape("text", { x, y, "text-anchor": anchor }, text), dot = shape("circle", { r: 5 });
		const curves = accuracy.map(row => shape("polyline", { points: row.flatMap((p, i) => p ? [`${x(i)},${y(p)}`] : []).join(" ") }));
		const svg = shape("svg", { viewBox: "0 0 460 150", class: "chart", "aria-hidden": true });
		svg.append(shape("path", { class: "chance", d: `M40 ${y(chance)}H440` }), label(440, y(chance) - 3, "chance", "end"), ...curves, dot,
			...counts.map((count, i) => label(x(i), 146, count, "middle")), ...[low, high].map(p => label(32, y(p) + 4, `${Math.round(100 * p)} %`, "end")));
		const cards = reviews.map(() => el("span")), grid = el("div", "", ...cards), review = el("p", "review");
		function read(i) {
			const guess = guesses[arm][at];
			chosen = i;
			review.replaceChildren(`${i + 1}: “${reviews[i]}” `, el("b", "", `(${names[truth[i]]}${guess ? `; it says ${names[guess[i]]}` : ""})`));
		}
		function show() {
			const p = accuracy[arm][at], guess = guesses[arm][at], old = guesses[arm][before], right = truth.map((label, i) => guess && guess[i] === label);
			const flipped = truth.map((_, i) => guess && old && guess[i] !== old[i]), many = flags => flags.filter(Boolean).length;
			curves.forEach((curve, i) => put(curve, { class: i === arm ? "chosen" : "" }));
			put(dot, { cx: x(at), cy: p ? y(p) : -9 });
			cards.forEach((card, i) => {
				card.className = `card ${guess ? right[i] ? "right" : "wrong" : ""} ${flipped[i] ? "flipped" : ""}`;
				card.textContent = `${i + 1} ${guess ? right[i] ? "✓" : "✗" : ""}`;
			});
			tell(`${arms[arm]}, ${counts[at]} labels: ${p ? percent(p) : "?"} of the test right`
				+ (guess ? `; of these ${cards.length}, ${many(right)} right` : "") + (at === before ? "" : `, ${many(flipped)} changed since ${counts[before]} labels`));
			read(chosen);
		}
		say.before(options("body", arms, i => { arm = i; before = at; show(); }), slider("labels", counts.length - 1, at, i => counts[i], i => { before = at; at = i; show(); }), svg, grid, review);
		choice(cards, "texts", read);
		show();
	};
	//: end
	on(root, "keydown", event => { if (!event.ctrlKey && !event.metaKey) event.stopPropagation(); });
	views[data.kind]();
	new ResizeObserver(() => redraw()).observe(root);
})(document.currentScript);
