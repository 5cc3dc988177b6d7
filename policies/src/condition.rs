//! Conditions of rules: CEL expressions over the facts of one request.
//!
//! A [`Condition`] is parsed and type-checked once, when its policy is; unknown names, wrong types and
//! what is not a yes-or-no question are diagnostics then. Evaluation looks facts up as the expression
//! asks for them and copies none. A tag that a request does not carry reads as `""`.

mod facts;
mod position;
mod types;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::CelString;
use cel::{Context, Env, Value};

pub use facts::{DOMAINS, FACTS, Fact, FactKind, Facts};
pub(crate) use position::offset_in_source;

/// The standard functions, shared by all conditions.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// The longest condition in bytes.
const MAX_LENGTH: usize = 2_000;
/// The most brackets within each other.
const MAX_DEPTH: usize = 12;
/// The most other operators in one term of a top-level `&&` or `||`: a chain of them nests too.
const MAX_CHAIN: usize = 32;

/// A checked condition, compiled once and evaluated per request.
#[derive(Clone)]
pub struct Condition {
    source: Arc<str>,
    expression: Arc<IdedExpr>,
}

/// A condition that came to no answer for some request, such as a division by zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("condition `{condition}`: {cause}")]
pub struct ConditionError {
    /// The condition's source.
    pub condition: String,
    /// What went wrong.
    pub cause: String,
}

/// Where a condition stands, which decides what it can know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Before the decision: `confidence` is unknown.
    Rule,
    /// After an answer's first tokens.
    Escalate,
}

/// One thing wrong in a condition's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Where in the source, in characters from its beginning.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl Condition {
    /// Parses and type-checks a condition.
    pub(crate) fn compile(source: &str, place: Place) -> Result<Condition, Vec<Flaw>> {
        if let Some(flaw) = oversized(source) {
            return Err(vec![flaw]);
        }
        // Compiling keeps the standard macros (`has`, `exists`, `all`, …), which a bare environment lacks.
        let program = match cel::Program::compile(source) {
            Ok(program) => program,
            Err(errors) => return Err(errors.errors.iter().map(|error| syntax(source, error)).collect()),
        };
        let flaws = types::flaws(program.expression(), program.source_info(), place);
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let mut expression = program.expression().clone();
        read_tags_by_key(&mut expression);
        Ok(Condition { source: source.into(), expression: Arc::new(expression) })
    }

    /// Whether the condition holds for a request.
    ///
    /// # Errors
    /// When the expression cannot be computed for these facts: a division by zero, an overflow, an index
    /// outside a list, a text that is no number.
    pub fn eval(&self, facts: &Facts<'_>) -> Result<bool, ConditionError> {
        let error = |cause: String| ConditionError { condition: self.source.to_string(), cause };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(facts);
        match Value::resolve(&self.expression, &context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err(error("neither true nor false".to_owned())),
            Err(cause) => Err(error(cause.to_string())),
        }
    }

    /// The condition as written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.source == other.source
    }
}

/// Turns `tags.x` into `tags["x"]`, and `has(tags.x)` into `"x" in tags`.
///
/// The first saves the interpreter from looking for a variable called `tags.x` on every evaluation; the
/// second keeps `has` meaningful although a missing tag reads as `""`.
fn read_tags_by_key(expression: &mut IdedExpr) {
    if let Expr::Select(select) = &mut expression.expr {
        let tags = std::mem::take(&mut *select.operand);
        let field = CelString::from(std::mem::take(&mut select.field));
        let key = IdedExpr { id: expression.id, expr: Expr::Literal(LiteralValue::String(field)) };
        let (function, args) = if select.test { ("@in", vec![key, tags]) } else { ("_[_]", vec![tags, key]) };
        expression.expr = Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args });
        return;
    }
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| read_tags_by_key(target));
            call.args.iter_mut().for_each(read_tags_by_key);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(read_tags_by_key),
        Expr::Comprehension(loops) => {
            for part in [
                &mut loops.iter_range,
                &mut loops.accu_init,
                &mut loops.loop_cond,
                &mut loops.loop_step,
                &mut loops.result,
            ] {
                read_tags_by_key(part);
            }
        }
        _ => {}
    }
}

/// Refuses what could only be a mistake or an attack: the parser and the walks below recurse.
fn oversized(source: &str) -> Option<Flaw> {
    let (mut depth, mut chain) = (0usize, 0usize);
    let excess = source.char_indices().find(|(at, letter)| {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '&' | '|' if depth == 0 => chain = 0,
            '.' | '+' | '-' | '*' | '/' | '%' | '=' | '<' | '>' | '!' | '?' => chain += 1,
            _ => {}
        }
        depth > MAX_DEPTH || chain > MAX_CHAIN || *at > MAX_LENGTH
    });
    let (at, _) = excess?;
    let help = format!(
        "at most {MAX_LENGTH} bytes, {MAX_DEPTH} brackets within each other and {MAX_CHAIN} operators between \
         && and ||; split it into rules"
    );
    let at = source[..at].chars().count();
    Some(Flaw { at, message: "the condition is too large from here on".to_owned(), help: Some(help) })
}

/// A parser's complaint, with its position as characters from the beginning.
fn syntax(source: &str, error: &cel::ParseError) -> Flaw {
    let (line, column) = error.pos;
    let before: usize = source
        .split_inclusive('\n')
        .take(usize::try_from(line - 1).unwrap_or(0))
        .map(|line| line.chars().count())
        .sum();
    let at = before + usize::try_from(column - 1).unwrap_or(0);
    let message = error.msg.lines().next().unwrap_or_default().trim();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    // The parser lists every token that could follow: to a person that is noise.
    let message = match message.split_once(" expecting ") {
        Some((found, _)) if found.ends_with("'<EOF>'") => "it ends in the middle",
        Some((found, expected)) if expected.len() > 40 => found,
        _ => message,
    };
    let help = if source.contains(" and ") || source.contains(" or ") || source.contains(" not ") {
        Some("conditions are CEL: write && for and, || for or, ! for not".to_owned())
    } else {
        None
    };
    Flaw { at: at.min(source.chars().count()), message: format!("not a CEL condition: {message}"), help }
}

#[cfg(test)]
mod tests;
