// What every client of the tests needs to call tools that it knows nothing of but their schemas.
import { randomUUID } from "node:crypto";

/** Arguments that fit a schema; ids are of nothing. */
export function sample(schema, definitions = schema.$defs ?? {}, name = "") {
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

/** Those that end the key last: what comes after them would be refused. */
export function inOrder(tools) {
  const endsTheKey = (tool) => (["rotate_key", "regenerate_key", "delete_agent"].includes(tool.name) ? 1 : 0);
  return tools.toSorted((one, other) => endsTheKey(one) - endsTheKey(other));
}
