/* @anthropic-ai/sdk. */
import Anthropic from "@anthropic-ai/sdk";

const clientOf = ({ url, key }) => new Anthropic({ baseURL: url, apiKey: key });

export const plain = (options) =>
  clientOf(options).messages.create(options.body, { headers: options.headers });

/* Every event as it comes. */
export async function stream(options, tell) {
  const events = await clientOf(options).messages.create({ ...options.body, stream: true });
  for await (const event of events) tell(event);
}

/* The helper, which puts the message together again. */
export const assembled = (options) => clientOf(options).messages.stream(options.body).finalMessage();

export const count = (options) => clientOf(options).messages.countTokens(options.body);

export async function models(options) {
  const names = [];
  for await (const model of clientOf(options).models.list()) names.push(model.id);
  return names;
}

/* An endpoint that the gateway does not have. */
export const absent = (options) => clientOf(options).messages.batches.list();

/* Another body than the SDK would make. */
export const raw = (options) =>
  clientOf(options).post("/v1/messages", {
    body: new TextEncoder().encode(options.text),
    headers: { "content-type": "application/json" },
  });

/* The same connection, used again and again. */
export async function many(options) {
  const client = clientOf(options);
  for (let number = 0; number < options.times; number++) await client.messages.create(options.body);
}
