/* @google/genai. */
import { GoogleGenAI } from "@google/genai";

const clientOf = ({ url, key }) => new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url } });

export const plain = (options) => clientOf(options).models.generateContent(options.body);

export async function stream(options, tell) {
  const chunks = await clientOf(options).models.generateContentStream(options.body);
  for await (const chunk of chunks) tell(chunk);
}

export const count = (options) => clientOf(options).models.countTokens(options.body);

export async function models(options) {
  const names = [];
  for await (const model of await clientOf(options).models.list()) names.push(model.name);
  return names;
}

export const absent = (options) =>
  clientOf(options).models.embedContent({ model: "north-g", contents: "Hello" });

export async function many(options) {
  const client = clientOf(options);
  for (let number = 0; number < options.times; number++)
    await client.models.generateContent(options.body);
}
