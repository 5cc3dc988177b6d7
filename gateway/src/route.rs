//! Paths: which function answers a call.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::app::App;
use crate::call::Call;
use crate::complete;
use crate::feedback;
use crate::metrics::Metrics;
use crate::request::Body;
use crate::wire::error::{Defect, Fault};

/// What the path of a single model begins with.
const MODEL: &str = "/v1/models/";

/// Answers a call by its method and path.
///
/// # Errors
/// [`Fault::NoRoute`], [`Fault::Method`], or what the path's function says.
pub async fn route(app: Arc<App>, call: Call) -> Result<Response<Body>, Fault> {
    let path = call.parts.uri.path();
    match (call.parts.method.clone(), path) {
        (Method::POST, "/v1/chat/completions" | "/v1/embeddings") => complete::complete(app, call).await,
        (Method::POST, "/v1/decision") => complete::decide(app, call).await,
        (Method::POST, "/v1/feedback") => feedback::feedback(app, call).await,
        (Method::GET | Method::HEAD, "/v1/models") => Ok(json(StatusCode::OK, &models(&app, &call))),
        (Method::GET | Method::HEAD, path) if path.starts_with(MODEL) => {
            model(&app, &call).map(|model| json(StatusCode::OK, &model))
        }
        (Method::GET | Method::HEAD, "/healthz") => Ok(json(StatusCode::OK, &Health { status: "ok" })),
        (Method::GET | Method::HEAD, "/readyz") => Ok(readiness(&app)),
        (Method::GET | Method::HEAD, "/metrics") => metrics(&app),
        (_, "/v1/chat/completions" | "/v1/embeddings" | "/v1/decision" | "/v1/feedback") => {
            Err(Fault::Method { allow: "POST" })
        }
        (_, "/v1/models" | "/healthz" | "/readyz" | "/metrics") => Err(Fault::Method { allow: "GET" }),
        (_, path) if path.starts_with(MODEL) => Err(Fault::Method { allow: "GET" }),
        (_, path) => Err(Fault::NoRoute { path: path.chars().take(200).collect(), hint: hint(path) }),
    }
}

/// What somebody who asks for this path probably wants: mostly a base URL was set with or without its `/v1`.
fn hint(path: &str) -> &'static str {
    if path.contains("chat/completion") {
        "did you mean /v1/chat/completions? A base URL ends in /v1"
    } else if path.contains("embedding") {
        "did you mean /v1/embeddings? A base URL ends in /v1"
    } else if path.contains("models") {
        "did you mean /v1/models? A base URL ends in /v1"
    } else {
        "there are POST /v1/chat/completions, POST /v1/embeddings, POST /v1/decision, POST /v1/feedback, GET /v1/models, /healthz, /readyz, /metrics"
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    waiting_for: Vec<String>,
    /// The state of every engine; `stopped` is no fault.
    engines: BTreeMap<String, &'static str>,
}

/// Ready when the workers have begun, some model can answer and the ledger can be written: a gateway that loses one
/// engine of two still serves.
/// What is missing is told either way.
fn readiness(app: &App) -> Response<Body> {
    let mut waiting_for: Vec<String> = Vec::new();
    let mut usable = false;
    for (model, upstream) in app.catalog.models().iter().zip(&app.upstreams) {
        match upstream.trouble() {
            None => usable = true,
            Some(trouble) => {
                waiting_for.push(format!("model {}: engine {} {trouble}", model.name, upstream.name()))
            }
        }
    }
    let mut ready = usable && !app.upstreams.iter().any(|upstream| upstream.beginning());
    if !app.ledger.is_writable() {
        waiting_for.push("the ledger cannot be written".to_owned());
        ready = false;
    }
    if app.draining() {
        waiting_for.push("shutting down".to_owned());
        ready = false;
    }
    let (code, status) =
        if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let engines =
        app.upstreams.iter().map(|upstream| (upstream.name().to_owned(), upstream.state())).collect();
    json(code, &Readiness { status, waiting_for, engines })
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: String,
}

/// What a caller may write as `model`: the policies, then the catalogue as far as its key reaches.
fn models(app: &App, call: &Call) -> List {
    let entry =
        |id: String, owned_by: &str| Entry { id, object: "model", created: 0, owned_by: owned_by.to_owned() };
    let policies = app.policies.load();
    let auto =
        std::iter::once("auto".to_owned()).chain(policies.named.keys().map(|name| format!("auto:{name}")));
    let may_use = |name: &str| call.key.as_ref().is_none_or(|key| key.may_use(name));
    let models = app.catalog.models().iter().filter(|model| may_use(&model.name));
    let data = auto
        .map(|id| entry(id, "tollgate"))
        .chain(models.map(|model| entry(model.name.clone(), &model.engine)))
        .collect();
    List { object: "list", data }
}

/// One of [`models`], by the name at the path's end.
fn model(app: &App, call: &Call) -> Result<Entry, Fault> {
    let name = call.parts.uri.path().strip_prefix(MODEL).unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy();
    let listed = models(app, call).data;
    listed.into_iter().find(|entry| entry.id == name).ok_or_else(|| {
        let message =
            format!("the model {name:?} does not exist or is not for this key; GET /v1/models lists what is");
        Fault::UnknownModel { message }
    })
}

fn metrics(app: &App) -> Result<Response<Body>, Fault> {
    let text = app.metrics.render().map_err(|error| Fault::Internal(Defect::Metrics(error)))?;
    let mut response = Response::new(Body::full(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Metrics::content_type()));
    Ok(response)
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Strings and numbers only: this cannot fail.
    let mut response = Response::new(Body::full(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
