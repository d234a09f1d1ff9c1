// What was dropped, and who checks it.
import { Refused, Unable, hex, need, parseJson, printable, utf8 } from "./bytes.mjs";
import { checkBundle } from "./bundle.mjs";
import { parseVkey, readEnvelope, readKeys, signedBy, parseNote, verifyEd25519 } from "./notes.mjs";
import { checkReceiptFile } from "./receipts.mjs";

export function newReport() {
	const conclude = (verdict) => (headline) => Object.assign(report, { verdict, headline });
	const report = { subject: "nothing", verdict: "unknown", headline: "", results: [], checked: [], unchecked: [], programOnly: [], trusted: [],
		vouched: conclude("vouched"), failed: conclude("false"),
		selfCertified: (why) => conclude("self-certified")(`CONSISTENT, SELF-CERTIFIED: ${why}`) };
	return report;
}

// Files by path; a common folder (the bundle's own, or a run's with bundle/ in it) is taken off.
export function rootOf(files) {
	const manifests = [...files.keys()].filter((path) => path === "manifest.json" || path.endsWith("/manifest.json") ||
		path === "statement.dsse.json" || path.endsWith("/statement.dsse.json")).sort((a, b) => a.split("/").length - b.split("/").length);
	if (!manifests.length) return null;
	const folder = manifests[0].slice(0, manifests[0].lastIndexOf("/") + 1);
	return new Map([...files].filter(([path]) => path.startsWith(folder)).map(([path, file]) => [path.slice(folder.length), file]));
}

async function checkPaper(envelope, reader, report) {
	report.subject = "paper";
	const paper = parseJson(utf8(envelope.payload, "the paper"), "the paper");
	const issuer = await parseVkey(paper.issuer?.key ?? "");
	need(issuer, "the paper names no issuer");
	let right = false;
	for (const { sig } of envelope.signatures) right ||= await verifyEd25519(issuer.key, envelope.signed, sig);
	need(right, `the paper is not signed by its issuer ${issuer.name}`);
	report.checked.push(`the signature of ${issuer.name} over this ${paper.parley}`);
	let vouched = reader.logs.some((key) => key.name === issuer.name && hex(key.key) === hex(issuer.key)) ? issuer.name : null;
	const note = typeof envelope.certificate === "string" ? parseNote(envelope.certificate) : null;
	for (const log of note ? reader.logs : [])
		if (note.text === `parley grant key v1\n${paper.issuer.key}\n` && await signedBy(note, log)) vouched = log.name;
	report.programOnly.push("the organisation's signature and the terms beside a grant");
	if (vouched) report.vouched(`VOUCHED by ${vouched}; a ${paper.parley}`);
	else report.selfCertified(`signed by an issuer that calls itself ${issuer.name}; give the key of its log, from a source that you trust, in the field above`);
}

async function checkFile(name, file, reader, report) {
	const text = utf8(new Uint8Array(await file.arrayBuffer()), name);
	if (name.endsWith(".tlog-proof") || text.startsWith("c2sp.org/") || /^\{[^]{0,256}"receipts"/.test(text))
		return checkReceiptFile(text, reader, report);
	const tree = text.startsWith("{") ? parseJson(text, name) : null;
	const envelope = tree?.envelope ?? tree;
	if (envelope?.payloadType?.startsWith?.("application/vnd.parley."))
		return checkPaper({ ...readEnvelope(new TextEncoder().encode(JSON.stringify(envelope)), name), certificate: envelope.certificate }, reader, report);
	throw new Unable(`${name} is no bundle, no receipt and no paper that this page knows: \`parley verify\` reads other harnesses' logs and logs' directories`);
}

// Whatever was dropped, as {verdict: vouched | self-certified | false | unknown, headline, …}.
export async function verifyFiles(files, keysText) {
	const report = newReport();
	try {
		if (!crypto.subtle) throw new Unable("this browser gives pages opened in this way no cryptography: open the file itself");
		let reader;
		try {
			reader = await readKeys(keysText, "keys");
		} catch (error) {
			throw error instanceof Refused ? new Unable(error.message) : error;
		}
		const bundle = rootOf(files);
		if (bundle) {
			need(bundle.has("manifest.json"), "manifest.json: the file is missing");
			await checkBundle(bundle, reader, report);
		} else if ([...files.keys()].some((path) => /(^|\/)segments\//.test(path))) {
			throw new Unable("this is a log's directory: only `parley verify` reads one");
		} else if (files.size === 1) {
			await checkFile(...files.entries().next().value, reader, report);
		} else {
			throw new Unable(`among these ${files.size} files there is no manifest.json of a bundle`);
		}
	} catch (error) {
		report.results = [];
		if (error instanceof Refused) report.failed(`FALSE: ${error.message}`);
		else if (error instanceof Unable) Object.assign(report, { verdict: "unknown", headline: `NOT CHECKED: ${error.message}` });
		else Object.assign(report, { verdict: "unknown", headline: `NOT CHECKED: this page failed (${error.message}); \`parley verify\` may do better` });
	}
	report.headline = printable(report.headline);
	return report;
}
