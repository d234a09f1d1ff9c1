// A second verifier, written from the specifications alone: RFC 8032, 8785 and 9162, C2SP
// signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof and tlog-policy, DSSE, in-toto,
// and docs/formats. Node's standard library only; it shares no line with the program it checks.
//
// Jobs come on stdin, one JSON object a line: {kind, path, policy, rotations?, evaluator?}. For each
// a line is printed: {"ok": true, ...facts} or {"ok": false, "why": "..."}.
import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";

class Refused extends Error {}

function need(condition, why) {
	if (!condition) throw new Refused(why);
}

// ---- bytes ----

const sha256 = (...pieces) => {
	const hash = createHash("sha256");
	for (const piece of pieces) hash.update(piece);
	return hash.digest();
};

function base64(text, size) {
	const bytes = Buffer.from(text, "base64");
	need(text.length > 0 && bytes.toString("base64") === text, "base64 is not canonical");
	need(size === undefined || bytes.length === size, `not ${size} bytes of base64`);
	return bytes;
}

function decimal(text) {
	need(/^(0|[1-9][0-9]{0,18})$/.test(text), `"${text}" is no number`);
	return BigInt(text);
}

function utf8(bytes) {
	try {
		return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
	} catch {
		throw new Refused("not UTF-8");
	}
}

// RFC 8785: JavaScript's own numbers and strings, names in UTF-16 order.
function canonical(value) {
	if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
	if (value && typeof value === "object")
		return `{${Object.keys(value)
			.sort()
			.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)
			.join(",")}}`;
	return JSON.stringify(value);
}

function parseCanonical(text, what) {
	let value;
	try {
		value = JSON.parse(text);
	} catch {
		throw new Refused(`${what} is not JSON`);
	}
	need(canonical(value) === text, `${what} is not canonical`);
	return value;
}

// ---- keys and notes ----

const SPKI = Buffer.from("302a300506032b6570032100", "hex");

function ed25519(publicKey, message, signature) {
	const key = createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: "der", type: "spki" });
	return signature.length === 64 && verifySignature(null, message, key, signature);
}

function parseVkey(text) {
	const [name, hex, ...rest] = text.split("+");
	const raw = base64(rest.join("+"), 33);
	const id = sha256(name, "\n", raw).subarray(0, 4);
	need(/^[0-9a-f]{8}$/.test(hex ?? "") && id.toString("hex") === hex, "a key's id is not its own");
	return { name, id, type: raw[0], key: raw.subarray(1) };
}

function parseNote(text) {
	need(!/[\x00-\x09\x0b-\x1f]/.test(text), "control characters in a note");
	const split = text.lastIndexOf("\n\n");
	need(split > 0 && text.endsWith("\n") && split + 2 < text.length, "no note");
	const signatures = text
		.slice(split + 2, -1)
		.split("\n")
		.map((line) => {
			const match = /^\u2014 ([^ +]+) ([A-Za-z0-9+/]+=*)$/u.exec(line);
			need(match, "a signature line is malformed");
			const bytes = base64(match[2]);
			need(bytes.length > 4, "a signature is too short");
			return { name: match[1], id: bytes.subarray(0, 4), bytes: bytes.subarray(4) };
		});
	return { text: text.slice(0, split + 1), signatures };
}

// True if the key signed; a signature of it that is wrong spoils the note.
function signedBy(note, key) {
	const own = note.signatures.filter((each) => each.name === key.name && each.id.equals(key.id));
	for (const { bytes } of own) {
		let right;
		if (key.type === 1) {
			right = ed25519(key.key, Buffer.from(note.text), bytes);
		} else {
			need(key.type === 4, "a key of an unknown type");
			const time = bytes.length === 72 ? bytes.readBigUInt64BE(0) : -1n;
			right = time >= 0n && time < 1n << 63n && ed25519(key.key,
				Buffer.from(`cosignature/v1\ntime ${time}\n${note.text}`), bytes.subarray(8));
		}
		need(right, `the signature of ${key.name} is wrong`);
	}
	return own.length > 0;
}

function parseCheckpoint(note) {
	const [origin, size, root] = note.text.split("\n");
	need(root !== undefined && origin.length > 0, "no checkpoint");
	return { origin, size: decimal(size), root: base64(root, 32) };
}

// ---- policies ----

function parsePolicy(text) {
	const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: undefined };
	const member = new Set();
	for (const line of text.split("\n")) {
		const [kind, ...words] = line.trim().split(/[ \t]+/);
		const taken = (name) => name === "none" || policy.witnesses.has(name) || policy.groups.has(name);
		if (kind === "" || kind.startsWith("#")) continue;
		if (kind === "log") {
			policy.logs.push(parseVkey(words[0]));
		} else if (kind === "witness") {
			need(!taken(words[0]), "a name is taken");
			policy.witnesses.set(words[0], parseVkey(words[1]));
		} else if (kind === "group") {
			const [name, count, ...names] = words;
			need(!taken(name) && names.length > 0, "a group is malformed");
			for (const each of names) {
				need(taken(each) && each !== "none" && !member.has(each), "a member is not free");
				member.add(each);
			}
			const k = count === "any" ? 1 : count === "all" ? names.length : Number(decimal(count));
			need(k >= 1 && k <= names.length, "a group's threshold");
			policy.groups.set(name, { k, names });
		} else {
			need(kind === "quorum" && policy.quorum === undefined, "a line of a policy");
			need(words[0] === "none" || taken(words[0]), "the quorum is not defined");
			policy.quorum = words[0];
		}
	}
	need(policy.quorum !== undefined, "no quorum");
	return policy;
}

function follow(policy, notes) {
	const texts = notes === "" ? [] : notes.split(/(?<=\n)(?=parley log key rotation 1\n)/);
	for (let more = true; more; ) {
		more = false;
		for (const text of texts) {
			const note = parseNote(text);
			const [title, origin, size, from, to, end] = note.text.split("\n");
			need(title === "parley log key rotation 1" && end === "", "no rotation");
			decimal(size);
			const [old, next] = [parseVkey(from), parseVkey(to)];
			need(old.name === origin && next.name === origin, "a rotation of two logs");
			need(signedBy(note, old) && signedBy(note, next), "a rotation that one key did not sign");
			const knows = (key) => policy.logs.some((each) => each.name === key.name && each.key.equals(key.key));
			if (knows(old) && !knows(next)) {
				policy.logs.push(next);
				more = true;
			}
		}
	}
}

// The checkpoint of a note that a log of the policy signed and enough witnesses cosigned.
function openCheckpoint(text, policy) {
	const note = parseNote(text);
	const checkpoint = parseCheckpoint(note);
	need(policy.logs.some((key) => key.name === checkpoint.origin && signedBy(note, key)),
		"no log of the policy signed the checkpoint");
	const did = new Map();
	for (const [name, key] of policy.witnesses) did.set(name, signedBy(note, key));
	for (const [name, { k, names }] of policy.groups)
		did.set(name, names.filter((each) => did.get(each)).length >= k);
	need(policy.quorum === "none" || did.get(policy.quorum), "the quorum is not met");
	const cosigned = [...policy.witnesses].filter(([name]) => did.get(name)).map(([, key]) => key.name);
	return { ...checkpoint, cosigned };
}

// ---- the tree: RFC 9162 ----

const leafHash = (data) => sha256(Buffer.from([0]), data);
const node = (left, right) => sha256(Buffer.from([1]), left, right);

function treeRoot(hashes, begin = 0, end = hashes.length) {
	if (begin === end) return sha256();
	if (end - begin === 1) return hashes[begin];
	let middle = 1;
	while (middle * 2 < end - begin) middle *= 2;
	return node(treeRoot(hashes, begin, begin + middle), treeRoot(hashes, begin + middle, end));
}

// 2.1.3.2
function includes(leaf, index, size, proof, root) {
	if (index >= size) return false;
	let [fn, sn, hash] = [index, size - 1n, leaf];
	for (const each of proof) {
		if (sn === 0n) return false;
		if (fn & 1n || fn === sn) {
			hash = node(each, hash);
			while (!(fn & 1n) && fn !== 0n) {
				fn >>= 1n;
				sn >>= 1n;
			}
		} else {
			hash = node(hash, each);
		}
		fn >>= 1n;
		sn >>= 1n;
	}
	return sn === 0n && hash.equals(root);
}

// 2.1.4.2
function isConsistent(first, second, proof, firstRoot, secondRoot) {
	if (first === 0n || first > second) return false;
	if (first === second) return proof.length === 0 && firstRoot.equals(secondRoot);
	const path = (first & (first - 1n)) === 0n ? [firstRoot, ...proof] : [...proof];
	if (path.length === 0) return false;
	let [fn, sn] = [first - 1n, second - 1n];
	while (fn & 1n) {
		fn >>= 1n;
		sn >>= 1n;
	}
	let [fr, sr] = [path[0], path[0]];
	for (const each of path.slice(1)) {
		if (sn === 0n) return false;
		if (fn & 1n || fn === sn) {
			fr = node(each, fr);
			sr = node(each, sr);
			while (!(fn & 1n) && fn !== 0n) {
				fn >>= 1n;
				sn >>= 1n;
			}
		} else {
			sr = node(sr, each);
		}
		fn >>= 1n;
		sn >>= 1n;
	}
	return sn === 0n && fr.equals(firstRoot) && sr.equals(secondRoot);
}

// ---- receipts ----

function openReceipt(text, policy) {
	const lines = text.split("\n");
	need(lines[0] === "c2sp.org/tlog-proof@v1", "no proof");
	need(lines[1].startsWith("extra "), "no record in the proof");
	const record = base64(lines[1].slice(6));
	need(lines[2].startsWith("index "), "no index");
	const index = decimal(lines[2].slice(6));
	const end = lines.indexOf("", 3);
	need(end > 0, "no checkpoint in the proof");
	const proof = lines.slice(3, end).map((line) => base64(line, 32));
	const head = openCheckpoint(lines.slice(end + 1).join("\n"), policy);
	need(includes(leafHash(record), index, head.size, proof, head.root), "the record is not in the tree");
	const fields = parseCanonical(utf8(record), "the record");
	need(/^[0-9a-f]{32}$/.test(fields.id) && BigInt(`0x${fields.id.slice(0, 12)}`) === index,
		"the record's id is of another place");
	return { head, index, fields };
}

// ---- a mirror of tiles ----

function tilePath(level, number, width) {
	let digits = String(number % 1000).padStart(3, "0");
	for (let rest = Math.floor(number / 1000); rest > 0; rest = Math.floor(rest / 1000))
		digits = `x${String(rest % 1000).padStart(3, "0")}/${digits}`;
	return `tile/${level}/${digits}${width < 256 ? `.p/${width}` : ""}`;
}

function readBundle(bytes, count) {
	const entries = [];
	for (let at = 0; at < bytes.length; ) {
		need(at + 2 <= bytes.length, "an entry bundle is cut");
		const size = bytes.readUInt16BE(at);
		need(size > 0 && at + 2 + size <= bytes.length, "an entry bundle is cut");
		entries.push(bytes.subarray(at + 2, at + 2 + size));
		at += 2 + size;
	}
	need(entries.length === count, "an entry bundle has another number of entries");
	return entries;
}

function checkTree(path, policy) {
	const head = openCheckpoint(utf8(readFileSync(join(path, "checkpoint"))), policy);
	const read = (name) => {
		need(existsSync(join(path, name)), `${name} is missing`);
		return readFileSync(join(path, name));
	};
	let hashes = [];
	for (let number = 0; number * 256 < Number(head.size); number++) {
		const width = Math.min(256, Number(head.size) - number * 256);
		for (const entry of readBundle(read(tilePath("entries", number, width)), width)) {
			const { id } = parseCanonical(utf8(entry), "an entry");
			need(BigInt(`0x${id.slice(0, 12)}`) === BigInt(hashes.length), "an entry is out of place");
			hashes.push(leafHash(entry));
		}
	}
	const leaves = hashes;
	need(treeRoot(leaves).equals(head.root), "the entries do not lead to the checkpoint");
	for (let level = 0; hashes.length > 0; level++) {
		const above = [];
		for (let number = 0; number * 256 < hashes.length; number++) {
			const part = hashes.slice(number * 256, number * 256 + 256);
			const tile = read(tilePath(level, number, part.length));
			need(tile.equals(Buffer.concat(part)), "a hash tile is not of the entries");
			if (part.length === 256) above.push(treeRoot(part));
		}
		hashes = above;
	}
	// Checkpoints of before: the same history.
	for (const name of readdirSync(path).filter((each) => each.startsWith("checkpoint."))) {
		const older = openCheckpoint(utf8(read(name)), { ...policy, quorum: "none" });
		need(older.size <= head.size, "an older checkpoint is larger");
		need(treeRoot(leaves, 0, Number(older.size)).equals(older.root), "two histories: a fork");
	}
	return { size: Number(head.size), cosigned: head.cosigned };
}

// ---- bundles ----

function listFiles(path, root = path) {
	return readdirSync(path).flatMap((name) => {
		const inner = join(path, name);
		return statSync(inner).isDirectory() ? listFiles(inner, root) : [relative(root, inner)];
	});
}

function checkStatement(path, manifest, evaluator) {
	const envelope = JSON.parse(utf8(readFileSync(join(path, "statement.dsse.json"))));
	need(envelope.payloadType === "application/vnd.in-toto+json", "another type of payload");
	const payload = base64(envelope.payload);
	const type = envelope.payloadType;
	const pae = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
	if (evaluator)
		need(envelope.signatures.some(({ sig }) => ed25519(base64(evaluator, 32), pae, base64(sig, 64))),
			"the evaluator did not sign the statement");
	const statement = JSON.parse(utf8(payload));
	need(statement._type === "https://in-toto.io/Statement/v1" &&
		statement.predicateType === "https://in-toto.io/attestation/test-result/v0.1", "no such statement");
	need(statement.subject.length === 1 && statement.subject[0].name === "manifest.json" &&
		statement.subject[0].digest.sha256 === sha256(manifest).toString("hex"),
		"the statement is about another manifest");
}

// ---- published bundles ----

// The commitments of a published bundle by their labels.
function commitments(path, withheld) {
	const places = new Map();
	const put = (label, commitment) => {
		need(/^[0-9a-f]{64}$/.test(commitment), `${label}: no commitment`);
		places.set(label, commitment);
	};
	if (withheld.plan) put("plan", withheld.plan.commitment);
	if (withheld.summary) put("summary", withheld.summary);
	for (const [id, commitment] of Object.entries(withheld.grants ?? {})) put(`grant/${id}`, commitment);
	const suites = new Map(withheld.suites.map((suite) => [suite.name, suite]));
	for (const { name, items } of suites.values())
		items.forEach((item, index) => put(`item/${name}/${index}`, item.commitment));
	utf8(readFileSync(join(path, "transcripts.jsonl"))).split("\n").filter(Boolean).forEach((text, index) => {
		const line = parseCanonical(text, "a line");
		const suite = suites.get(line.suite);
		need((line.withheld === undefined) === (suite === undefined), "a line is withheld, or is not");
		if (!suite) return;
		need(["answer", "error", "verdict"].includes(line.outcome) && /^\d+$/.test(line.item) &&
			Number(line.item) < suite.items.length, "a line of no item");
		for (const name of ["words", "answer", "error", "nonce", "request_body", "response_body"])
			need(line[name] === undefined, `${name} is shown`);
		put(`attempt/${line.suite}/${line.item}/${index + 1}`, line.withheld);
	});
	return places;
}

function checkLeaf(parts, index, count, leaves, proof, root) {
	const salt = Buffer.from(parts.salt, "hex");
	need(salt.length === 16, "a leaf's salt");
	const half = (value) => sha256(salt, Buffer.from(canonical(value)));
	const leaf = leafHash(Buffer.concat([half(parts.words), half(parts.grading)]));
	if (leaves) need(leaf.toString("hex") === leaves[index], "the leaf is another");
	else need(includes(leaf, BigInt(index), BigInt(count), proof.map((each) => Buffer.from(each, "hex")), root),
		"the leaf is not in the root");
}

function checkOpening(opening, places, withheld, roots, digests) {
	const framed = (text) => {
		const size = Buffer.alloc(8);
		size.writeBigUInt64BE(BigInt(Buffer.byteLength(text)));
		return Buffer.concat([size, Buffer.from(text)]);
	};
	need(/^[0-9a-f]{64}$/.test(opening.salt), "a salt");
	const made = sha256(Buffer.from("parley-commitment-1\n"), Buffer.from(opening.salt, "hex"),
		framed(opening.label), framed(opening.value)).toString("hex");
	need(places.get(opening.label) === made, `${opening.label} is opened with another text or salt`);
	const [kind, name, index] = opening.label.split("/");
	if (kind === "plan")
		need(sha256(Buffer.from(opening.value)).toString("hex") === withheld.plan.digest, "another plan");
	if (kind === "item") {
		const suite = withheld.suites.find((each) => each.name === name);
		const value = JSON.parse(opening.value), count = suite.items.length;
		const total = suite.judged ? 2 * count : count;
		checkLeaf(value, Number(index), total, suite.leaves, opening.proof, roots.get(name));
		if (suite.judged)
			checkLeaf(value.judge, count + Number(index), total, suite.leaves, opening.judge_proof, roots.get(name));
		digests.set(`${name}/${index}`, sha256(Buffer.from(canonical(value.words))).toString("hex"));
	}
	return kind === "attempt" ? { place: `${name}/${index}`, ...JSON.parse(opening.value) } : undefined;
}

function checkPublished(path, salts) {
	const withheld = parseCanonical(utf8(readFileSync(join(path, "withheld.json"))).slice(0, -1), "withheld.json");
	need(withheld.format === "parley-withheld-1", "another format");
	const plan = JSON.parse(utf8(readFileSync(join(path, "plan.json"))));
	const roots = new Map(plan.suites.map(({ name, root }) => [name, Buffer.from(root, "hex")]));
	for (const { name, leaves } of withheld.suites)
		if (leaves)
			need(treeRoot(leaves.map((leaf) => Buffer.from(leaf, "hex"))).equals(roots.get(name)), "another root");
	const places = commitments(path, withheld), digests = new Map();
	const openings = salts ? utf8(readFileSync(salts)).split("\n").filter(Boolean).map((line) => JSON.parse(line)) : [];
	const attempts = openings.map((each) => checkOpening(each, places, withheld, roots, digests)).filter(Boolean);
	for (const { place, words } of attempts)
		need(!digests.has(place) || words === digests.get(place), "other words were asked");
	return { commitments: places.size, opened: openings.length };
}

function checkBundle(path, policy, evaluator, salts) {
	const bytes = readFileSync(join(path, "manifest.json"));
	const text = utf8(bytes);
	need(text.endsWith("\n"), "the manifest is cut");
	const manifest = parseCanonical(text.slice(0, -1), "the manifest");
	const published = manifest.format === "parley-published-1";
	need((published || manifest.format === "parley-bundle-1") && manifest.count === manifest.files.length, "the manifest");
	const listed = new Map(manifest.files.map((file) => [file.path, file]));
	need(listed.size === manifest.count, "a file is listed twice");
	for (const name of listFiles(path)) {
		if (name === "manifest.json" || name === "statement.dsse.json") continue;
		const file = listed.get(name);
		need(file, `${name} is not listed`);
		const content = readFileSync(join(path, name));
		need(content.length === file.size && sha256(content).toString("hex") === file.sha256, `${name} is altered`);
		listed.delete(name);
	}
	need(listed.size === 0, "a file is missing");
	checkStatement(path, bytes, evaluator);
	const rotations = join(path, "key-rotations");
	if (existsSync(rotations)) follow(policy, utf8(readFileSync(rotations)));
	const admitted = new Set(), settled = new Set();
	const folder = join(path, "receipts");
	const names = existsSync(folder) ? readdirSync(folder) : [];
	let cosigned;
	for (const name of names) {
		const { fields, head } = openReceipt(utf8(readFileSync(join(folder, name))), policy);
		need(name === `${fields.id}.tlog-proof`, "a receipt has another record's name");
		if (fields.kind === "admit") admitted.add(fields.id);
		if (fields.kind === "settle") settled.add(fields.admit);
		cosigned = (cosigned ?? head.cosigned).filter((each) => head.cosigned.includes(each));
	}
	for (const id of settled) need(admitted.has(id), "an outcome without its admission");
	return { files: manifest.count, receipts: names.length, cosigned,
		...(published ? checkPublished(path, salts) : {}) };
}

// ---- the published vectors ----

function checkVectors(path) {
	let count = 0;
	const whole = (text) => BigInt(text);
	for (const line of utf8(readFileSync(path)).split("\n").filter(Boolean)) {
		// Sizes go beyond what a number holds.
		const exact = JSON.parse(line.replace(/("(?:leafIdx|treeSize|size1|size2)":\s*)(\d+)/g, '$1"$2"'));
		const proof = (exact.proof ?? []).map((each) => Buffer.from(each, "base64"));
		const bytes = (name) => Buffer.from(exact[name] ?? "", "base64");
		const roots = exact.kind === "inclusion" ? ["leafHash", "root"] : ["root1", "root2"];
		const right = proof.every((each) => each.length === 32) &&
			roots.every((name) => bytes(name).length === 32) && (exact.kind === "inclusion"
			? includes(bytes("leafHash"), whole(exact.leafIdx), whole(exact.treeSize), proof, bytes("root"))
			: isConsistent(whole(exact.size1), whole(exact.size2), proof, bytes("root1"), bytes("root2")));
		need(right === !exact.wantErr, `vector ${count}: ${exact.desc ?? ""}`);
		count++;
	}
	return { count };
}

// A request to a witness: {old: {size, root}, body}.
function checkRequest(path, policy) {
	const { old, body } = JSON.parse(utf8(readFileSync(path)));
	const split = body.indexOf("\n\n");
	const [first, ...lines] = body.slice(0, split).split("\n");
	need(first === `old ${old.size}`, "another old size");
	const proof = lines.map((line) => base64(line, 32));
	const head = openCheckpoint(body.slice(split + 2), { ...policy, quorum: "none" });
	need(old.size === 0 ? proof.length === 0
		: isConsistent(BigInt(old.size), head.size, proof, base64(old.root, 32), head.root), "not consistent");
	return { size: Number(head.size) };
}

// ---- jobs ----

const kinds = {
	checkpoint: ({ path }, policy) => ({ cosigned: openCheckpoint(utf8(readFileSync(path)), policy).cosigned }),
	receipt: ({ path }, policy) => ({ kind: openReceipt(utf8(readFileSync(path)), policy).fields.kind }),
	tree: ({ path }, policy) => checkTree(path, policy),
	bundle: ({ path, evaluator, salts }, policy) => checkBundle(path, policy, evaluator, salts),
	request: ({ path }, policy) => checkRequest(path, policy),
	vectors: ({ path }) => checkVectors(path),
};

for (const line of utf8(readFileSync(0)).split("\n").filter(Boolean)) {
	const job = JSON.parse(line);
	let answer;
	try {
		const policy = job.policy ? parsePolicy(utf8(readFileSync(job.policy))) : undefined;
		if (job.rotations) follow(policy, utf8(readFileSync(job.rotations)));
		answer = { ok: true, ...kinds[job.kind](job, policy) };
	} catch (error) {
		// Whatever goes wrong in reading, it is not what it should be; but say that it was a surprise.
		answer = { ok: false, why: error.message, surprise: !(error instanceof Refused) };
	}
	console.log(JSON.stringify(answer));
}
