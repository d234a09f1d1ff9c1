// Runs inside the sandbox: stdin is {name, code, cases: [args, ...]}. The candidate is called with
// each list of arguments, and what it returned goes to descriptor 3: ["r", value] or ["x", text] for
// each case, in the text of code_values.c. Nothing here is secret and nothing is judged here.
"use strict";
const fs = require("fs");
const VERDICT = 3;
const DEPTH = 200;
const write = fs.writeSync;

class Opaque extends Error {}

function text(value) {
	const data = Buffer.from(value.toWellFormed ? value.toWellFormed() : value, "utf8");
	return "s" + data.length + ":" + data.toString("latin1");
}

function many(tag, values, depth) {
	let out = "";
	for (let i = 0; i < values.length; i++)
		out += encode(values[i], depth - 1);
	return tag + values.length + ":" + out;
}

function members(entries, depth) {
	let out = "";
	for (const [key, value] of entries)
		out += encode(key, depth - 1) + encode(value, depth - 1);
	return "d" + entries.length + ":" + out;
}

function number(value) {
	if (!Number.isFinite(value))
		throw new Opaque("the number " + value);
	return Number.isSafeInteger(value) ? "i" + (value + 0) + ";" : "f" + value + ";";
}

function kind(value) {
	const name = value.constructor && value.constructor.name;
	return typeof value === "object" && typeof name === "string" ? name : typeof value;
}

// One character of the result is one byte of the verdict.
function encode(value, depth) {
	if (depth === 0)
		throw new Opaque("nested too deeply");
	if (value === null || value === undefined)
		return "N";
	if (typeof value === "boolean")
		return value ? "T" : "F";
	if (typeof value === "number")
		return number(value);
	if (typeof value === "bigint")
		return "i" + value + ";";
	if (typeof value === "string")
		return text(value);
	if (Array.isArray(value))
		return many("l", value, depth);
	if (ArrayBuffer.isView(value) && !(value instanceof DataView))
		return many("l", Array.from(value), depth);
	if (value instanceof Map)
		return members([...value.entries()], depth);
	const prototype = typeof value === "object" ? Object.getPrototypeOf(value) : undefined;
	if (prototype === null || prototype === Object.prototype)
		return members(Object.entries(value), depth);
	throw new Opaque("a value of type " + kind(value));
}

function describe(error) {
	let said = "error";
	try {
		said = error instanceof Error ? error.name + ": " + error.message : String(error);
	} catch (_) {
		// what was thrown can't be said
	}
	return said.slice(0, 300);
}

function send(value) {
	const data = Buffer.from(value, "latin1");
	for (let at = 0; at < data.length;)
		at += write(VERDICT, data, at);
}

// A script's declarations, or what a module exports. Exports are written as a script has them.
function load(name, code) {
	const script = code.replace(/^export\s+default\s+(?=(async\s+)?function|class)/gm, "")
		.replace(/^export\s+(?=(async\s+)?function|class|const|let|var)/gm, "")
		.replace(/^export\s*\{[^}]*\};?/gm, "");
	const module = { exports: {} };
	const found = require("vm").compileFunction(
		script + "\n;return typeof " + name + " === 'undefined' ? undefined : " + name + ";",
		["module", "exports", "require"], { filename: "candidate.js" })(
			module, module.exports, require);
	if (typeof found === "function")
		return found;
	if (module.exports && typeof module.exports[name] === "function")
		return module.exports[name];
	if (typeof module.exports === "function")
		return module.exports;
	throw new Opaque(name + " is not defined");
}

async function main() {
	const { name, code, cases } = JSON.parse(fs.readFileSync(0, "utf8"));
	let candidate, failure;
	process.stdout.write = process.stderr.write = () => true;
	try {
		candidate = load(name, code);
	} catch (error) {
		failure = error instanceof Opaque ? error.message : describe(error);
	}
	for (const given of cases) {
		let said;
		try {
			if (failure !== undefined)
				throw new Opaque(failure);
			const value = await candidate(...given);
			try {
				said = "l2:s1:r" + encode(value, DEPTH);
			} catch (error) {
				throw error instanceof Opaque
					? new Opaque("returned " + error.message) : error;
			}
		} catch (error) {
			said = "l2:s1:x" + text(error instanceof Opaque ? error.message
								       : describe(error));
		}
		send(said);
	}
}

main().then(() => process.reallyExit(0), () => process.reallyExit(1));
