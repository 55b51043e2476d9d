// The official TypeScript client: lists every tool and calls each, over HTTP or the stdio server.
//
// Usage: client.mjs http|stdio ORIGIN KEY BRIDGE
//
// Arguments fit each tool's schema, with ids of nothing. An answer must have the structure that the tool declares
// (the client checks that itself), and an error must say how to mend it. Prints what was called as a line of JSON.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

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

/** A value that fits a schema; ids are of nothing. */
function sample(schema, definitions, name = "") {
  if (schema.$ref) return sample(definitions[schema.$ref.split("/").at(-1)], definitions, name);
  const several = schema.oneOf ?? schema.anyOf;
  if (several) return sample(several[0], definitions, name);
  if (schema.enum) return schema.enum[0];
  switch ([schema.type].flat()[0]) {
    case "object": {
      const needed = (schema.required ?? []).map((member) => [member, schema.properties[member]]);
      return Object.fromEntries(needed.map(([member, inner]) => [member, sample(inner, definitions, member)]));
    }
    case "array":
      return [sample(schema.items ?? {}, definitions, name)];
    case "number":
    case "integer":
      return 1;
    case "boolean":
      return false;
  }
  if (schema.format === "uuid") return randomUUID();
  return name.includes("url") ? "https://example.com/x" : `sample-${name}`;
}

const client = new Client({ name: "affiliateos-tests", version: "1.0.0" });
await client.connect(transport());
const { tools } = await client.listTools();
let refused = 0;
// Last: after it the key is another one.
const order = tools.toSorted((one, other) => endsTheKey(one) - endsTheKey(other));

function endsTheKey(tool) {
  return ["rotate_key", "delete_agent"].includes(tool.name) ? 1 : 0;
}

for (const tool of order) {
  const given = sample(tool.inputSchema, tool.inputSchema.$defs ?? {});
  const result = await client.callTool({ name: tool.name, arguments: given });
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
console.log(JSON.stringify({ tools: tools.length, refused }));
