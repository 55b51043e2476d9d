// The official inspector's command line: lists every tool and calls each, over HTTP or the stdio server.
//
// Usage: inspector.mjs http|stdio ORIGIN KEY BRIDGE
//
// Each call is a run of `mcp-inspector --cli` of its own, with a connection of its own, but for the process: that
// would be started a hundred and sixty times. Prints what was called as a line of JSON.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inOrder, sample } from "./tools.mjs";
// What the launcher runs for `--cli`; the package exports nothing.
import { runCli } from "../node_modules/@modelcontextprotocol/inspector/clients/cli/build/index.js";

const [way, origin, key, bridge] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "aos-inspector-"));
const output = join(folder, "output.json");
const config = JSON.stringify({ base_url: origin, api_key: key });
const server =
  way === "stdio"
    ? ["-e", `AFFILIATEOS_MCP_CONFIG=${config}`, "--transport", "stdio", process.execPath, bridge]
    : ["--transport", "http", "--server-url", `${origin}/mcp`, "--header", `Authorization: Bearer ${key}`];

/** A run of the command line; what it printed, and why it failed if it did. */
async function run(...args) {
  let failure;
  try {
    await runCli(["node", "mcp-inspector", ...server, "-q", "--output", output, ...args]);
  } catch (error) {
    failure = error;
  }
  return { printed: JSON.parse(readFileSync(output, "utf8")), failure };
}

const listed = await run("--method", "tools/list", "--strict");
assert.equal(listed.failure, undefined, "a schema is refused");
const { tools } = listed.printed;
let [called, refused] = [0, 0];
for (const tool of inOrder(tools)) {
  const given = JSON.stringify(sample(tool.inputSchema));
  const { printed, failure } = await run("--method", "tools/call", "--tool-name", tool.name, "--tool-args-json", given);
  called += 1;
  const text = printed.content[0].text;
  assert.equal(failure !== undefined, printed.isError, `${tool.name}: ${failure}`);
  if (printed.isError) {
    const error = JSON.parse(text);
    assert.ok(error.error && error.message && error.fix, `${tool.name}: ${text}`);
    assert.notEqual(error.error, "internal", `${tool.name}: ${text}`);
    refused += 1;
  } else {
    assert.deepEqual(JSON.parse(text), printed.structuredContent, tool.name);
  }
}
rmSync(folder, { recursive: true });
console.log(JSON.stringify({ tools: tools.length, called, refused }));
// What it kept open of its connections must not keep the process.
process.exit(0);
