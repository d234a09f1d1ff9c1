/* openai, Chat Completions. */
import OpenAI from "openai";

const clientOf = ({ url, key }) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key });

export const plain = (options) => clientOf(options).chat.completions.create(options.body);

export async function stream(options, tell) {
  const events = await clientOf(options).chat.completions.create({ ...options.body, stream: true });
  for await (const event of events) tell(event);
}

export const assembled = (options) =>
  clientOf(options).chat.completions.stream(options.body).finalChatCompletion();

export async function models(options) {
  const names = [];
  for await (const model of clientOf(options).models.list()) names.push(model.id);
  return names;
}

export const absent = (options) => clientOf(options).files.list();

export const raw = (options) =>
  clientOf(options).post("/chat/completions", {
    body: new TextEncoder().encode(options.text),
    headers: { "content-type": "application/json" },
  });

export async function many(options) {
  const client = clientOf(options);
  for (let number = 0; number < options.times; number++)
    await client.chat.completions.create(options.body);
}
