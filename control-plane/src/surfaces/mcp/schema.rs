//! Schemas of the OpenAPI description as schemas of tools.
//!
//! OpenAPI 3.1 schemas are JSON Schema 2020-12 already; what differs is where shared ones are kept. A
//! tool's schema stands alone, so those it reaches are carried in its `$defs`.

use serde_json::{Map, Value, json};

const SHARED: &str = "#/components/schemas/";

/// Gathers the shared schemas that a tool's schema reaches.
pub(super) struct Gatherer<'a> {
    components: &'a Value,
    gathered: Map<String, Value>,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self { components: &document["components"]["schemas"], gathered: Map::new() }
    }

    /// The schema with its references pointing into `$defs`.
    pub(super) fn local(&mut self, schema: &Value) -> Value {
        match schema {
            Value::Object(members) => {
                let mut local = Map::new();
                for (name, value) in members {
                    let value = match (name.as_str(), value) {
                        ("$ref", Value::String(to)) => json!(self.gather(to)),
                        // A sample is data, not a schema, and costs a reader's tokens in every listing.
                        ("example" | "examples", _) => continue,
                        _ => self.local(value),
                    };
                    local.insert(name.clone(), value);
                }
                Value::Object(local)
            }
            Value::Array(values) => values.iter().map(|value| self.local(value)).collect(),
            other => other.clone(),
        }
    }

    /// The schema behind a chain of references.
    pub(super) fn resolved<'v>(&self, schema: &'v Value) -> &'v Value
    where
        'a: 'v,
    {
        let mut schema = schema;
        while let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix(SHARED)) {
            schema = &self.components[name];
        }
        schema
    }

    fn gather(&mut self, to: &str) -> String {
        let Some(name) = to.strip_prefix(SHARED) else { return to.to_owned() };
        if !self.gathered.contains_key(name) {
            // Entered before its own references are followed: schemas may be recursive.
            self.gathered.insert(name.to_owned(), Value::Null);
            let local = self.local(&self.components[name].clone());
            self.gathered.insert(name.to_owned(), local);
        }
        format!("#/$defs/{name}")
    }

    /// Adds what was gathered.
    pub(super) fn finish(self, mut schema: Map<String, Value>) -> Map<String, Value> {
        if !self.gathered.is_empty() {
            schema.insert("$defs".to_owned(), Value::Object(self.gathered));
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_schemas_come_along_also_when_they_are_recursive() {
        let document = json!({"components": {"schemas": {
            "Tree": {"type": "object", "example": {"leaf": 1}, "properties": {
                "leaf": {"$ref": "#/components/schemas/Leaf"},
                "trees": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
            }},
            "Leaf": {"type": "integer"},
            "Unused": {"type": "string"},
        }}});
        let mut gatherer = Gatherer::new(&document);
        let schema = gatherer.local(&json!({"properties": {"a": {"$ref": "#/components/schemas/Tree"}}}));
        let Value::Object(schema) = schema else { panic!("an object stays one") };
        let tool = Value::Object(gatherer.finish(schema));
        assert_eq!(tool["properties"]["a"]["$ref"], "#/$defs/Tree");
        assert_eq!(tool["$defs"]["Tree"]["properties"]["trees"]["items"]["$ref"], "#/$defs/Tree");
        assert_eq!(tool["$defs"]["Leaf"], json!({"type": "integer"}));
        assert!(tool["$defs"].get("Unused").is_none());
        assert!(tool["$defs"]["Tree"].get("example").is_none());
    }
}
