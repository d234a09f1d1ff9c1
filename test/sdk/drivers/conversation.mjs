/* A harness as anybody would write one with an official SDK: it knows nothing of Parley. Carries a
 * conversation turn by turn with two models, then has a third judge their last answers in both orders.
 *
 *   node conversation.mjs '{"url", "key", "turns", "max", "judge": {"model", "max", "before", "between",
 *                          "after"}}'
 *
 * and prints {answers: {anthropic: […], openai: […]}, verdicts: […]}, or {status, message}. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const task = JSON.parse(process.argv[2]);
const anthropic = new Anthropic({ baseURL: task.url, apiKey: task.key, maxRetries: 0 });
const openai = new OpenAI({ baseURL: `${task.url}/v1`, apiKey: task.key, maxRetries: 0 });

const ask = {
  async anthropic(messages) {
    const answer = await anthropic.messages.create({
      model: "north-1", max_tokens: task.max, temperature: 0, messages });
    return { role: "assistant", content: answer.content };
  },
  async openai(messages, model = "north-o", most = task.max) {
    const answer = await openai.chat.completions.create({
      model, max_completion_tokens: most, temperature: 0, messages });
    return answer.choices[0].message;
  },
};
const text = ({ content }) =>
  typeof content === "string" ? content : content.map((part) => part.text).join("");

async function talk(model) {
  const messages = [], answers = [];
  for (const turn of task.turns) {
    messages.push({ role: "user", content: turn });
    const answer = await ask[model](messages);
    messages.push(answer);
    answers.push(text(answer));
  }
  return answers;
}

async function judge(a, b) {
  const { before, between, after, model, max } = task.judge;
  const content = before + a + between + b + after;
  return text(await ask.openai([{ role: "user", content }], model, max));
}

try {
  const answers = { anthropic: await talk("anthropic"), openai: await talk("openai") };
  const [a, b] = [answers.anthropic.at(-1), answers.openai.at(-1)];
  const verdicts = task.judge ? [await judge(a, b), await judge(b, a)] : [];
  console.log(JSON.stringify({ answers, verdicts }));
} catch (error) {
  console.log(JSON.stringify({ status: error.status, message: error.message }));
}
