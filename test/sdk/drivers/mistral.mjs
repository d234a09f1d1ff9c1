/* @mistralai/mistralai. */
import { Mistral } from "@mistralai/mistralai";

const clientOf = ({ url, key }) => new Mistral({ serverURL: url, apiKey: key });

export const plain = (options) => clientOf(options).chat.complete(options.body);

export async function stream(options, tell) {
  const events = await clientOf(options).chat.stream(options.body);
  for await (const event of events) tell(event);
}

export const models = async (options) =>
  (await clientOf(options).models.list()).data.map((model) => model.id);

export const absent = (options) => clientOf(options).files.list();

export async function many(options) {
  const client = clientOf(options);
  for (let number = 0; number < options.times; number++) await client.chat.complete(options.body);
}
