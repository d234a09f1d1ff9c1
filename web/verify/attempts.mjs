// transcripts.jsonl against the plan, the suites and the gateway's receipts (docs/verifying.md, steps 4
// to 6). Left to the program: grading, what bodies of requests say, which answers were to be opened, and
// conversations and judges' questions.
import { Refused, Unable, base64, bytesOf, canonical, hex, isObject, need, parseCanonical, sha256, unhex } from "./bytes.mjs";
import { preAuthentication, verifyEd25519 } from "./notes.mjs";

const NO_WORDS = "0".repeat(64);
const ATTEMPT_MEMBERS = new Set(["suite", "item", "model", "sample", "attempt", "step", "words", "answer", "verdict", "finish", "served",
	"usage", "status", "error", "started_ms", "first_token_ms", "elapsed_ms", "record", "nonce", "request_body", "response_body",
	"response_digest", "stream", "cached", "blind", "withheld", "outcome", "judge_model", "judge_opponent", "judge_order"]);
const VERDICT_TYPE = "application/vnd.parley.verdict+json";

export function blame(cell, item, sample, samples) {
	const number = samples > 1 ? `, sample ${sample}` : "";
	const who = cell.rating ? `model ${cell.model}, judge ${cell.judge}` : cell.judging ? `${cell.model} against ${cell.opponent}` : `model ${cell.model}`;
	return `item ${item}${number} (suite ${cell.suite.name}, ${who})`;
}

export async function eachLine(text, what, take) {
	need(text === "" || text.endsWith("\n"), `${what}: its last line was cut off`);
	const lines = text.split("\n").slice(0, -1);
	for (const [i, line] of lines.entries()) await take(parseCanonical(line, `${what}:${i + 1}`), `${what}:${i + 1}`);
}

// What the null model says to everything (docs/formats/bundle.md).
const NULL_ANSWER = "I have read the request with care and this is my answer to it.";
const slotName = (line) => JSON.stringify([line.item, line.sample, line.judge_order ?? 0]);

function place(audit, line, where) {
	const cell = audit.findCell(line.suite, line.model, line.judge_opponent, line.judge_model);
	need(cell, `item ${line.item}: ${where}: the plan asks nothing of ${line.model} in suite ${line.suite}`);
	const index = cell.suite.places.get(line.item);
	need(index !== undefined, `item ${line.item}: ${where}: suite ${cell.suite.name} has no such item`);
	need(line.sample < cell.suite.samples, `item ${line.item}: ${where}: sample ${line.sample} of ${cell.suite.samples} that the plan asks for`);
	need(!cell.places || (line.sample === 0 && cell.places.has(index)), `item ${line.item}: ${where}: it is none of the items that the control is judged on`);
	need(!cell.rating || line.judge_order === undefined, `item ${line.item}: ${where}: a rating has no judge_order`);
	const name = slotName(line);
	if (!cell.slots.has(name)) cell.slots.set(name, { attempts: 0, step: 0, answered: false });
	return { line, where, cell, index, item: cell.suite.items[index], slot: cell.slots.get(name) };
}

const answered = (line) => line.answer !== undefined || line.verdict !== undefined;

function checkShape(audit, { line, where, cell }) {
	need([line.answer, line.verdict, line.error].filter((each) => each !== undefined).length === 1,
		`${where}: an attempt has either an answer, a verdict or an error`);
	need(line.nonce === undefined || unhex(line.nonce, 16), `${where}: nonce must have 32 hexadecimal digits`);
	const replay = audit.models.get(cell.asked).replay !== undefined;
	need(!answered(line) || line.status === (replay ? 0 : 200), `${where}: an answer with status ${line.status}`);
}

function checkOrder({ line, where, cell, item, slot }) {
	need(!slot.answered, `${where}: it was asked again although an answer was there`);
	need(line.attempt === slot.attempts, `${where}: attempt ${line.attempt} stands where attempt ${slot.attempts} is due`);
	const { steps } = item;
	if (steps === undefined && line.step !== undefined) throw new Unable("a conversation of a suite whose suite.yaml this page cannot read");
	const due = !cell.judging && steps > 1 ? slot.step : undefined;
	need(line.step === due, due === undefined ? `${where}: the item is no conversation` : `${where}: step ${due} of the conversation is due`);
	slot.attempts++;
}

function checkWords(audit, { line, where, cell, item }) {
	if (line.error !== undefined && line.status === 0 && line.record === undefined && line.words === NO_WORDS) return;
	if (line.withheld !== undefined) return;
	if (cell.judging || item.words === null) {
		audit.counts.wordsUnread++;
		return;
	}
	need(line.words === item.words,
		`${where}: it was asked other words than the item has (digest ${String(line.words).slice(0, 16)}…, not ${item.words.slice(0, 16)}…)`);
}

const salted = async (line, body) => {
	const nonce = unhex(line.nonce, 16);
	return nonce ? hex(await sha256(nonce, body)) : null;
};

async function checkResponseDigest(audit, { line, where }) {
	if (line.response_body === undefined || line.response_digest === undefined) return;
	const digest = hex(await sha256(unhex(line.nonce, 16) ?? "", line.response_body));
	need(digest === line.response_digest, `${where}: the response's body has another digest than response_digest`);
	audit.counts.digests++;
}

// ---- the gateway's records ----

function sameText(attempt, receipt, key, expected) {
	const recorded = receipt.fields[key];
	need(typeof recorded !== "string" || expected === undefined || recorded === expected,
		`${attempt.where}: the gateway's record ${receipt.id} has ${key} "${recorded}", not "${expected}"`);
}

// Whether both were there to compare.
async function sameDigest(audit, attempt, receipt, key, body) {
	const digest = receipt.fields[key] !== undefined && body !== undefined ? await salted(attempt.line, body) : null;
	if (!digest) return false;
	need(receipt.fields[key] === digest, `${attempt.where}: the body of the ${key} is not the one in the gateway's record ${receipt.id}`);
	audit.counts.digests++;
	return true;
}

function checkLeaf(attempt, admit) {
	const { leaf } = admit.fields, { cell, index, where } = attempt;
	if (leaf === undefined || leaf === index) return;
	const other = cell.suite.items[leaf], unread = attempt.item.words === null;
	cell.sharedWords = true;
	need(other && (unread || other.words === attempt.item.words),
		`${where}: the gateway's record ${admit.id} is of leaf ${leaf}, and the item is leaf ${index}`);
}

function checkRun(audit, attempt, admit) {
	const { cell, where } = attempt, { run } = admit.fields;
	if (run === undefined) return;
	if (cell.run === undefined) {
		cell.run = run;
		cell.log = admit.log;
		cell.registered = audit.registered.find((each) => !each.isSuite && each.log === admit.log && each.id === run);
	}
	need(cell.run === run && cell.log === admit.log,
		`${where}: the gateway's record ${admit.id} is of run ${run}, those before it of run ${cell.run}`);
	if (!cell.registered) return;
	need(admit.index >= cell.registered.index,
		`${where}: it was admitted (record ${admit.index}) before its run was opened (record ${cell.registered.index})`);
	sameText(attempt, admit, "suite", cell.registered.suite);
}

function checkSample(attempt, admit) {
	const { cell, line, index } = attempt, { sample } = admit.fields;
	checkLeaf(attempt, admit);
	const step = admit.fields.detail?.step ?? 0;
	need(step === (line.step ?? 0), `${attempt.where}: the gateway's record ${admit.id} is of step ${step} of the conversation`);
	if (answered(line) && Number.isSafeInteger(sample)) cell.used.set(index, Math.max(cell.used.get(index) ?? 0, sample + 1));
}

async function checkUsage(audit, attempt, settle) {
	const recorded = settle.fields.usage, shown = attempt.line.usage;
	if (!recorded || recorded.estimated || shown.estimated) return;
	for (const key of ["input", "cache_read", "cache_write", "output"])
		need(shown[key] === undefined || shown[key] === (recorded[key] ?? 0),
			`${attempt.where}: usage.${key} is ${shown[key]}, in the gateway's record ${settle.id} it is ${recorded[key] ?? 0}`);
	audit.counts.usages++;
}

// Text and end of the answer against the record's digest of both. Answers with tool calls, or with characters
// that transcripts do not hold, are made again by the program alone, from the response's body.
async function checkAnswer(audit, attempt, settle, bodyBound) {
	const { line, where } = attempt;
	const digest = settle.fields.answer === undefined ? null : await salted(line, canonical([line.answer, [], line.finish ?? "none"]));
	if (digest && digest === settle.fields.answer) {
		audit.counts.digests++;
		return true;
	}
	const beyond = line.finish === "tool_calls" || line.answer.includes("\ufffd") || line.answer === "";
	need(!digest || (bodyBound && beyond), `${where}: the answer is not the one in the gateway's record ${settle.id}`);
	if (bodyBound) audit.counts.bodiesUnread++;
	return bodyBound;
}

async function checkVerdict(audit, attempt, settle) {
	const { where, line } = attempt, { verdict } = attempt;
	const differs = (what) => `${where}: the verdict's ${what} is not the one in the gateway's record ${settle.id}`;
	need(settle.fields.verdict === verdict.verdict && settle.fields.score === verdict.score, differs("score"));
	need(settle.fields.answer === verdict.answer, differs("answer"));
	need((settle.fields.opened === true) === (verdict.opened !== undefined), differs("opening"));
	need(settle.fields.run === verdict.run, differs("run"));
	if (line.verdict !== undefined) audit.counts.openings++;
	return true;
}

async function checkSettle(audit, attempt, settle) {
	const { line, where } = attempt;
	need(settle.fields.status === undefined || settle.fields.status === line.status,
		`${where}: status ${line.status}, in the gateway's record ${settle.id} it is ${settle.fields.status}`);
	sameText(attempt, settle, "served", line.served);
	await checkUsage(audit, attempt, settle);
	if (line.verdict !== undefined) return checkVerdict(audit, attempt, settle);
	sameText(attempt, settle, "response", line.response_digest);
	if (line.withheld !== undefined) {
		if (typeof settle.fields.score === "number") attempt.slot.pinned = settle.fields.score;
		return attempt.slot.pinned !== undefined || (line.response_digest !== undefined && settle.fields.response !== undefined);
	}
	const bodyBound = await sameDigest(audit, attempt, settle, "response", line.response_body);
	return checkAnswer(audit, attempt, settle, bodyBound);
}

async function checkOutcome(audit, attempt, admit, outcome) {
	const { cell, line, where, slot } = attempt;
	need(outcome.log === admit.log && outcome.index > admit.index,
		`${where}: the outcome ${outcome.id} does not follow the admission ${admit.id} in one log`);
	if (outcome.kind !== "settle") return false;
	if (!answered(line)) {
		if (outcome.fields.status === 200 && outcome.fields.ending === "finish") audit.counts.hidden++;
		return false;
	}
	if (!(await checkSettle(audit, attempt, outcome))) return false;
	if (admit.fields.observed === true) {
		cell.observed++;
		return false;
	}
	slot.signer = Math.min(slot.signer ?? admit.signer, admit.signer, outcome.signer);
	return true;
}

// True where the answer is tied to the gateway's records.
async function vouch(audit, attempt) {
	const { line, cell, where } = attempt;
	const admit = line.record === undefined ? undefined : audit.admits.get(line.record);
	if (!admit) return false;
	need(!admit.used, `${where}: another attempt names the gateway's record ${admit.id} already`);
	admit.used = true;
	sameText(attempt, admit, "model", cell.asked);
	await sameDigest(audit, attempt, admit, "request", line.request_body);
	if (!cell.judging) checkSample(attempt, admit);
	if (!cell.judging || admit.fields.leaf !== undefined) checkRun(audit, attempt, admit);
	const outcome = audit.outcomes.get(admit.id);
	return outcome ? checkOutcome(audit, attempt, admit, outcome) : false;
}

// ---- sealed answers ----

async function readVerdict(audit, attempt) {
	const { line, where, cell } = attempt;
	const verdict = parseCanonical(line.verdict, `${where}: the verdict`);
	const signature = base64(verdict.signature, 64);
	need(signature && typeof verdict.score === "number", `${where}: the verdict is malformed`);
	need(line.record !== undefined && verdict.record === line.record, `${where}: the verdict is of another record`);
	need(verdict.model === cell.asked, `${where}: the verdict is of model ${verdict.model}`);
	const { signature: _, ...rest } = verdict;
	const message = preAuthentication(VERDICT_TYPE, bytesOf(canonical(rest)));
	let right = audit.verdictKeys.length === 0;
	for (const key of audit.verdictKeys) right ||= await verifyEd25519(key, message, signature);
	need(right, `${where}: no verdict key has signed the verdict as it stands`);
	if (audit.verdictKeys.length) audit.counts.signedVerdicts++;
	if (verdict.opened !== undefined) {
		const { text, tool_calls: calls, finish, nonce } = isObject(verdict.opened) ? verdict.opened : {};
		const digest = unhex(nonce, 16) ? hex(await sha256(unhex(nonce, 16), canonical([text ?? null, calls ?? null, finish ?? null]))) : "";
		need(digest === verdict.answer, `${where}: the answer that was opened is not the one whose digest the verdict has`);
	}
	return verdict;
}

// ---- the file ----

function countTokens(audit, { line, cell }) {
	const use = audit.tokens.get(cell.asked);
	for (const key of ["input", "cache_read", "cache_write"]) use.input += Math.max(0, line.usage[key] ?? 0);
	use.output += Math.max(0, line.usage.output ?? 0);
}

function takeAnswer(audit, attempt, vouched) {
	const { line, cell, item, slot } = attempt;
	const more = !cell.judging && line.step + 1 < item.steps;
	slot.gap ||= !vouched;
	if (more) {
		slot.step++;
		audit.counts.turns++;
		return;
	}
	slot.answered = true;
	slot.hidden = line.withheld !== undefined && line.verdict === undefined;
	if (slot.hidden && slot.pinned === undefined && !cell.judging) audit.counts.words++;
	slot.sealed = attempt.verdict;
	cell.answered++;
	if (!slot.gap) {
		cell.vouched++;
		cell.signer = Math.min(cell.signer, slot.signer);
	}
	audit.counts.answers++;
	if (cell.control) need(line.withheld !== undefined || line.answer === NULL_ANSWER, `${attempt.where}: it is not what the control answers`);
	else if (audit.models.get(cell.asked).replay !== undefined) audit.counts.replayed++;
}

// A line whose texts are withheld says what it was; nothing stands for them (docs/formats/published.md).
function withoutTexts(audit, line, where) {
	if (!audit.withheld?.suites?.some((each) => each?.name === line.suite)) {
		need(line.withheld === undefined && line.outcome === undefined, `${where}: unknown member 'withheld'`);
		return line;
	}
	need(["answer", "error", "verdict"].includes(line.outcome) && /^[0-9a-f]{64}$/.test(line.withheld), `${where}: outcome or commitment is missing`);
	const hidden = line.verdict !== undefined ? {} : line.outcome === "error" ? { error: "withheld" } : { answer: "" };
	return { ...line, words: NO_WORDS, ...hidden };
}

async function takeLine(audit, line, where) {
	need(isObject(line), `${where}: must be an object`);
	for (const name of Object.keys(line)) need(ATTEMPT_MEMBERS.has(name), `${where}: unknown member '${name.slice(0, 60)}'`);
	line = withoutTexts(audit, line, where);
	for (const name of ["suite", "item", "model", "words"]) need(typeof line[name] === "string", `${where}: ${name} is missing`);
	for (const name of ["sample", "attempt", "status"]) need(Number.isSafeInteger(line[name]) && line[name] >= 0, `${where}: ${name} is missing`);
	need(isObject(line.usage), `${where}: usage is missing`);
	const attempt = place(audit, line, where);
	audit.counts.attempts++;
	try {
		checkShape(audit, attempt);
		checkOrder(attempt);
		checkWords(audit, attempt);
		await checkResponseDigest(audit, attempt);
		if (line.verdict !== undefined) attempt.verdict = await readVerdict(audit, attempt);
		const vouched = await vouch(audit, attempt);
		countTokens(audit, attempt);
		if (answered(line)) takeAnswer(audit, attempt, vouched);
		else audit.counts.failures++;
	} catch (error) {
		throw error instanceof Refused ? new Refused(`${blame(attempt.cell, line.item, line.sample, attempt.cell.suite.samples)}: ${error.message}`) : error;
	}
}

// The gateway counts every sample of an item that it answered: none of them may have been left out.
function checkSamples(cell) {
	if (cell.judging || cell.sharedWords) return;
	for (const [index, used] of cell.used) {
		const item = cell.suite.items[index];
		let shown = 0;
		for (let k = 0; k < cell.suite.samples; k++) shown += cell.slots.get(slotName({ item: item.id, sample: k }))?.attempts ?? 0;
		need(used <= shown, `${blame(cell, item.id, 0, cell.suite.samples)}: the gateway answered it ${used} times or more, and transcripts.jsonl shows ${shown} attempts`);
	}
}

function checkCommitment(audit, cell) {
	const run = cell.registered, { suite } = cell;
	const listed = audit.registered.find((each) => each.isSuite && each.log === run.log && each.id === run.suite);
	need(run.plan === undefined || run.plan === audit.planDigest,
		`plan.json: it is not the plan that was committed to before the run ${run.id} of ${cell.model}`);
	need(!run.samples || run.samples === suite.samples,
		`run ${run.id} of ${cell.model} was opened for ${run.samples} samples of each item, the bundle has ${suite.samples}`);
	need(run.root === undefined || run.root === suite.planned, `suite/${suite.name}: it is not the suite of run ${run.id} of ${cell.model}`);
	if (!listed) return;
	need(listed.index < run.index, `run ${run.id} of ${cell.model} was opened before its suite was registered`);
	need(listed.root === undefined || listed.root === suite.planned,
		`suite/${suite.name}: its items are not those that were registered (one was added, dropped or altered)`);
	need(listed.settings === undefined || suite.settings === undefined || listed.settings === suite.settings,
		`suite/${suite.name}: its settings are not those that were registered`);
	need(!listed.name || listed.name === `${suite.name} ${suite.version}`,
		`suite/${suite.name}: it was registered as ${listed.name}, not as ${suite.name} ${suite.version}`);
	need(listed.count === undefined || listed.count === suite.items.length || suite.root === null,
		`suite/${suite.name}: ${listed.count} items were registered, the bundle has ${suite.items.length}`);
	cell.suiteRegistered = listed;
}

function checkUnused(audit) {
	for (const admit of audit.admits.values()) {
		if (admit.used) continue;
		const { run, model, leaf } = admit.fields;
		const cell = audit.cells.find((each) => !each.judging && each.log === admit.log && each.run === run && each.model === model);
		const item = cell?.suite.items[leaf];
		throw new Refused(`${item ? `${blame(cell, item.id, 0, cell.suite.samples)}: ` : ""}receipts/${admit.id}.tlog-proof: no attempt in transcripts.jsonl names this admitted request: it was left out`);
	}
	for (const [admit, outcome] of audit.outcomes)
		need(audit.admits.has(admit), `receipts/${outcome.id}.tlog-proof: the receipt of its admission is missing`);
}

export async function checkAttempts(audit, text) {
	await eachLine(text, "transcripts.jsonl", (line, where) => takeLine(audit, line, where));
	audit.cells.forEach(checkSamples);
	for (const cell of audit.cells) if (cell.registered) checkCommitment(audit, cell);
	checkUnused(audit);
}
