/* An evaluation script as people write them: official SDKs as they come, told where to ask by their
 * environment alone. Prints one JSON line for each answer.
 *
 *     evaluation.mjs MODELS QUESTIONS   (JSON: {name: api}, [text]; a name may ask for a stream: "+") */
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { Mistral } from "@mistralai/mistralai";
import OpenAI from "openai";

const messages = (question) => [{ role: "user", content: question }];

const apis = {
  async anthropic(model, question) {
    const answer = await new Anthropic().messages.create({
      model, max_tokens: 64, temperature: 0, messages: messages(question) });
    return answer.content[0].text;
  },
  async "anthropic+"(model, question) {
    const stream = new Anthropic().messages.stream({
      model, max_tokens: 64, temperature: 0, messages: messages(question) });
    return await stream.finalText();
  },
  async openai(model, question) {
    const answer = await new OpenAI().chat.completions.create({
      model, max_tokens: 64, temperature: 0, messages: messages(question) });
    return answer.choices[0].message.content;
  },
  async "openai+"(model, question) {
    let text = "";
    const stream = await new OpenAI().chat.completions.create({
      model, max_tokens: 64, temperature: 0, messages: messages(question), stream: true });
    for await (const event of stream) text += event.choices[0]?.delta?.content ?? "";
    return text;
  },
  async responses(model, question) {
    const answer = await new OpenAI().responses.create({
      model, max_output_tokens: 64, temperature: 0, input: question });
    return answer.output_text;
  },
  async gemini(model, question) {
    const answer = await new GoogleGenAI({}).models.generateContent({
      model, contents: question, config: { maxOutputTokens: 64, temperature: 0 } });
    return answer.text;
  },
  async "gemini+"(model, question) {
    let text = "";
    const stream = await new GoogleGenAI({}).models.generateContentStream({
      model, contents: question, config: { maxOutputTokens: 64, temperature: 0 } });
    for await (const chunk of stream) text += chunk.text ?? "";
    return text;
  },
  async mistral(model, question) {
    const answer = await new Mistral({
      apiKey: process.env.MISTRAL_API_KEY, serverURL: process.env.MISTRAL_BASE_URL,
    }).chat.complete({ model, maxTokens: 64, temperature: 0, messages: messages(question) });
    return answer.choices[0].message.content;
  },
};

const models = Object.entries(JSON.parse(process.argv[2]));
const asked = models.flatMap(([model, api]) =>
  JSON.parse(process.argv[3]).map(async (question) => {
    const answer = await apis[api](model, question);
    console.log(JSON.stringify({ model, question, answer }));
  }));
await Promise.all(asked);
