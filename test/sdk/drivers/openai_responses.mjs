/* openai, Responses. */
import OpenAI from "openai";

const clientOf = ({ url, key }) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key });

export const plain = (options) => clientOf(options).responses.create(options.body);

export async function stream(options, tell) {
  const events = await clientOf(options).responses.create({ ...options.body, stream: true });
  for await (const event of events) tell(event);
}

export const assembled = (options) => clientOf(options).responses.stream(options.body).finalResponse();

export const absent = (options) => clientOf(options).responses.retrieve("resp_1");

export const raw = (options) =>
  clientOf(options).post("/responses", {
    body: new TextEncoder().encode(options.text),
    headers: { "content-type": "application/json" },
  });

export async function many(options) {
  const client = clientOf(options);
  for (let number = 0; number < options.times; number++) await client.responses.create(options.body);
}
