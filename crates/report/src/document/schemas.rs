//! The JSON schemas of documents, from the types that they are made of (draft 2020-12).
//!
//! A schema says which fields a document has, not that it has no other: later versions add some. A
//! document of a verb that failed may have its error and nothing else.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Failure, PLAIN_VERBS, VERBS, body_schema, schema};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The name of the schema of what is nothing but an error.
pub const FAILURE: &str = "failure";

/// What there are schemas of: verbs, and [`FAILURE`].
pub fn names() -> impl Iterator<Item = &'static str> {
    VERBS.iter().copied().chain([FAILURE])
}

/// The schema of what `verb` prints with `--json`; `None` for what [`names`] does not have.
pub fn of(verb: &str) -> Option<Value> {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let failure = generator.subschema_for::<Failure>().to_value();
    if verb == FAILURE {
        let schemas: Vec<_> = PLAIN_VERBS.iter().map(|verb| schema(verb)).collect();
        return Some(json!({
            "$schema": DRAFT,
            "title": FAILURE,
            "description": "A verb that prints no report, and failed.",
            "type": "object",
            "properties": { "schema": { "enum": schemas }, "error": failure },
            "required": ["schema", "error"],
            "$defs": generator.take_definitions(true),
        }));
    }
    let body = body_schema(verb, &mut generator)?.to_value();
    let mut properties = Map::new();
    properties.insert("schema".to_owned(), json!({ "const": schema(verb) }));
    properties
        .extend(body.get("properties").and_then(Value::as_object).cloned().unwrap_or_default());
    properties.insert("error".to_owned(), failure);
    Some(json!({
        "$schema": DRAFT,
        "title": schema(verb),
        "description": body.get("description"),
        "type": "object",
        "properties": properties,
        "required": ["schema"],
        // A report, or why there is none.
        "anyOf": [{ "required": body.get("required") }, { "required": ["error"] }],
        "$defs": generator.take_definitions(true),
    }))
}
