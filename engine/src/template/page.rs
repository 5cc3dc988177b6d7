//! Renders one page of a template: the only file that knows the template language.
//!
//! Templates are Jinja as Hugging Face's libraries run it, so their settings, methods and extra functions are matched
//! here. What a template can read is the page and nothing else. Its instructions and what it makes are counted, but not in
//! every case: some still recurse, compute or grow without end, which is why strangers' templates are rendered in a
//! process of their own ([`apart`](super::apart)).

use super::{clock, json};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Instructions one rendering may take, and pieces of 64 bytes that it may make: thousands of messages need a fraction of it.
const FUEL: u64 = 5_000_000;

/// What a template is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Source {
    /// Its text.
    pub(super) text: String,
    /// How the vocabulary's first and last token are written.
    pub(super) bos: String,
    pub(super) eos: String,
}

/// What a template is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Page {
    /// The messages as templates know them.
    pub(super) messages: Vec<Value>,
    /// The tools, as the request describes them.
    pub(super) tools: Vec<Value>,
    /// Whether the assistant's next message is begun.
    pub(super) begins: bool,
    /// What the request sets.
    pub(super) variables: Map<String, Value>,
}

/// A compiled template.
#[derive(Debug)]
pub(super) struct Renderer {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl Renderer {
    /// Compiles it, or says why it cannot be.
    pub(super) fn new(source: Source) -> Result<Renderer, String> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| describe(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", clock::strftime_now);
        environment.add_template_owned("chat", source.text).map_err(|error| describe(&error))?;
        Ok(Renderer { environment, bos: source.bos, eos: source.eos })
    }

    /// The page as text, or the template's own words on why not.
    pub(super) fn render(&self, page: Page) -> Result<String, String> {
        self.rendered(page).map_err(|error| describe(&error))
    }

    fn rendered(&self, page: Page) -> Result<String, Error> {
        let usual = context! {
            messages => Serde(page.messages),
            add_generation_prompt => page.begins,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => (!page.tools.is_empty()).then_some(Serde(page.tools)),
        };
        let variables = minijinja::Value::from(Serde(page.variables));
        // Llama 3's templates fall back to a day of 2024 without it.
        let today = context! { date_string => clock::strftime_now("%d %b %Y".to_owned())? };
        // What the request sets itself does not win over the conversation.
        self.environment.get_template("chat")?.render(context! { ..usual, ..variables, ..today })
    }
}

/// What templates call to refuse a conversation.
fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// An error's message and line, without the template's text.
fn describe(error: &Error) -> String {
    let message = match error.kind() {
        ErrorKind::OutOfFuel => "it takes too many steps, or makes too much text".to_owned(),
        kind => error.detail().map_or_else(|| kind.to_string(), str::to_owned),
    };
    match error.line() {
        Some(line) => format!("{message} (template line {line})"),
        None => message,
    }
}
