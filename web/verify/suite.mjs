// A suite's items and the root that commits to them (docs/formats/suite.md, leaves.md). Suites with
// conversations, bound judges or prompts given as objects, and YAML beyond what suites commonly use, are
// left to the program: root is null then.
import { Refused, Unable, canonical, hex, isObject, need, parseJson, sha256, unhex } from "./bytes.mjs";

// ---- the YAML that suites use: block and flow mappings and lists, quoted and plain scalars, | and > ----

function plainScalar(text) {
	if (/^(|~|null|Null|NULL)$/.test(text)) return null;
	if (/^(true|True|TRUE)$/.test(text)) return true;
	if (/^(false|False|FALSE)$/.test(text)) return false;
	if (/^[-+]?[0-9]+$/.test(text) || /^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/.test(text)) return Number(text);
	if (/^0[ox]|^[-+]?\.(inf|nan)$|^[&*!|>%@`"']/i.test(text)) throw new Unable("YAML beyond what is read here");
	return text;
}

// A flow value from text[at]: {value, at}.
function flowValue(text, at) {
	const skip = () => { while (/[ \n]/.test(text[at] ?? "")) at++; };
	skip();
	if (text[at] === "{" || text[at] === "[") {
		const mapping = text[at++] === "{", close = mapping ? "}" : "]", value = mapping ? {} : [];
		for (skip(); text[at] !== close; skip()) {
			const first = flowValue(text, at);
			at = first.at;
			skip();
			if (mapping) {
				if (text[at] !== ":" || typeof first.value === "object") throw new Unable("YAML beyond what is read here");
				const inner = flowValue(text, at + 1);
				need(!Object.hasOwn(value, first.value), `the key ${first.value} stands twice`);
				value[first.value] = inner.value;
				at = inner.at;
			} else {
				value.push(first.value);
			}
			skip();
			if (text[at] === ",") at++;
			else if (text[at] !== close) throw new Unable("YAML beyond what is read here");
		}
		return { value, at: at + 1 };
	}
	const quoted = /^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')/s.exec(text.slice(at));
	if (quoted) return { value: unquote(quoted[0]), at: at + quoted[0].length };
	const plain = /^[^,{}[\]:#]*(?::(?=\S)[^,{}[\]:#]*)*/.exec(text.slice(at))[0];
	return { value: plainScalar(plain.trim()), at: at + plain.length };
}

function unquote(text) {
	if (text.includes("\n")) throw new Unable("YAML beyond what is read here");
	if (text[0] === "'") return text.slice(1, -1).replaceAll("''", "'");
	try {
		return JSON.parse(text);
	} catch {
		throw new Unable("YAML beyond what is read here");
	}
}

const KEY = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#"'[{&*!|>%@`-][^:#]*?)[ ]*:(?:[ ]+(.*))?$/;

class Yaml {
	constructor(text) {
		if (/\t|\r|^---|^\.\.\.|^%/m.test(text)) throw new Unable("YAML beyond what is read here");
		this.lines = text.split("\n");
		this.at = 0;
	}
	skip() {
		while (this.at < this.lines.length && /^ *(#|$)/.test(this.lines[this.at])) this.at++;
		return this.at < this.lines.length;
	}
	indent() {
		return this.skip() ? /^ */.exec(this.lines[this.at])[0].length : -1;
	}
	block(indent) {
		return this.lines[this.at].slice(indent).startsWith("- ") ? this.list(indent) : this.mapping(indent);
	}
	list(indent) {
		const value = [];
		while (this.indent() === indent && this.lines[this.at].slice(indent).startsWith("- ")) {
			const rest = this.lines[this.at].slice(indent + 2);
			const inner = indent + 2 + /^ */.exec(rest)[0].length;
			if (KEY.test(rest.trim())) {
				this.lines[this.at] = " ".repeat(inner) + rest.trim();
				value.push(this.block(inner));
			} else {
				value.push(this.value(rest.trim(), indent));
			}
		}
		return value;
	}
	mapping(indent) {
		const value = {};
		while (this.indent() === indent) {
			const match = KEY.exec(this.lines[this.at].slice(indent));
			if (!match) throw new Unable("YAML beyond what is read here");
			const key = /^["']/.test(match[1]) ? unquote(match[1]) : match[1];
			need(!Object.hasOwn(value, key), `the key ${key} stands twice`);
			value[key] = this.value((match[2] ?? "").trim(), indent);
		}
		if (this.indent() > indent) throw new Unable("YAML beyond what is read here");
		return value;
	}
	// What stands behind a key on this line; the place moves behind it.
	value(rest, indent) {
		this.at++;
		if (/^[|>]/.test(rest)) return this.blockScalar(rest, indent);
		if (rest === "" || rest.startsWith("#")) {
			const next = this.indent();
			const isList = next === indent && this.lines[this.at].slice(next).startsWith("- ");
			return next > indent || isList ? this.block(next) : null;
		}
		if (/^[{["']/.test(rest)) return this.flow(rest);
		if (this.indent() > indent) throw new Unable("YAML beyond what is read here");
		return plainScalar(rest.replace(/\s+#.*$/, ""));
	}
	flow(rest) {
		for (;;) {
			try {
				const { value, at } = flowValue(rest, 0);
				if (at > rest.length || !/^\s*(#.*)?$/.test(rest.slice(at))) throw new Unable("YAML beyond what is read here");
				return value;
			} catch (error) {
				if (!(error instanceof Unable) || this.at >= this.lines.length || rest.length > 1e6 || !/^[{[]/.test(rest)) throw error;
				rest += `\n${this.lines[this.at++].trim()}`;
			}
		}
	}
	blockScalar(rest, indent) {
		const style = /^([|>])([-+]?)\s*(#.*)?$/.exec(rest);
		if (!style || style[1] === ">") throw new Unable("YAML beyond what is read here");
		const lines = [];
		let inner = null;
		for (; this.at < this.lines.length; this.at++) {
			const line = this.lines[this.at], blank = /^ *$/.test(line), depth = /^ */.exec(line)[0].length;
			if (!blank) inner ??= depth;
			if (!blank && (depth <= indent || depth < inner)) break;
			lines.push(blank ? line.slice(inner ?? line.length) : line.slice(inner));
		}
		let text = lines.join("\n");
		if (style[2] !== "+") text = text.replace(/\n+$/, "");
		return text + (style[2] === "-" || text === "" ? "" : "\n");
	}
}

export function readYaml(text) {
	const yaml = new Yaml(text);
	if (yaml.indent() !== 0) throw new Unable("YAML beyond what is read here");
	const value = yaml.block(0);
	if (yaml.indent() !== -1) throw new Unable("YAML beyond what is read here");
	return value;
}

// ---- templates ----

const asText = (value) => (typeof value === "string" ? value : canonical(value));

function field(fields, name) {
	need(Object.hasOwn(fields, name), `there is no field "${name}"`);
	return fields[name];
}

const fill = (text, fields) => text.replace(/\{\{([^{}]*)\}\}/g, (_, name) => asText(field(fields, name.trim())));

function fillDeep(value, fields) {
	if (typeof value === "string") {
		const whole = /^\{\{([^{}]*)\}\}$/.exec(value);
		return whole ? field(fields, whole[1].trim()) : fill(value, fields);
	}
	if (Array.isArray(value)) return value.map((each) => fillDeep(each, fields));
	return isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fillDeep(each, fields)])) : value;
}

const part = (text) => ({ type: "text", text });

function wordsOf(suite, fields) {
	if (suite.words) {
		const text = field(fields, suite.words);
		return typeof text === "string" ? { messages: [{ role: "user", parts: [part(text)] }] } : null;
	}
	const given = suite.messages ?? [{ role: "user", text: suite.template }];
	if (given.some((each) => typeof each.text !== "string")) return null;
	const texts = given.map((each) => ({ role: each.role, text: fill(each.text, fields) }));
	const system = [...(suite.system ? [fill(suite.system, fields)] : []),
		...texts.filter((each) => each.role === "system").map((each) => each.text)].filter((text) => text !== "").map(part);
	const messages = texts.filter((each) => each.role !== "system").map(({ role, text }) => ({ role, parts: [part(text)] }));
	return system.length ? { messages, system } : { messages };
}

// How many answers are asked for: one more than stand between the turns.
function stepsOf(suite, fields) {
	const given = suite.words ? fields[suite.words]?.messages : suite.messages;
	return 1 + (Array.isArray(given) ? given.filter((each) => each?.answer === true).length : 0);
}

// What shares a source: what the suite says; else an item and its twin, called after the item.
function clustersOf(suite, rows, items) {
	const twin = (fields) => (suite.twins !== undefined && fields[suite.twins] !== undefined ? String(fields[suite.twins]) : undefined);
	const originals = new Set(rows.map(twin).filter((id) => id !== undefined));
	return rows.map((fields, i) => {
		if (suite.cluster !== undefined) return asText(field(fields, suite.cluster));
		return twin(fields) ?? (originals.has(items[i].id) ? items[i].id : undefined);
	});
}

function gradingOf(suite, id, fields, shared) {
	const { target, ...scorer } = fillDeep(suite.scorer, fields);
	const cluster = shared === undefined ? {} : { cluster: shared };
	return { id, scorer, ...cluster, ...(target === undefined ? {} : { target }) };
}

// ---- the root ----

async function saltOf(key, index) {
	const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(String(index)));
	return new Uint8Array(mac).subarray(0, 16);
}

export async function treeRoot(hashes) {
	if (hashes.length === 0) return sha256();
	// Complete subtrees from the left, joined from the right (RFC 9162, section 2.1.1).
	const stack = [];
	for (const hash of hashes) {
		stack.push({ hash, size: 1 });
		while (stack.length > 1 && stack.at(-1).size === stack.at(-2).size) await joinLast(stack);
	}
	while (stack.length > 1) await joinLast(stack);
	return stack[0].hash;
}

async function joinLast(stack) {
	const right = stack.pop(), left = stack.pop();
	stack.push({ hash: await sha256(Uint8Array.of(1), left.hash, right.hash), size: left.size + right.size });
}

async function leafOf(salt, words, grading) {
	return sha256(Uint8Array.of(0), await sha256(salt, words), await sha256(salt, grading));
}

// {name, version, samples, kind, settings, items: [{id, words (digest, hex or null), cluster, expect}], root (hex or null), why}
export async function readSuite(yamlText, itemsText, what) {
	const rows = itemsText.split("\n").filter((line, i, all) => line !== "" || i < all.length - 1)
		.map((line, i) => parseJson(line, `${what}/items.jsonl:${i + 1}`));
	const items = rows.map((fields, i) => {
		const id = isObject(fields) && (typeof fields.id === "string" || Number.isSafeInteger(fields.id)) ? String(fields.id) : null;
		need(id !== null, `${what}/items.jsonl:${i + 1}: there is no id`);
		return { id, words: null, cluster: undefined, expect: undefined, steps: undefined };
	});
	need(new Set(items.map(({ id }) => id)).size === items.length, `${what}/items.jsonl: two items share an id`);
	try {
		const suite = readYaml(yamlText);
		rows.forEach((fields, i) => (items[i].steps = stepsOf(suite, fields)));
		const facts = { name: suite.name, version: String(suite.version), samples: suite.samples ?? 1, kind: suite.scorer?.kind,
			settings: settingsOf(suite.settings ?? {}), items };
		return { ...facts, ...(await commit(suite, rows, items)) };
	} catch (error) {
		if (!(error instanceof Unable)) throw error instanceof Refused ? new Refused(`${what}: ${error.message}`) : error;
		return { items, root: null, why: error.message };
	}
}

function settingsOf({ max_tokens: maximum = 1024, ...rest }) {
	return canonical({ ...rest, max_output: maximum });
}

async function commit(suite, rows, items) {
	const seed = unhex(suite.seed ?? "0".repeat(64), 32);
	need(seed && isObject(suite.scorer), "suite.yaml: seed or scorer is malformed");
	const key = await crypto.subtle.importKey("raw", seed, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
	const hashes = [], clusters = clustersOf(suite, rows, items);
	for (const [i, fields] of rows.entries()) {
		const words = suite.judge !== undefined ? null : wordsOf(suite, fields);
		if (!words) return { root: null, why: suite.judge !== undefined ? "its judges are bound" : "its prompts are more than texts" };
		const text = canonical(words), grading = gradingOf(suite, items[i].id, fields, clusters[i]);
		items[i].words = hex(await sha256(text));
		items[i].cluster = grading.cluster;
		items[i].expect = grading.scorer.expect;
		if (suite.scorer.kind === "hazard") {
			const { hazard, reference } = grading.scorer;
			Object.assign(items[i], { hazard, reference: isObject(reference) ? reference[hazard] : reference });
		}
		hashes.push(await leafOf(await saltOf(key, i), text, canonical(grading)));
	}
	return { root: hex(await treeRoot(hashes)) };
}
