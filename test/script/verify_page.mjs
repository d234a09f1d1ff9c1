// What verify.html says of a bundle, by its own modules under Node: `node verify_page.mjs DIRECTORY` prints
// {verdict, headline, results}.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
const { verifyFiles } = await import("../../web/verify/verify.mjs");

const folder = process.argv[2], files = new Map();
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile())) {
	const path = join(entry.parentPath ?? entry.path, entry.name);
	files.set(path.slice(folder.length + 1), new Blob([readFileSync(path)]));
}
const { verdict, headline, results } = await verifyFiles(files, "");
console.log(JSON.stringify({ verdict, headline, results }));
