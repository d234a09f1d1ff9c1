// A bundle, from its manifest to its headline (docs/formats/bundle.md). `files` maps paths to Blobs.
import { Refused, Unable, canonical, hex, isObject, need, parseCanonical, parseJson, sha256, unhex, utf8 } from "./bytes.mjs";
import { SIGNER_BUNDLE, SIGNER_READER, followRotations, noKeys, parseNote, parseVkey, readEnvelope, readKeys, signedBy, verifyEd25519 } from "./notes.mjs";
import { checkReceipt, joinFindings, newBook, noteWitnesses, witnessPhrase, witnessesLack } from "./receipts.mjs";
import { readSuite, treeRoot } from "./suite.mjs";
import { checkAttempts } from "./attempts.mjs";
import { checkScores } from "./scores.mjs";

const FORMATS = ["parley-bundle-1", "parley-published-1"];
const WITHHELD = "withheld.json"; // docs/formats/published.md
const MANIFEST = "manifest.json", STATEMENT = "statement.dsse.json";

const textOf = async (files, path) => {
	need(files.has(path), `${path}: the file is missing`);
	return utf8(new Uint8Array(await files.get(path).arrayBuffer()), path);
};

// ---- files and statement ----

async function checkFiles(files, report) {
	const bytes = new Uint8Array(await files.get(MANIFEST).arrayBuffer());
	const text = utf8(bytes, MANIFEST);
	need(files.has(STATEMENT), `${STATEMENT}: the file is missing`);
	const { envelope, statement } = await openStatement(files, bytes);
	const manifest = parseCanonical(text.endsWith("\n") ? text.slice(0, -1) : text, MANIFEST);
	if (!FORMATS.includes(manifest.format)) throw new Unable(`${MANIFEST}: its format is neither ${FORMATS.join(" nor ")}`);
	need(Array.isArray(manifest.files) && manifest.count === manifest.files.length, `${MANIFEST}: its count is wrong`);
	const listed = new Map(manifest.files.map((file) => [file?.path, file]));
	need(listed.size === manifest.count, `${MANIFEST}: a file is listed twice`);
	for (const path of [...files.keys()].sort())
		need(path === MANIFEST || path === STATEMENT || listed.has(path), `${path}: the file is not listed in ${MANIFEST}`);
	for (const [path, { size, sha256: digest }] of listed) {
		need(files.has(path), `${path}: the file is missing`);
		const file = files.get(path);
		need(file.size === size && hex(await sha256(new Uint8Array(await file.arrayBuffer()))) === digest,
			`${path}: the file was altered: its SHA-256 is not the manifest's`);
	}
	report.checked.push(`${files.size - 2} files against the manifest, and the manifest against the statement`);
	return { envelope, statement, published: manifest.format === FORMATS[1] };
}

async function openStatement(files, manifest) {
	const envelope = readEnvelope(new Uint8Array(await files.get(STATEMENT).arrayBuffer()), STATEMENT);
	need(envelope.type === "application/vnd.in-toto+json", `${STATEMENT}: its payload is of another type`);
	const statement = parseJson(utf8(envelope.payload, STATEMENT), STATEMENT);
	need(statement._type === "https://in-toto.io/Statement/v1" &&
		statement.predicateType === "https://in-toto.io/attestation/test-result/v0.1", `${STATEMENT}: is no in-toto v1 test result`);
	need(statement.subject?.length === 1 && statement.subject[0].name === MANIFEST &&
		statement.subject[0].digest?.sha256 === hex(await sha256(manifest)), `${STATEMENT}: it is about another manifest than ${MANIFEST}`);
	return { envelope, statement };
}

async function checkSignature(envelope, reader, report) {
	for (const key of reader.evaluators)
		for (const { sig } of envelope.signatures)
			if (await verifyEd25519(key, envelope.signed, sig)) {
				report.trusted.push("the evaluator, whose key you gave and who signed the statement");
				return;
			}
	need(reader.evaluators.length === 0, `${STATEMENT}: it is not signed with the evaluator's key that you gave`);
	report.unchecked.push(envelope.signatures.length === 0 ? "the statement is not signed"
		: `the statement is signed with a key that you did not give (${envelope.signatures[0].keyid.slice(0, 16)}…)`);
}

// ---- plan, suites, the table of work ----

// A suite whose items are withheld: what the publisher says of them, and the root where leaves are shown.
async function withheldSuite(entry, planned) {
	need(Array.isArray(entry.items), `${WITHHELD}: the items of ${planned.name} are missing`);
	const items = entry.items.map(({ cluster, expect, steps = 1, hazard, reference }, i) =>
		({ id: String(i), words: null, cluster, expect, steps, hazard, reference }));
	const leaves = entry.leaves?.map((leaf) => unhex(leaf, 32));
	need(!leaves || leaves.every(Boolean), `${WITHHELD}: a leaf of ${planned.name} is malformed`);
	return { name: entry.name, version: String(entry.version), samples: entry.samples, kind: entry.scorer, settings: canonical(entry.settings ?? {}),
		items, withheld: true, root: leaves ? hex(await treeRoot(leaves)) : null, why: "its items are withheld" };
}

async function loadSuites(files, audit, report) {
	for (const [i, planned] of audit.plan.suites.entries()) {
		need(!planned.decoys || i === audit.plan.suites.length - 1, "plan.json: decoys are not the last suite");
		const path = `suite/${planned.name}`, entry = audit.withheld?.suites?.find((each) => each?.name === planned.name);
		need(typeof planned.name === "string" && /^[0-9a-f]{64}$/.test(planned.root), "plan.json: a suite's root or name is malformed");
		const suite = entry ? await withheldSuite(entry, planned)
			: await readSuite(await textOf(files, `${path}/suite.yaml`), await textOf(files, `${path}/items.jsonl`), path);
		need(suite.name === undefined || (suite.name === planned.name && suite.version === String(planned.version)), `${path}: it is another suite than the plan's`);
		need(suite.root === null || suite.root === planned.root,
			`${path}: its items give another root than the one in plan.json (an item was added, dropped or altered)`);
		const { root, why, ...rest } = suite;
		audit.suites.push({ version: String(planned.version), ...rest, root, name: planned.name, planned: planned.root, decoys: planned.decoys === true,
			samples: audit.plan.samples || suite.samples || 1, places: new Map(suite.items.map(({ id }, i) => [id, i])) });
		if (planned.part_of) report.unchecked.push(`suite ${planned.name}: the run was over a part, ${suite.items.length} of ${planned.part_of.items} items, chosen by tags (${(audit.plan.tags ?? []).join(", ")})`);
		if (entry) report.unchecked.push(`suite ${planned.name}: its ${suite.items.length} items are withheld${root ? "; the leaves shown give the root in the plan" : ""}`);
		else if (root !== null) report.checked.push(`suite ${planned.name}: its root from ${suite.items.length} items, as in the plan`);
		else report.programOnly.push(`suite ${planned.name}: whether its items give the root in the plan (${why})`);
	}
}

// Scorers by which a judge rates each answer by itself.
const RATED = new Set(["rubric", "refusal_judge", "strongreject", "hazard"]);

const hasRole = (model, role) => Array.isArray(model.roles) && model.roles.includes(role);

function meets(models, model, opponent) {
	if (model === opponent || !(hasRole(model, "contestant") || hasRole(model, "control"))) return false;
	if (models.some((each) => hasRole(each, "baseline"))) return hasRole(opponent, "baseline") && !hasRole(model, "baseline");
	if (hasRole(model, "control")) return opponent === models.find((each) => hasRole(each, "contestant"));
	return hasRole(opponent, "contestant") && models.indexOf(model) < models.indexOf(opponent);
}

// The items that a control is judged on: spread evenly, the first sample of each. undefined: every sample.
function spread(model, suite) {
	if (!hasRole(model, "control")) return undefined;
	const items = suite.items.length, count = Math.min(model.items, items);
	return new Set(Array.from({ length: count }, (_, k) => Math.floor((k * items) / count)));
}

function layOut(audit) {
	const models = [...audit.models.values()];
	const add = (cell) => audit.cells.push({ judging: false, slots: new Map(), used: new Map(), listed: new Set(), answered: 0,
		vouched: 0, observed: 0, failed: 0, signer: SIGNER_READER, ...cell, asked: cell.judge ?? cell.model });
	for (const suite of audit.suites) {
		const pairwise = suite.kind === "pairwise";
		for (const model of models)
			if (hasRole(model, "contestant") || (pairwise && (hasRole(model, "baseline") || hasRole(model, "control"))))
				add({ suite, model: model.name, contestant: hasRole(model, "contestant"), control: hasRole(model, "control") });
		for (const model of RATED.has(suite.kind) ? models.filter((each) => hasRole(each, "contestant")) : [])
			for (const judge of models.filter((each) => hasRole(each, "judge")))
				add({ suite, model: model.name, judge: judge.name, judging: true, rating: true });
		for (const model of pairwise ? models : [])
			for (const opponent of models.filter((each) => meets(models, model, each)))
				for (const judge of models.filter((each) => hasRole(each, "judge")))
					add({ suite, model: model.name, opponent: opponent.name, judge: judge.name, judging: true, places: spread(model, suite) });
	}
}

async function loadPlan(files, published, report) {
	const withheld = published ? parseJson(await textOf(files, WITHHELD), WITHHELD) : null;
	need(!withheld || withheld.format === "parley-withheld-1", `${WITHHELD}: its format is not parley-withheld-1`);
	const text = await textOf(files, "plan.json"), plan = parseJson(text, "plan.json");
	need(isObject(plan) && Array.isArray(plan.models) && Array.isArray(plan.suites), "plan.json: models or suites are missing");
	const models = new Map(plan.models.map((model) => [model.name, model]));
	need(models.size === plan.models.length, "plan.json: two models are named alike");
	for (const model of plan.models)
		need(/^control:/.test(model.name) === hasRole(model, "control") && (!hasRole(model, "control") ||
			(model.roles.length === 1 && Number.isSafeInteger(model.items) && model.items > 0)),
			`plan.json: model ${model.name}: its name and its roles disagree`);
	const audit = { plan, models, withheld, planDigest: withheld?.plan?.digest ?? hex(await sha256(text)), suites: [], cells: [], verdictKeys: [],
		admits: new Map(), outcomes: new Map(), registered: [], closings: [], tokens: new Map(),
		counts: { attempts: 0, answers: 0, failures: 0, turns: 0, digests: 0, usages: 0, hidden: 0, replayed: 0, signedVerdicts: 0,
			openings: 0, wordsUnread: 0, bodiesUnread: 0, grades: 0, words: 0, verdicts: 0, strengths: 0 } };
	for (const name of models.keys()) audit.tokens.set(name, { input: 0, output: 0 });
	await loadSuites(files, audit, report);
	layOut(audit);
	const byName = new Map(audit.cells.map((cell) => [JSON.stringify([cell.suite.name, cell.model, cell.opponent, cell.judge]), cell]));
	audit.findCell = (suite, model, opponent, judge) => {
		const cell = byName.get(JSON.stringify([suite, model, opponent, judge]));
		if (!cell && judge !== undefined && audit.suites.some((each) => each.name === suite && each.kind === undefined))
			throw new Unable(`suite ${suite} is scored by judges, and this page cannot read its suite.yaml`);
		return cell;
	};
	return audit;
}

// ---- keys and receipts ----

async function ownKeys(files, reader) {
	const own = files.has("policy") ? await readKeys(await textOf(files, "policy"), "policy") : noKeys();
	if (files.has("key-rotations"))
		for (const keys of [reader, own]) await followRotations(keys, await textOf(files, "key-rotations"), "key-rotations");
	return own;
}

async function verdictKeys(files, reader, own) {
	if (!files.has("verdict-keys")) return [];
	const out = [];
	for (const text of (await textOf(files, "verdict-keys")).split(/(?<=\n)(?=parley verdict key v1\n)/)) {
		const note = parseNote(text), key = await parseVkey(note.text.split("\n")[1] ?? "");
		let certified = false;
		for (const log of [...reader.logs, ...own.logs]) certified ||= await signedBy(note, log);
		need(certified && key && note.text.startsWith("parley verdict key v1\n"), "verdict-keys: a note is signed by no log whose key is known");
		out.push(key.key);
	}
	return out;
}

function takeRun(audit, receipt) {
	const { act, run, suite, plan, root, samples, name, detail, count } = receipt.fields;
	if (act === "run.close")
		for (const row of detail?.register ?? []) audit.closings.push({ ...row, log: receipt.log, id: run });
	if (act !== "run.open" && act !== "suite.register") return;
	const isSuite = receipt.kind === "suite";
	audit.registered.push({ isSuite, id: isSuite ? suite : run, suite, plan, root, samples, index: receipt.index, log: receipt.log,
		signer: receipt.signer, name: isSuite ? name : undefined, count: isSuite ? count : undefined,
		settings: isSuite && detail ? canonical(detail) : undefined });
}

async function loadReceipts(files, audit, reader, own) {
	const book = newBook(reader, own);
	audit.receiptCount = 0;
	for (const path of [...files.keys()].filter((each) => each.startsWith("receipts/")).sort()) {
		need(/^receipts\/[0-9a-f]{32}\.tlog-proof$/.test(path), `${path}: the name is not that of a receipt`);
		try {
			const receipt = await checkReceipt(book, await textOf(files, path));
			need(path === `receipts/${receipt.id}.tlog-proof`, `it holds the record ${receipt.id}`);
			audit.receiptCount++;
			if (receipt.kind === "admit") audit.admits.set(receipt.id, receipt);
			if (receipt.kind === "settle" || receipt.kind === "unknown") {
				need(!audit.outcomes.has(receipt.fields.admit), `record ${receipt.fields.admit} has two outcomes`);
				audit.outcomes.set(receipt.fields.admit, receipt);
			}
			if (receipt.kind === "run" || receipt.kind === "suite") takeRun(audit, receipt);
		} catch (error) {
			if (error instanceof Unable) throw new Refused(`${path}: its extra line holds no record`);
			throw error instanceof Refused ? new Refused(`${path}: ${error.message}`) : error;
		}
	}
	return [...book.logs.values()];
}

// ---- the conclusion ----

const suiteOf = (cell) => (cell.registered?.root !== undefined ? cell.registered : cell.suiteRegistered);

function whatLacks(cell) {
	if (cell.observed > 0) return "the gateway was in mode observe: it recorded the requests and kept none out that its grants forbid";
	if (cell.vouched < cell.answered) return "not every answer has a receipt of admission and outcome";
	if (cell.answered === 0) return null;
	if (cell.registered?.plan === undefined)
		return "there is no receipt of the run's opening, so that the items could have been chosen afterwards";
	if (suiteOf(cell)?.root === undefined)
		return "there is no receipt of the suite's registration, so that its items could have been chosen afterwards";
	return null;
}

const weakest = (cell) => Math.min(cell.signer, cell.registered?.signer ?? SIGNER_READER, suiteOf(cell)?.signer ?? SIGNER_READER);
const names = (list) => [...new Set(list)].join(" and ");

// Judges and baselines for whom no gateway speaks.
function unvouched(audit, judges) {
	return names(audit.cells.filter((cell) => cell.judging === judges && !cell.contestant && !cell.control && cell.answered > 0 &&
		!(cell.vouched === cell.answered && cell.signer === SIGNER_READER)).map((cell) => cell.asked));
}

function exceptions(audit) {
	const { counts } = audit, out = [];
	if (unvouched(audit, true)) out.push(`the verdicts of ${unvouched(audit, true)}`);
	if (unvouched(audit, false)) out.push(`the answers of ${unvouched(audit, false)}`);
	if (counts.grades > 0) out.push(`the scores of ${counts.grades} answers`);
	if (counts.strengths > 0) out.push(`${counts.strengths} figures (bt_strength, lc_win_rate)`);
	if (counts.words > 0) out.push(`the scores of ${counts.words} withheld answers`);
	const unread = audit.suites.filter((suite) => suite.root === null && !suite.withheld).map((suite) => suite.name);
	if (unread.length) out.push(`the items of ${names(unread)}`);
	if (counts.bodiesUnread) out.push(`the texts of ${counts.bodiesUnread} answers`);
	const here = counts.grades + counts.strengths + unread.length + counts.bodiesUnread > 0 ? " here" : "";
	const word = out.length ? `; ${out.join(" and ")} are the evaluator's word${here}` : "";
	return word + (counts.openings ? "; which sealed answers were opened is not checked here" : "");
}

function noteCounts(audit, report) {
	const { counts } = audit;
	report.checked.push(`${counts.attempts} attempts (${counts.answers} answers, ${counts.failures} failures): all that the plan asks for, none left out in between${counts.wordsUnread || counts.words ? "" : ", each with the item's own words"}`);
	if (counts.signedVerdicts) report.checked.push(`${counts.signedVerdicts} verdicts on sealed answers against the verdict key's signature`);
	report.checked.push(`${audit.scored} scores, and the figures with their intervals from them`);
	if (counts.digests) report.checked.push(`${counts.digests} digests of requests, responses and answers, and ${counts.usages} token counts against the gateway's records`);
	if (counts.hidden) report.unchecked.push(`${counts.hidden} attempts are shown as failed, and the gateway recorded a whole answer`);
	if (counts.replayed) report.unchecked.push(`${counts.replayed} answers come from a stored transcript, not from a model`);
	const failed = audit.cells.reduce((all, cell) => all + cell.failed, 0);
	if (failed) report.unchecked.push(`${failed} samples without an answer count as failed: that there was none is the evaluator's word`);
}

function noteProgram(audit, files, summary, report) {
	const { counts, suites } = audit;
	if (counts.grades) report.programOnly.push(`the grades of ${counts.grades} answers (it grades them again; programs with --rerun)`);
	if (counts.verdicts) report.programOnly.push(`what the judges were asked and replied, in ${counts.verdicts} comparisons or ratings`);
	if (counts.strengths) report.programOnly.push(`${counts.strengths} Bradley-Terry strengths and length-controlled win rates`);
	if (summary.conduct) report.programOnly.push("what the summary says of how providers behaved (conduct)");
	if (counts.wordsUnread) report.programOnly.push(`the words of ${counts.wordsUnread} requests`);
	if (counts.bodiesUnread) report.programOnly.push(`${counts.bodiesUnread} answers against the bytes of their responses`);
	if (audit.withheld) report.programOnly.push("what an auditor opens with the publisher's salts (--salts)");
	if (files.includes("anchors.jsonl")) report.programOnly.push("how the judges agree with what people said");
	if (files.some((path) => path.startsWith("grants/"))) report.programOnly.push("whether what the run used lies inside the grant");
	if (counts.openings) report.programOnly.push("whether exactly those sealed answers were opened that the seeds of both sides chose");
	if (suites.length) report.programOnly.push("that the bodies of requests say the item's words with the suite's settings, byte for byte");
}

function noteRegister(audit, report) {
	for (const cell of audit.cells.filter((each) => each.registered && !each.judging)) {
		if (cell.registered.plan !== undefined && suiteOf(cell)?.root !== undefined)
			report.checked.push(`run ${cell.run}: plan and items of ${cell.suite.name} were in the log before the first request to ${cell.model}`);
		const closing = audit.closings.find((each) => each.log === cell.log && each.id === cell.run && each.model === cell.model);
		if (closing)
			report.checked.push(`run ${closing.run} of ${closing.of} of ${cell.suite.name} on ${cell.model} by the gateway's register; ${closing.first} of its items the provider met for the first time (first), ${closing.re_exposed} not (re-exposed)`);
		else
			report.unchecked.push(`how many runs of ${cell.suite.name} on ${cell.model} there were: no receipt shows the end of run ${cell.run}`);
	}
}

function noteLogs(logs, report) {
	const whose = ["no known key", "the bundle's own key", "the key that you gave"];
	for (const log of logs) {
		report.checked.push(`${log.receipts} receipts of the log ${log.origin}, of size ${log.size} or more: proofs, one history, signed with ${whose[log.signer]}`);
		if (log.signer === SIGNER_READER)
			report.trusted.push(`${log.origin}: that it recorded what passed through it, and served the model that it names`);
		else if (log.signer === SIGNER_BUNDLE) report.trusted.push(`the bundle itself: for the key of ${log.origin}`);
		else report.unchecked.push(`the signature of ${log.origin}: its key is not known`);
	}
	if (logs.length)
		report.unchecked.push("whether it stayed inside the grant, and how many other runs there were: this page does not look at that");
}

function conclude(audit, files, logs, reader, summary, report) {
	noteCounts(audit, report);
	noteRegister(audit, report);
	noteProgram(audit, files, summary, report);
	noteLogs(logs, report);
	for (const model of summary.models ?? [])
		if (typeof model.simulated === "string")
			report.unchecked.push(`${model.name} is a simulated model, by the bundle's own account: ${model.simulated}`);
	const contestants = audit.cells.filter((cell) => cell.contestant && !cell.judging);
	let lack = null;
	for (const cell of contestants) {
		const own = whatLacks(cell);
		if (own) report.unchecked.push(`suite ${cell.suite.name}, model ${cell.model}: ${own} (${cell.vouched} of ${cell.answered})`);
		lack ??= own;
	}
	const mine = logs.filter((log) => log.signer === SIGNER_READER);
	const ownKey = !lack && contestants.some((cell) => cell.vouched > 0 && weakest(cell) !== SIGNER_READER);
	if (!lack && !ownKey) lack = mine.map((log) => witnessesLack(reader.policy, log.finding, log.origin)).find(Boolean) ?? null;
	const vouched = contestants.reduce((all, cell) => all + cell.vouched, 0);
	const samples = contestants.reduce((all, cell) => all + cell.suite.items.length * cell.suite.samples, 0);
	const finding = mine.length ? mine.map((log) => log.finding).reduce(joinFindings) : null;
	if (finding) noteWitnesses(reader, finding, report);
	if (audit.receiptCount === 0) return report.selfCertified("no gateway vouches for the answers");
	if (ownKey)
		return report.selfCertified(`by a log that calls itself ${names(logs.filter((log) => log.signer === SIGNER_BUNDLE).map((log) => log.origin)) || "something without a key"}; give its key, from a source that you trust, in the field above`);
	if (lack || vouched === 0) return report.selfCertified(lack ?? "there is no answer");
	return report.vouched(`VOUCHED by ${names(mine.map((log) => log.origin))}${witnessPhrase(reader.policy, finding)}; ${vouched} of ${samples} answers${summary.complete === false ? " of a run that was cut off" : ""}${exceptions(audit)}`);
}

export async function checkBundle(files, reader, report) {
	report.subject = "bundle";
	const { envelope, statement, published } = await checkFiles(files, report);
	await checkSignature(envelope, reader, report);
	const audit = await loadPlan(files, published, report);
	const own = await ownKeys(files, reader);
	audit.verdictKeys = await verdictKeys(files, reader, own);
	const logs = await loadReceipts(files, audit, reader, own);
	await checkAttempts(audit, await textOf(files, "transcripts.jsonl"));
	const summary = parseJson(await textOf(files, "summary.json"), "summary.json");
	report.results = await checkScores(audit, await textOf(files, "scores.jsonl"), summary, statement);
	conclude(audit, [...files.keys()], logs, reader, summary, report);
}
