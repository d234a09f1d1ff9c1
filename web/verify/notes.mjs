// Ed25519 (RFC 8032, by WebCrypto), signed notes, checkpoints, cosignatures, policies: C2SP signed-note,
// tlog-checkpoint, tlog-cosignature and tlog-policy; the log's key rotations (docs/formats/log.md).
import { Refused, Unable, base64, bytesOf, hex, join, need, same, sha256, utf8 } from "./bytes.mjs";

const NOTE_MAX = 1 << 20;
const KEY_LOG = 1, KEY_WITNESS = 4;

export async function verifyEd25519(publicKey, message, signature) {
	if (signature.length !== 64) return false;
	let key;
	try {
		key = await crypto.subtle.importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
	} catch (error) {
		if (error.name === "NotSupportedError")
			throw new Unable("this browser has no Ed25519 (Chromium 137, Firefox 129 and Safari 17 do): use a newer one");
		return false;
	}
	return crypto.subtle.verify({ name: "Ed25519" }, key, signature, message);
}

// name+id+base64 of type and key. null where the text is none.
export async function parseVkey(text, type = KEY_LOG) {
	const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
	const raw = match && base64(match[3], 33);
	if (!raw || raw[0] !== type) return null;
	const id = (await sha256(match[1], "\n", raw)).subarray(0, 4);
	return hex(id) === match[2] ? { name: match[1], id, type, key: raw.subarray(1) } : null;
}

const sameKey = (a, b) => a.name === b.name && a.type === b.type && same(a.key, b.key);

export function parseNote(text) {
	need(text.length <= NOTE_MAX, "a signed note is too large");
	need(!/[\u0000-\u0009\u000b-\u001f\u007f]/.test(text), "a signed note must be UTF-8 without control characters");
	const split = text.lastIndexOf("\n\n");
	need(split > 0 && text.endsWith("\n") && split + 2 < text.length,
		"a signed note is text, an empty line, and signature lines");
	const signatures = text.slice(split + 2, -1).split("\n").map((line, number) => {
		const match = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+=*)$/u.exec(line);
		const bytes = match && base64(match[2]);
		need(bytes && bytes.length > 4, `signature line ${number + 1} of a note is malformed`);
		return { name: match[1], id: bytes.subarray(0, 4), bytes: bytes.subarray(4) };
	});
	return { text: text.slice(0, split + 1), signatures };
}

// True if the key signed. A signature under its name and id that is wrong spoils the note.
export async function signedBy(note, key) {
	const own = note.signatures.filter((each) => each.name === key.name && same(each.id, key.id));
	for (const { bytes } of own) {
		let right;
		if (key.type === KEY_LOG) {
			right = await verifyEd25519(key.key, bytesOf(note.text), bytes);
		} else {
			const time = bytes.length === 72 ? new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0) : 1n << 63n;
			right = time < 1n << 63n && await verifyEd25519(key.key,
				bytesOf(`cosignature/v1\ntime ${time}\n${note.text}`), bytes.subarray(8));
		}
		need(right, `the signature of "${key.name}" is wrong`);
	}
	return own.length > 0;
}

export function decimal(text, what) {
	need(/^(0|[1-9][0-9]{0,18})$/.test(text ?? ""), `${what} is no number`);
	return BigInt(text);
}

export function parseCheckpoint(note) {
	const [origin, size, root, ...rest] = note.text.split("\n");
	const hash = base64(root ?? "", 32);
	need(origin.length > 0 && hash && rest.at(-1) === "", "a checkpoint is origin, size and root");
	return { origin, size: decimal(size, "a checkpoint's size"), root: hash };
}

// ---- whom to trust ----

const POLICY_WORDS = new Set(["log", "witness", "group", "quorum"]);

export const noKeys = () => ({ logs: [], evaluators: [], policy: null, rotated: 0, handed: [] });

function policyNode(policy, name, line) {
	need(name && name !== "none" && !policy.nodes.some((node) => node.name === name), `line ${line}: the name is taken: "${name}"`);
}

async function policyLine(policy, words, line) {
	const [kind, name, ...rest] = words;
	const find = (wanted) => policy.nodes.find((node) => node.name === wanted);
	if (kind === "log") {
		const key = await parseVkey(name ?? "");
		need(key, `line ${line}: no key of a log`);
		policy.logs.push(key);
	} else if (kind === "witness") {
		policyNode(policy, name, line);
		const key = await parseVkey(rest[0] ?? "", KEY_WITNESS);
		need(key, `line ${line}: no key of a witness`);
		policy.nodes.push({ name, key });
	} else if (kind === "group") {
		policyNode(policy, name, line);
		const members = rest.slice(1).map((each) => find(each));
		need(members.length > 0 && members.every((each) => each && !each.parent), `line ${line}: a member is unknown or taken`);
		for (const member of members) member.parent = name;
		const threshold = rest[0] === "any" ? 1 : rest[0] === "all" ? members.length : Number(decimal(rest[0], `line ${line}: the threshold`));
		need(threshold >= 1 && threshold <= members.length, `line ${line}: the group has fewer members than its threshold`);
		policy.nodes.push({ name, threshold, members });
	} else {
		need(policy.quorum === undefined, `line ${line}: a second quorum`);
		need(name === "none" || find(name), `line ${line}: no line above defines "${name}"`);
		policy.quorum = name;
	}
}

// Keys, one a line (the last word of it), or the lines of a tlog-policy, or both.
// Notes by which logs' keys were handed on may stand behind them.
export async function readKeys(whole, what) {
	const keys = noKeys();
	const at = whole.search(/^parley log key rotation 1$/m);
	const text = at < 0 ? whole : whole.slice(0, at);
	const policy = { logs: [], nodes: [], quorum: undefined };
	let isPolicy = false;
	for (const [number, raw] of text.split("\n").entries()) {
		const words = raw.trim().split(/[ \t]+/);
		if (words[0] === "" || words[0].startsWith("#")) continue;
		try {
			if (words.length > 1 && POLICY_WORDS.has(words[0])) {
				isPolicy ||= words[0] !== "log";
				await policyLine(policy, words, number + 1);
				continue;
			}
			const word = words.at(-1);
			const log = await parseVkey(word), evaluator = base64(word, 32);
			need(log || evaluator, (await parseVkey(word, KEY_WITNESS))
				? "this is the key of a witness: name it in a policy"
				: `"${word.slice(0, 100)}" is neither a verifier key (name+id+base64) nor a public key (base64 of 32 bytes)`);
			if (log) keys.logs.push(log);
			else keys.evaluators.push(evaluator);
		} catch (error) {
			throw error instanceof Refused ? new Refused(`${what}:${number + 1}: ${error.message}`) : error;
		}
	}
	keys.logs.push(...policy.logs);
	if (isPolicy) {
		need(policy.quorum !== undefined, `${what}: there is no line "quorum NAME" (or "quorum none")`);
		keys.policy = policy;
	}
	if (at >= 0) await followRotations(keys, whole.slice(at).trimEnd() + "\n", "notes of rotations");
	return keys;
}

export async function followRotations(keys, text, what) {
	const notes = text === "" ? [] : text.split(/(?<=\n)(?=parley log key rotation 1\n)/);
	for (let more = true; more; ) {
		more = false;
		for (const each of notes) {
			const note = parseNote(each);
			const [title, origin, size, from, to, end] = note.text.split("\n");
			const [old, next] = [await parseVkey(from ?? ""), await parseVkey(to ?? "")];
			need(title === "parley log key rotation 1" && end === "" && old && next && old.name === origin && next.name === origin,
				`${what}: a note is no key rotation`);
			decimal(size, `${what}: the size`);
			need(await signedBy(note, old) && await signedBy(note, next), `${what}: a rotation that one of its keys did not sign`);
			keys.handed.push({ from: old, to: next });
			if (!keys.logs.some((key) => sameKey(key, old)) || keys.logs.some((key) => sameKey(key, next))) continue;
			keys.logs.push(next);
			keys.rotated++;
			more = true;
		}
	}
}

// ---- heads ----

export const SIGNER_NONE = 0, SIGNER_BUNDLE = 1, SIGNER_READER = 2;

// What the witnesses of a policy say: {quorum, cosigned: [names], witnesses: number}.
async function lookAtWitnesses(policy, note) {
	const did = new Map();
	for (const node of policy?.nodes ?? [])
		did.set(node.name, node.key ? await signedBy(note, node.key)
			: node.members.filter((member) => did.get(member.name)).length >= node.threshold);
	const witnesses = (policy?.nodes ?? []).filter((node) => node.key);
	return { quorum: !policy || policy.quorum === "none" || did.get(policy.quorum) === true,
		cosigned: witnesses.filter((node) => did.get(node.name)).map((node) => node.key.name), witnesses: witnesses.length };
}

async function openWith(keys, note, origin) {
	const named = (keys?.logs ?? []).filter((key) => key.name === origin);
	for (const key of named) if (await signedBy(note, key)) return { named: true, key };
	return { named: named.length > 0, key: null };
}

// Whether the key with this id was handed on, and on, to one that is known.
function leadsToKnown(keys, origin, id) {
	for (let step = 0; step <= keys.handed.length; step++) {
		const next = keys.handed.find((each) => each.from.name === origin && same(each.from.id, id));
		if (!next) return false;
		if (keys.logs.some((key) => sameKey(key, next.to))) return true;
		id = next.to.id;
	}
	return false;
}

// Why none of the keys has signed, in the program's words.
function howKeysDiffer(keys, note, origin, whose) {
	const line = note.signatures.find((each) => each.name === origin && each.bytes.length === 64);
	const ids = keys.logs.filter((key) => key.name === origin).map((key) => hex(key.id)).join(", ");
	if (!line) return `not signed with the key ${whose} (${ids}), nor by its log at all`;
	if (leadsToKnown(keys, origin, line.id))
		return `not signed with the key ${whose} (${ids}) but with the one before it (${hex(line.id)}), which was handed on later: a key vouches for those after it, not for those before; give the older one with --key too`;
	return `not signed with the key ${whose} (${ids}) but with another (${hex(line.id)}): somebody else made this log, or it is of before or after a rotation of its key; then give the other one too, or the log's notes on it (a file of what /log/key-rotations serves), with --key`;
}

// A log that the reader has a key of must be signed with it, whatever else is brought along.
export async function openHead(reader, own, text) {
	const note = parseNote(text);
	const head = { ...parseCheckpoint(note), signer: SIGNER_READER, key: note.signatures[0].id,
		finding: await lookAtWitnesses(reader.policy ?? own?.policy, note) };
	const mine = await openWith(reader, note, head.origin);
	if (mine.key) return { ...head, key: mine.key.id };
	need(!mine.named, `the checkpoint of ${head.origin} is ${howKeysDiffer(reader, note, head.origin, "that you gave for it")}`);
	const theirs = await openWith(own, note, head.origin);
	need(!theirs.named || theirs.key, `the checkpoint of ${head.origin} is not signed with the key in policy`);
	return { ...head, key: theirs.key?.id ?? head.key, signer: theirs.key ? SIGNER_BUNDLE : SIGNER_NONE };
}

// ---- DSSE ----

export function preAuthentication(type, payload) {
	const size = bytesOf(type).length;
	return join(`DSSEv1 ${size} ${type} ${payload.length} `, payload);
}

export function readEnvelope(text, what) {
	let envelope;
	try {
		envelope = JSON.parse(utf8(text, what));
	} catch (error) {
		throw error instanceof Refused ? error : new Refused(`${what}: it is not JSON`);
	}
	const payload = base64(envelope?.payload), type = envelope?.payloadType;
	need(payload && typeof type === "string" && Array.isArray(envelope.signatures), `${what}: it is no DSSE envelope`);
	const signatures = envelope.signatures.map((each) => {
		const sig = base64(each?.sig, 64);
		need(sig, `${what}: a signature is malformed`);
		return { keyid: String(each.keyid ?? ""), sig };
	});
	return { payload, type, signatures, signed: preAuthentication(type, payload) };
}
