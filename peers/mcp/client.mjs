// The official TypeScript client: lists every tool and calls each, over HTTP or the stdio server.
//
// Usage: client.mjs http|stdio ORIGIN KEY BRIDGE
//
// Arguments fit each tool's schema, with ids of nothing. An answer must have the structure that the tool declares
// (the client checks that itself), and an error must say how to mend it. Prints what was called as a line of JSON.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import assert from "node:assert/strict";
import { inOrder, sample } from "./tools.mjs";

const [way, origin, key, bridge] = process.argv.slice(2);

function transport() {
  if (way === "stdio") {
    const config = JSON.stringify({ base_url: origin, api_key: key });
    return new StdioClientTransport({
      command: process.execPath,
      args: [bridge],
      env: { ...process.env, AFFILIATEOS_MCP_CONFIG: config },
    });
  }
  const headers = { authorization: `Bearer ${key}` };
  return new StreamableHTTPClientTransport(new URL("/mcp", origin), { requestInit: { headers } });
}

const client = new Client({ name: "affiliateos-tests", version: "1.0.0" });
await client.connect(transport());
const { tools } = await client.listTools();
let [called, refused] = [0, 0];
for (const tool of inOrder(tools)) {
  const given = sample(tool.inputSchema);
  const result = await client.callTool({ name: tool.name, arguments: given });
  called += 1;
  const text = result.content[0].text;
  if (result.isError) {
    const error = JSON.parse(text);
    assert.ok(error.error && error.message && error.fix, `${tool.name}: ${text}`);
    assert.notEqual(error.error, "internal", `${tool.name}: ${text}`);
    refused += 1;
  } else {
    assert.deepEqual(JSON.parse(text), result.structuredContent, tool.name);
  }
}
await client.close();
console.log(JSON.stringify({ tools: tools.length, called, refused }));
