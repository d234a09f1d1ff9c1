// The page: what is dropped or chosen, and what is said about it. Texts go in as text, never as markup.
import { printable, utf8 } from "./bytes.mjs";
import { readKeys } from "./notes.mjs";
import { verifyFiles } from "./verify.mjs";

const KEYS_MAX = 1 << 16, FILES_MAX = 200000;
const byId = (id) => document.getElementById(id);
let current = null; // the files being looked at
let turn = 0;

const SECTIONS = [["checked", "Checked"], ["unchecked", "Not checked"], ["programOnly", "Only parley verify can check"], ["trusted", "Trusted"]];
const MARKS = { vouched: "✓", "self-certified": "~", false: "✗", unknown: "?" };
const WORDS = { vouched: "vouched for.", "self-certified": "consistent, self-certified.", false: "false.", unknown: "not checked." };
const HELP = {
	vouched: "Everything this page can check is consistent, and a key that you gave stands behind it.",
	"self-certified": "Everything this page can check is consistent, and nobody whose key you gave stands behind it.",
	false: "Something does not hold. The first such thing is named.",
	unknown: "No verdict could be reached.",
};

function element(name, text, attributes = {}) {
	const node = document.createElement(name);
	if (text !== undefined) node.textContent = text;
	for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
	return node;
}

function resultTable(results) {
	const wrap = element("div", undefined, { class: "wide", role: "region", tabindex: "0", "aria-label": "Results, recomputed" });
	const table = element("table");
	table.append(element("caption", "Results, recomputed from the published scores, with 95 % intervals"));
	const head = element("tr");
	for (const text of ["Suite", "Model", "Metric", "Value", "95 % interval", "n", "Failed"]) head.append(element("th", text, { scope: "col", ...(["Value", "95 % interval", "n", "Failed"].includes(text) ? { class: "number" } : {}) }));
	table.append(element("thead"), element("tbody"));
	table.tHead.append(head);
	for (const each of results) {
		const row = element("tr");
		row.append(element("th", printable(each.suite, 200), { scope: "row" }), element("td", printable(each.model, 200)), element("td", each.metric),
			element("td", each.value.toFixed(4), { class: "number" }), element("td", `${each.low.toFixed(4)} to ${each.high.toFixed(4)}`, { class: "number" }),
			element("td", String(each.n), { class: "number" }), element("td", String(each.failed), { class: "number" }));
		table.tBodies[0].append(row);
	}
	wrap.append(table);
	return wrap;
}

function show(report) {
	const out = byId("result");
	out.replaceChildren();
	const verdict = element("div", undefined, { class: `verdict ${report.verdict}` });
	verdict.append(element("span", MARKS[report.verdict], { "aria-hidden": "true", class: "mark" }), element("h3", report.headline, { id: "headline", tabindex: "-1" }));
	out.append(verdict, element("p", HELP[report.verdict]));
	if (report.results.length) out.append(resultTable(report.results));
	for (const [name, title] of SECTIONS) {
		if (!report[name].length || report.verdict === "unknown") continue;
		const list = element("ul");
		for (const text of report[name]) list.append(element("li", printable(text, 2000)));
		out.append(element("h3", title), list);
	}
	out.setAttribute("aria-busy", "false");
	document.title = `${report.headline.slice(0, 60)} – Parley`;
}

async function check() {
	if (!current) return;
	const mine = ++turn;
	byId("result").setAttribute("aria-busy", "true");
	byId("status").textContent = `Checking ${current.size} file${current.size === 1 ? "" : "s"}…`;
	const report = await verifyFiles(current, byId("keys").value);
	if (mine !== turn) return;
	show(report);
	byId("status").textContent = `Looked at ${current.size} file${current.size === 1 ? "" : "s"}: ${WORDS[report.verdict]}`;
}

// A file of keys goes into the field; anything else is looked at.
async function take(files) {
	if (files.size === 1) {
		const [file] = files.values();
		if (file.size <= KEYS_MAX && await takeKeys(file)) return;
	}
	current = files;
	await check();
}

async function takeKeys(file) {
	try {
		const text = utf8(new Uint8Array(await file.arrayBuffer()), "keys");
		const keys = await readKeys(text, "keys");
		if (!keys.logs.length && !keys.evaluators.length && !keys.policy) return false;
		byId("keys").value = text;
	} catch {
		return false;
	}
	byId("status").textContent = `Keys taken from ${printable(file.name, 100)}.`;
	await check();
	return true;
}

// ---- what is dropped ----

const asPromise = (call) => new Promise((resolve, reject) => call(resolve, reject));

async function walkEntry(entry, prefix, out) {
	if (out.size > FILES_MAX) throw new Error("too many files");
	if (entry.isFile) {
		out.set(prefix + entry.name, await asPromise((yes, no) => entry.file(yes, no)));
		return;
	}
	const reader = entry.createReader();
	for (;;) {
		const some = await asPromise((yes, no) => reader.readEntries(yes, no));
		if (!some.length) return;
		for (const inner of some) await walkEntry(inner, `${prefix}${entry.name}/`, out);
	}
}

async function walkHandle(handle, prefix, out) {
	if (out.size > FILES_MAX) throw new Error("too many files");
	if (handle.kind === "file") {
		out.set(prefix + handle.name, await handle.getFile());
		return;
	}
	for await (const inner of handle.values()) await walkHandle(inner, `${prefix}${handle.name}/`, out);
}

// Everything must be asked for before the first wait: the list is emptied then.
function droppedFiles(transfer) {
	const items = [...transfer.items].filter((item) => item.kind === "file");
	const plain = [...transfer.files];
	const entries = items.map((item) => item.webkitGetAsEntry?.() ?? null);
	const handles = items.map((item) => item.getAsFileSystemHandle?.().catch(() => null) ?? null);
	return (async () => {
		const out = new Map();
		for (const [i, entry] of entries.entries()) {
			if (entry && !entry.isDirectory && plain[i]) {
				out.set(plain[i].name, plain[i]);
				continue;
			}
			const handle = await handles[i];
			if (handle) await walkHandle(handle, "", out);
			else if (entry) await walkEntry(entry, "", out);
			else if (plain[i]) out.set(plain[i].name, plain[i]);
		}
		return out;
	})();
}

function fail(error) {
	byId("status").textContent = `The browser would not read that (${error.name}): choose the folder with the button instead.`;
}

const chosen = (input) => new Map([...input.files].map((file) => [file.webkitRelativePath || file.name, file]));

function start() {
	const zone = byId("drop");
	for (const name of ["dragenter", "dragover"])
		document.addEventListener(name, (event) => {
			event.preventDefault();
			zone.classList.add("over");
		});
	for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => zone.classList.remove("over"));
	document.addEventListener("drop", (event) => {
		event.preventDefault();
		const onKeys = event.target === byId("keys") && event.dataTransfer.files.length === 1;
		const keysFile = onKeys ? event.dataTransfer.files[0] : null;
		droppedFiles(event.dataTransfer).then((files) => (keysFile ? takeKeys(keysFile) : take(files))).catch(fail);
	});
	// So that the same file can be chosen again after it was changed.
	for (const id of ["files", "folder", "keyfile"]) byId(id).addEventListener("click", (event) => (event.target.value = ""));
	for (const id of ["files", "folder"]) byId(id).addEventListener("change", (event) => take(chosen(event.target)).catch(fail));
	byId("keyfile").addEventListener("change", async (event) => {
		const [file] = event.target.files;
		if (file && !(await takeKeys(file))) byId("status").textContent = "That file holds no keys and no policy.";
	});
	byId("keys").addEventListener("change", () => check().catch(fail));
	byId("again").addEventListener("click", () => check().catch(fail));
}

start();
