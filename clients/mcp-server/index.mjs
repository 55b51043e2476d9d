#!/usr/bin/env node
// AffiliateOS over stdio: every message goes to the Streamable HTTP endpoint of the service as it is.
// The tools live there alone, so this program never has to be updated for a new one.
import { createInterface } from "node:readline";

const ANSWER_WITHIN_MS = 120_000;
const SAMPLE = '{"base_url":"https://affiliateos.example","api_key":"aos_live_…"}';

/** Reads the settings or ends the program; the key itself is never printed. */
function settings() {
  const fail = (problem) => {
    console.error(`affiliateos-mcp-server: ${problem}\nSet AFFILIATEOS_MCP_CONFIG to something like ${SAMPLE}`);
    process.exit(64);
  };
  const text = process.env.AFFILIATEOS_MCP_CONFIG;
  if (!text) fail("AFFILIATEOS_MCP_CONFIG is not set.");
  let config, endpoint;
  try {
    config = JSON.parse(text);
  } catch {
    fail("AFFILIATEOS_MCP_CONFIG is not JSON.");
  }
  try {
    endpoint = new URL("/mcp", config?.base_url);
  } catch {
    fail("base_url in AFFILIATEOS_MCP_CONFIG is not a URL.");
  }
  const loopback = ["localhost", "127.0.0.1", "[::1]"].includes(endpoint.hostname);
  if (endpoint.protocol !== "https:" && !(endpoint.protocol === "http:" && loopback)) {
    fail("base_url must be https: the key would travel in the clear.");
  }
  // Without a key an agent can still sign up.
  const key = config.api_key ?? "";
  if (typeof key !== "string" || /[^\x21-\x7e]/.test(key)) fail("api_key is not a key.");
  return { endpoint, key };
}

const { endpoint, key } = settings();
let negotiated;

/** The headers of one message; version 2026-07-28 wants its method and name outside of the body as well. */
function headers(message) {
  const version = message.params?._meta?.["io.modelcontextprotocol/protocolVersion"] ?? negotiated;
  const head = { "content-type": "application/json", accept: "application/json, text/event-stream" };
  if (key) head.authorization = `Bearer ${key}`;
  if (version) head["mcp-protocol-version"] = version;
  if (version >= "2026-07-28" && message.method) {
    head["mcp-method"] = message.method;
    const name = message.params?.name ?? message.params?.uri;
    if (typeof name === "string") head["mcp-name"] = encoded(name);
  }
  return head;
}

/** Header values are plain ASCII; the protocol has a spelling for all else. */
function encoded(text) {
  if (/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !text.startsWith("=?")) return text;
  return `=?base64?${Buffer.from(text).toString("base64")}?=`;
}

function write(message) {
  if (message.result?.protocolVersion) negotiated = message.result.protocolVersion;
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** The messages in a body of server-sent events. */
function* events(text) {
  for (const event of text.split(/\r?\n\r?\n/)) {
    const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
    const joined = data.map((line) => line.slice(5).trimStart()).join("\n");
    if (joined) yield JSON.parse(joined);
  }
}

async function forward(line) {
  let message;
  try {
    message = JSON.parse(line);
  } catch {
    return write({ jsonrpc: "2.0", id: null, error: { code: -32700, message: "The line is not JSON." } });
  }
  const refuse = (text) => {
    if (message.id !== undefined) write({ jsonrpc: "2.0", id: message.id, error: { code: -32000, message: text } });
    else console.error(`affiliateos-mcp-server: ${text}`);
  };
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const request = { method: "POST", headers: headers(message), body: line, redirect: "error", signal };
    const reply = await fetch(endpoint, request);
    const text = await reply.text();
    if (message.id === undefined) return;
    const type = reply.headers.get("content-type") ?? "";
    const answers = type.startsWith("text/event-stream") ? [...events(text)] : [JSON.parse(text)];
    answers.forEach(write);
  } catch (error) {
    refuse(`${endpoint.origin} did not answer as expected (${error.cause?.code ?? error.name}). Try again in a moment.`);
  }
}

const pending = new Set();
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (!line.trim()) continue;
  const sent = forward(line).finally(() => pending.delete(sent));
  pending.add(sent);
  // What follows depends on the version agreed on.
  if (line.includes('"initialize"')) await sent;
}
await Promise.all(pending);
