// Bytes, digests and canonical texts. What is wrong with the material throws Refused (the verdict is
// FALSE); what this page cannot judge throws Unable.
export class Refused extends Error {}
export class Unable extends Error {}

export function need(condition, why) {
	if (!condition) throw new Refused(why);
}

const encoder = new TextEncoder();
export const bytesOf = (text) => encoder.encode(text);

export function join(...pieces) {
	const parts = pieces.map((piece) => (typeof piece === "string" ? bytesOf(piece) : piece));
	const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		out.set(part, at);
		at += part.length;
	}
	return out;
}

export async function sha256(...pieces) {
	return new Uint8Array(await crypto.subtle.digest("SHA-256", join(...pieces)));
}

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function unhex(text, size) {
	if (typeof text !== "string" || !/^([0-9a-fA-F]{2})*$/.test(text) || text.length !== 2 * size) return null;
	return Uint8Array.from({ length: size }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

export function same(a, b) {
	return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

// Canonical base64 (RFC 4648) with padding; null for any other text.
export function base64(text, size) {
	if (typeof text !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return null;
	const binary = atob(text);
	if (btoa(binary) !== text || (size !== undefined && binary.length !== size)) return null;
	return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

export function utf8(bytes, what) {
	try {
		return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
	} catch {
		throw new Refused(`${what}: it is not UTF-8`);
	}
}

// RFC 8785: JavaScript's own numbers and strings, names in UTF-16 order.
export function canonical(value) {
	if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
	if (value && typeof value === "object")
		return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
	return JSON.stringify(value);
}

export function parseJson(text, what) {
	try {
		return JSON.parse(text);
	} catch {
		throw new Refused(`${what}: it is not JSON`);
	}
}

// JSON in its canonical form, in which no name can stand twice.
export function parseCanonical(text, what) {
	const value = parseJson(text, what);
	need(canonical(value) === text, `${what}: it is not in the form of RFC 8785`);
	return value;
}

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// What people are shown of a text from the material: one line, no control characters or direction marks.
export function printable(text, max = 1200) {
	const clean = String(text).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, (c) =>
		`\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
	return clean.length > max ? `${clean.slice(0, max)}…` : clean;
}
