// What an application does with the openai package for Node, told as one JSON object on stdout.
// Usage: node consumer.mjs BASE_URL MODEL
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const ask = { model, messages: [{ role: "user", content: "Say hello." }], max_tokens: 8 };
const told = {};

told.models = [];
for await (const entry of client.models.list()) told.models.push(entry.id);

const whole = await client.chat.completions.create(ask);
told.text = whole.choices[0].message.content;
told.usage = whole.usage;
told.requestId = whole._request_id;

told.pieces = [];
told.usages = [];
const options = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create({ ...ask, ...options })) {
  if (chunk.usage) told.usages.push(chunk.usage);
  if (chunk.choices[0]?.delta?.content) told.pieces.push(chunk.choices[0].delta.content);
}

told.completion = "";
const prompt = { model, prompt: "One, two,", max_tokens: 8, stream: true };
for await (const chunk of await client.completions.create(prompt)) {
  told.completion += chunk.choices[0]?.text ?? "";
}

try {
  await client.chat.completions.create({ ...ask, model: "no-such-model" });
} catch (error) {
  told.notFound = { kind: error.constructor.name, status: error.status, code: error.code };
}
try {
  await client.chat.completions.create({ ...ask, messages: "hello" });
} catch (error) {
  told.badRequest = { kind: error.constructor.name, status: error.status, param: error.param };
}

const abandoned = await client.chat.completions.create({ ...ask, max_tokens: 900, stream: true });
for await (const _ of abandoned) break; // leaving the loop hangs up
told.aborted = abandoned.controller.signal.aborted;

console.log(JSON.stringify(told));
