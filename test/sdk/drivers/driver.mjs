/* Runs operations of one official SDK for a test: `node driver.mjs SDK`.
 *
 * A line of standard input asks for an operation: {"id", "op", …its options}. A line of standard
 * output tells what came of it: {"id", "event"} for each event of a stream, as the SDK hands it out,
 * then {"id", "value"} or {"id", "error"}. Operations run side by side. An operation is an exported
 * function of SDK.mjs: it makes its client from the base URL and the key, and changes nothing else. */
import { createInterface } from "node:readline";

const sdk = await import(`./${process.argv[2]}.mjs`);

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/* What a program that catches the error can know of it. */
function describe(error) {
  return {
    class: error.constructor.name,
    name: error.name,
    status: error.status ?? error.statusCode ?? null,
    code: error.code ?? null,
    type: error.type ?? null,
    message: error.message,
    body: error.error ?? error.body ?? null,
    request_id: error.requestID ?? null,
    cause: error.cause ? `${error.cause.name}: ${error.cause.message}` : null,
  };
}

async function run({ id, op, ...options }) {
  try {
    const value = await sdk[op](options, (event) => say({ id, event }));
    say({ id, value: value ?? null });
  } catch (error) {
    say({ id, error: describe(error) });
  }
}

say({ id: 0, value: Object.keys(sdk) });
createInterface({ input: process.stdin }).on("line", (line) => run(JSON.parse(line)));
