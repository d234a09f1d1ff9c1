// Signs a request to a Parley gateway with node:crypto alone (docs/formats/request-signature.md) and
// prints the answer's status and body: node sign_request.mjs URL KEY_FILE < body
// The bearer key is in PARLEY_KEY; KEY_FILE is the private key (PKCS#8 PEM).
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const [url, keyFile] = process.argv.slice(2);
const body = readFileSync(0);
const key = createPrivateKey(readFileSync(keyFile));

// RFC 7638: the members that matter, in order, without spaces.
const { crv, kty, x } = createPublicKey(key).export({ format: "jwk" });
const keyid = createHash("sha256").update(JSON.stringify({ crv, kty, x })).digest("base64url");

export function signatureFields(method, url, fields, body) {
  const covered = { ...fields };
  if (body.length)
    covered["content-digest"] = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
  const names = ["@method", "@target-uri", ...Object.keys(covered)];
  const params = `(${names.map((name) => `"${name}"`).join(" ")})` +
    `;created=${Math.floor(Date.now() / 1000)};keyid="${keyid}";alg="ed25519"` +
    `;nonce="${randomBytes(18).toString("base64url")}";tag="parley"`;
  const base = [`"@method": ${method}`, `"@target-uri": ${new URL(url).href}`,
    ...Object.entries(covered).map(([name, value]) => `"${name}": ${value}`),
    `"@signature-params": ${params}`].join("\n");
  return { ...covered, "signature-input": `sig=${params}`,
    signature: `sig=:${sign(null, Buffer.from(base), key).toString("base64")}:` };
}

const response = await fetch(url, {
  method: "POST", body,
  headers: { "content-type": "application/json", authorization: `Bearer ${process.env.PARLEY_KEY}`,
    ...signatureFields("POST", url, {}, body) },
});
console.log(response.status);
console.log(await response.text());
