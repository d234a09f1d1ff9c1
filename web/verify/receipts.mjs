// Receipts: C2SP tlog-proof, with inclusion by RFC 9162, section 2.1.3.2, and one history for all.
import { Refused, Unable, base64, hex, join, need, parseCanonical, parseJson, same, sha256, utf8 } from "./bytes.mjs";
import { SIGNER_READER, decimal, followRotations, openHead } from "./notes.mjs";

const leafHash = (data) => sha256(Uint8Array.of(0), data);
const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

// Calls span(begin, end, hash) for every range of records whose hash the proof shows.
export async function includes(leaf, index, size, proof, root, span = () => {}) {
	if (index >= size) return false;
	let [fn, sn, hash, begin, end, width] = [index, size - 1n, leaf, index, index + 1n, 1n];
	span(begin, end, hash);
	for (const each of proof) {
		if (sn === 0n) return false;
		if (fn & 1n || fn === sn) {
			while (!(fn & 1n) && fn !== 0n) {
				fn >>= 1n;
				sn >>= 1n;
				width <<= 1n;
			}
			span(begin - width, begin, each);
			hash = await nodeHash(each, hash);
			begin -= width;
		} else {
			const far = end + width < size ? end + width : size;
			span(end, far, each);
			hash = await nodeHash(hash, each);
			end = far;
		}
		span(begin, end, hash);
		fn >>= 1n;
		sn >>= 1n;
		width <<= 1n;
	}
	return sn === 0n && same(hash, root);
}

export function parseProof(text) {
	const lines = text.split("\n");
	need(lines[0] === "c2sp.org/tlog-proof@v1", "its first line is not that of a tlog-proof");
	let at = 1, extra = null;
	if (lines[at]?.startsWith("extra ")) {
		extra = base64(lines[at++].slice(6));
		need(extra && extra.length > 0, "its extra line holds no record");
	}
	need(lines[at]?.startsWith("index "), "the index is missing");
	const index = decimal(lines[at].slice(6), "the index");
	const end = lines.indexOf("", at + 1);
	need(end > 0, "the checkpoint is missing");
	const hashes = lines.slice(at + 1, end).map((line) => base64(line, 32));
	need(hashes.every(Boolean) && hashes.length <= 64, "a hash of the proof is malformed");
	return { extra, index, hashes, checkpoint: lines.slice(end + 1).join("\n") };
}

// All that receipts of one bundle or file share: heads already opened, logs, known ranges.
export function newBook(reader, own) {
	return { reader, own, heads: new Map(), logs: new Map(), spans: new Map() };
}

async function headOf(book, text) {
	if (!book.heads.has(text)) book.heads.set(text, await openHead(book.reader, book.own, text));
	return book.heads.get(text);
}

function logOf(book, head) {
	const name = `${head.origin} ${hex(head.key)}`;
	if (!book.logs.has(name))
		book.logs.set(name, { origin: head.origin, signer: head.signer, size: 0n, receipts: 0, finding: head.finding, name });
	const log = book.logs.get(name);
	if (head.size > log.size) log.size = head.size;
	log.finding = joinFindings(log.finding, head.finding);
	log.receipts++;
	return log;
}

export function joinFindings(a, b) {
	return { quorum: a.quorum && b.quorum, witnesses: a.witnesses, cosigned: a.cosigned.filter((each) => b.cosigned.includes(each)) };
}

export async function checkReceipt(book, text, record) {
	const proof = parseProof(text);
	const bytes = record ?? proof.extra;
	if (!bytes) throw new Unable("the proof does not hold its record: `parley verify --record FILE` takes one beside it");
	const head = await headOf(book, proof.checkpoint);
	const log = logOf(book, head);
	const conflict = [];
	const right = await includes(await leafHash(bytes), proof.index, head.size, proof.hashes, head.root, (begin, end, hash) => {
		const range = `${log.name} ${begin} ${end}`, known = book.spans.get(range);
		if (known && known !== hex(hash)) conflict.push([begin, end]);
		else book.spans.set(range, hex(hash));
	});
	need(right, `the record is not entry ${proof.index} of the log ${head.origin} of size ${head.size}`);
	need(conflict.length === 0, `the checkpoint of size ${head.size} is of another history of the log ${head.origin} than an earlier one`);
	const fields = parseCanonical(utf8(bytes, "the record"), "the record");
	need(typeof fields.id === "string" && typeof fields.kind === "string", "the record has no id or kind");
	need(/^[0-9a-f]{32}$/.test(fields.id) && BigInt(`0x${fields.id.slice(0, 12)}`) === proof.index,
		`record ${fields.id.slice(0, 40)} is not entry ${proof.index} by its id`);
	return { fields, id: fields.id, kind: fields.kind, index: proof.index, head, log, signer: head.signer };
}

// ---- a receipt that stands alone ----

const COUNTED = ["no", "one", "two", "three"];

export function witnessPhrase(policy, finding) {
	if (!policy || !finding.quorum) return "";
	const count = finding.cosigned.length;
	if (count === 0) return policy.quorum === "none" ? "" : " and its witnesses";
	return ` and ${COUNTED[count] ?? count} witness${count > 1 ? "es" : ""} (${finding.cosigned.join(", ")})`;
}

export function witnessesLack(policy, finding, origin) {
	if (!policy || finding.quorum) return null;
	return `${finding.cosigned.length} of the ${finding.witnesses} witnesses of your policy cosigned the checkpoint of ${origin}, fewer than its quorum asks for`;
}

export function noteWitnesses(reader, finding, report) {
	for (const name of reader.policy ? finding.cosigned : [])
		report.trusted.push(`the witness ${name} of your policy: that it saw this log only grow`);
	if (reader.rotated > 0)
		report.trusted.push(`${reader.rotated} keys of logs that others, which you gave, handed on to them`);
}

async function checkPairs(text, book) {
	const tree = parseJson(text, "receipts");
	if (tree.rotations) await followRotations(book.reader, tree.rotations, "rotations");
	need(Array.isArray(tree.receipts) && tree.receipts.length > 0, "receipts: there is none");
	const all = [];
	for (const [i, each] of tree.receipts.entries()) {
		need(typeof each?.record === "string" && typeof each?.proof === "string", `receipts[${i}]: record or proof is missing`);
		try {
			all.push(await checkReceipt(book, each.proof, join(each.record)));
		} catch (error) {
			throw error instanceof Refused ? new Refused(`receipts[${i}]: ${error.message}`) : error;
		}
	}
	return all;
}

export async function checkReceiptFile(text, reader, report) {
	report.subject = "receipt";
	const book = newBook(reader, null);
	const all = text.startsWith("{") ? await checkPairs(text, book) : [await checkReceipt(book, text)];
	const origin = all[0].head.origin;
	for (const each of all) {
		need(each.head.origin === origin, `the receipts are of two logs, ${origin} and ${each.head.origin}`);
		if (each.fields.observed === true)
			report.unchecked.push(`record ${each.id} is of a gateway in mode observe: it kept out nothing that its grants forbid`);
		report.checked.push(`record ${each.id} (${each.kind}${each.fields.time ? `, ${each.fields.time}` : ""}) is entry ${each.index} of the log ${origin} of size ${each.head.size}`);
	}
	const finding = all.map((each) => each.head.finding).reduce(joinFindings);
	const mine = all.every((each) => each.signer === SIGNER_READER);
	const lack = mine && witnessesLack(reader.policy, finding, origin);
	if (mine) report.trusted.push(`${origin}, whose key you gave`);
	if (mine && !lack) {
		noteWitnesses(reader, finding, report);
		report.vouched(`VOUCHED by ${origin}${witnessPhrase(reader.policy, finding)}; ${all.length} record${all.length === 1 ? "" : "s"}`);
		return;
	}
	if (!mine) report.unchecked.push(`the checkpoint's signature: no key for ${origin} was given`);
	report.selfCertified(lack || `by a log that calls itself ${origin}; give its key, from a source that you trust, in the field above`);
}
