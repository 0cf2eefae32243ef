//! The OpenAPI 3.1 document, made of [`ENDPOINTS`] and of the types' own schemas: it cannot say what is not so. What only
//! pages send is not in it.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use wire::api::{CustodyLine, ErrorBody, LiveEvent};

use super::credential::Who;
use super::endpoint::{Answer, Body, Endpoint};
use super::endpoints::ENDPOINTS;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// `GET /api/v1/openapi.json`.
pub async fn show() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.who != Who::Browser) {
        let operation = operation(endpoint, &mut generator);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.verb.name().to_lowercase()] = operation;
    }
    // Lines of streams, to which no answer refers.
    generator.subschema_for::<CustodyLine>();
    generator.subschema_for::<LiveEvent>();
    let error = generator.subschema_for::<ErrorBody>();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Evidence collection for incident response.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Error": {
                    "description": "What is wrong, and the next step.",
                    "content": { "application/json": { "schema": error } },
                },
            },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token, hf_…: holdfast-server token add" },
                "session": { "type": "apiKey", "in": "cookie", "name": "__Host-holdfast", "description": "A browser that signed in." },
                "ticket": { "type": "http", "scheme": "bearer", "description": "The secret of an upload ticket." },
                "certificate": { "type": "mutualTLS", "description": "An agent's client certificate, from the server's own CA." },
            },
        },
    });
    bound_integers(&mut document);
    document
}

/// A `uint64` is one of JSON Schema's integers, which have no end, and a format that most readers pass over.
fn bound_integers(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let maximum = match map.get("format").and_then(Value::as_str) {
                Some("uint8") => Some(json!(u8::MAX)),
                Some("uint32") => Some(json!(u32::MAX)),
                Some("uint64") => Some(json!(u64::MAX)),
                _ => None,
            };
            if let Some(maximum) = maximum {
                map.entry("maximum").or_insert(maximum);
            }
            map.values_mut().for_each(bound_integers);
        }
        Value::Array(list) => list.iter_mut().for_each(bound_integers),
        _ => {}
    }
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "description": format!("For {}.", endpoint.who.words()),
        "parameters": parameters(endpoint, generator),
        "responses": responses(endpoint, generator),
        "security": security(endpoint.who),
    });
    if let Some(body) = request_body(endpoint, generator) {
        operation["requestBody"] = body;
    }
    operation
}

/// `get_incidents_incident_events` for `GET /api/v1/incidents/{incident}/events`.
fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.trim_start_matches("/api/v1").split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{}_{}", endpoint.verb.name().to_lowercase(), words.join("_"))
}

fn parameters(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters = Vec::new();
    for name in endpoint.path_parameters() {
        parameters
            .push(json!({ "name": name, "in": "path", "required": true, "schema": path_schema(name, generator) }));
    }
    for header in endpoint.headers {
        parameters.push(json!({
            "name": header.name,
            "in": "header",
            "required": header.required,
            "description": header.description,
            "schema": { "type": "string", "pattern": header.pattern },
        }));
    }
    let Some(query) = endpoint.query else { return parameters };
    let query = query(generator).to_value();
    for (name, schema) in query["properties"].as_object().into_iter().flatten() {
        let mut schema = without_null(schema.clone());
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        parameters.push(json!({
            "name": name,
            "in": "query",
            "required": query["required"].as_array().is_some_and(|required| required.contains(&json!(name))),
            "description": description,
            "schema": schema,
        }));
    }
    parameters
}

/// Parameters in paths are named after what they identify.
fn path_schema(name: &str, generator: &mut SchemaGenerator) -> Value {
    match name {
        "agent" => generator.subschema_for::<wire::AgentId>(),
        "alert" => generator.subschema_for::<wire::AlertId>(),
        "audience" => generator.subschema_for::<wire::response::Audience>(),
        "bundle" => generator.subschema_for::<wire::BundleId>(),
        "hunt" => generator.subschema_for::<wire::HuntId>(),
        "incident" => generator.subschema_for::<wire::IncidentId>(),
        "letter" => generator.subschema_for::<wire::LetterId>(),
        "order" => generator.subschema_for::<wire::OrderId>(),
        "ticket" => generator.subschema_for::<wire::Sha256>(),
        "upload" => generator.subschema_for::<wire::UploadId>(),
        _ => generator.subschema_for::<String>(),
    }
    .to_value()
}

/// A parameter is there or it is not; it is never null.
fn without_null(mut schema: Value) -> Value {
    let is_null = |one: &Value| *one == json!("null") || one["type"] == json!("null");
    if let Some(types) = schema["type"].as_array_mut() {
        types.retain(|one| !is_null(one));
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(choices) = schema["anyOf"].as_array_mut() {
        choices.retain(|one| !is_null(one));
    }
    if let Some(map) = schema.as_object_mut() {
        // Indexing has put them there.
        map.retain(|_, value| !value.is_null());
    }
    schema
}

fn request_body(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Option<Value> {
    let content = match endpoint.body {
        Body::None => return None,
        Body::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Body::Form(schema) => json!({ "application/x-www-form-urlencoded": { "schema": schema(generator) } }),
        Body::Text(media_types) => texts(media_types),
        Body::Bytes(media_type) => bytes(media_type),
    };
    let description = format!("At most {} bytes.", endpoint.body_bytes_max);
    Some(json!({ "content": content, "description": description, "required": true }))
}

fn bytes(media_type: &str) -> Value {
    json!({ media_type: { "schema": { "type": "string", "format": "binary" } } })
}

/// Any JSON, or any text that is not empty.
fn texts(media_types: &[&str]) -> Value {
    let schema = |media_type: &str| match media_type {
        "application/json" => json!({}),
        _ => json!({ "type": "string", "pattern": r"\S" }),
    };
    let content = media_types.iter().map(|one| ((*one).to_owned(), json!({ "schema": schema(one) })));
    content.collect::<Map<_, _>>().into()
}

fn responses(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    match endpoint.answer {
        Answer::Nothing(status) => {
            responses.insert(status.to_string(), json!({ "description": "Done." }));
        }
        Answer::Json(schema) => {
            let content = json!({ "application/json": { "schema": schema(generator) } });
            responses.insert("200".to_owned(), json!({ "description": "The answer.", "content": content }));
        }
        Answer::Bytes(media_type) => {
            responses.insert("200".to_owned(), json!({ "description": "The bytes.", "content": bytes(media_type) }));
        }
        Answer::Ranges(media_types) => {
            let mut content = Map::new();
            for media_type in media_types {
                content.extend(bytes(media_type).as_object().cloned().unwrap_or_default());
            }
            responses.insert("200".to_owned(), json!({ "description": "The bytes.", "content": content }));
            responses.insert("206".to_owned(), json!({ "description": "A part.", "content": content }));
        }
    }
    for status in error_statuses(endpoint) {
        responses.insert(status.to_string(), json!({ "$ref": "#/components/responses/Error" }));
    }
    responses.into()
}

/// Which errors it may answer with.
fn error_statuses(endpoint: &Endpoint) -> Vec<u16> {
    let mut statuses = vec![500, 503];
    let has_path = endpoint.path_parameters().next().is_some();
    let has_body = !matches!(endpoint.body, Body::None);
    if endpoint.who != Who::Open || has_body {
        statuses.extend([401, 403, 429]);
    }
    if has_path || has_body || endpoint.query.is_some() {
        statuses.extend([400, 404]);
    }
    if has_path || has_body {
        statuses.push(409);
    }
    if has_path || has_body {
        statuses.push(413);
    }
    if has_body {
        statuses.push(415);
    }
    statuses.extend(endpoint.errors);
    statuses.sort_unstable();
    statuses
}

/// Each of them is enough by itself; an empty list asks for none.
fn security(who: Who) -> Value {
    match who {
        Who::Open | Who::Browser | Who::Signature => json!([]),
        Who::Person | Who::Source | Who::Analyst | Who::Responder => json!([{ "token": [] }, { "session": [] }]),
        Who::Agent => json!([{ "certificate": [] }]),
        Who::Upload => json!([{ "certificate": [] }, { "ticket": [] }, { "token": [] }, { "session": [] }]),
    }
}
