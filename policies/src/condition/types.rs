//! The types of a condition's parts, worked out before it ever runs.
//!
//! CEL itself finds most mistakes only when the part that has them is evaluated, perhaps weeks later on
//! the one request that reaches it. This walk finds unknown names and impossible operations at check
//! time. What it cannot know (a list's mixed elements, say) it lets pass.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SourceInfo};

use crate::condition::{DOMAINS, FACTS, FactKind, Flaw, Place};
use crate::diagnostic::{nearest, suggest};

/// Functions conditions may call, and the macros that are called alike.
const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "double",
    "int",
    "string",
    "has",
    "exists",
    "all",
    "exists_one",
    "filter",
    "map",
];

#[derive(Clone, PartialEq, Debug)]
enum Type {
    Bool,
    Int,
    Double,
    Text,
    Tags,
    List(Box<Type>),
    /// Anything: either unknown, or already complained about.
    Any,
}

/// Everything wrong with a condition that parses.
pub(super) fn flaws(expression: &IdedExpr, source: &SourceInfo, place: Place) -> Vec<Flaw> {
    let mut check = Check { source, place, locals: Vec::new(), at: 0, flaws: Vec::new() };
    let answer = check.walk(expression);
    if !matches!(answer, Type::Bool | Type::Any) {
        check.at = 0;
        check.flaw(format!("a condition must be true or false, this is {}", answer.name()), None);
    }
    check.flaws
}

struct Check<'s> {
    source: &'s SourceInfo,
    place: Place,
    locals: Vec<(&'s str, Type)>,
    /// Where the part being walked is; parts made by macros stand where the macro does.
    at: usize,
    flaws: Vec<Flaw>,
}

impl Type {
    fn name(&self) -> &'static str {
        match self {
            Type::Bool => "true or false",
            Type::Int => "a whole number",
            Type::Double => "a number",
            Type::Text => "text",
            Type::Tags => "the tags",
            Type::List(_) => "a list",
            Type::Any => "anything",
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Double | Type::Any)
    }

    /// Whether values of both could ever be equal or ordered.
    fn meets(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::List(own), Type::List(others)) => own.meets(others),
            _ => self == other || (self.is_number() && other.is_number()),
        }
    }

    fn of_fact(kind: FactKind) -> Type {
        match kind {
            FactKind::Bool => Type::Bool,
            FactKind::Int => Type::Int,
            FactKind::Double => Type::Double,
            FactKind::Text => Type::Text,
            FactKind::Tags => Type::Tags,
        }
    }
}

impl<'s> Check<'s> {
    fn flaw(&mut self, message: String, help: Option<String>) {
        self.flaws.push(Flaw { at: self.at, message, help });
    }

    fn walk(&mut self, part: &'s IdedExpr) -> Type {
        let outer = self.at;
        if let Some((start, _)) = self.source.offset_for(part.id) {
            let start = self.source.source.floor_char_boundary(start as usize);
            self.at = self.source.source[..start].chars().count();
        }
        let found = match &part.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                let operand = self.walk(&select.operand);
                self.field(&operand, &select.field, select.test)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let types: Vec<Type> = list.elements.iter().map(|element| self.walk(element)).collect();
                let first = types.first().cloned().unwrap_or(Type::Any);
                let alike = types.iter().all(|element| *element == first);
                Type::List(Box::new(if alike { first } else { Type::Any }))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.flaw("conditions have no maps or messages".to_owned(), None);
                Type::Any
            }
        };
        self.at = outer;
        found
    }

    fn literal(&mut self, literal: &LiteralValue) -> Type {
        match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Int,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::String(_) => Type::Text,
            LiteralValue::Null | LiteralValue::Bytes(_) => {
                let help = "a fact is never null; an absent text is \"\", an absent number 0".to_owned();
                self.flaw("conditions have no null or bytes".to_owned(), Some(help));
                Type::Any
            }
        }
    }

    fn name(&mut self, name: &str) -> Type {
        let local =
            self.locals.iter().rev().find(|(local, _)| *local == name).map(|(_, found)| found.clone());
        if local.is_none() && name == "confidence" && self.place == Place::Rule {
            let help = "it is how sure the answering model is, known only in [escalate]".to_owned();
            self.flaw("`confidence` is not known before a model is chosen".to_owned(), Some(help));
            return Type::Any;
        }
        let fact = || FACTS.iter().find(|fact| fact.name == name).map(|fact| Type::of_fact(fact.kind));
        local.or_else(fact).unwrap_or_else(|| {
            let help = suggest(name, FACTS.iter().map(|fact| fact.name));
            self.flaw(format!("unknown variable `{name}`"), help);
            Type::Any
        })
    }

    fn field(&mut self, operand: &Type, field: &str, test: bool) -> Type {
        if !matches!(operand, Type::Tags | Type::Any) {
            let message = format!("`.{field}` of {}: only `tags` has fields", operand.name());
            let help = "a tag whose name has a dot is written tags[\"a.b\"]".to_owned();
            self.flaw(message, Some(help));
            return Type::Any;
        }
        if test { Type::Bool } else { Type::Text }
    }

    fn comprehension(&mut self, part: &'s ComprehensionExpr) -> Type {
        let element = match self.walk(&part.iter_range) {
            Type::List(element) => *element,
            Type::Any => Type::Any,
            other => {
                self.flaw(format!("only a list can be gone through, this is {}", other.name()), None);
                Type::Any
            }
        };
        let start = self.walk(&part.accu_init);
        let kept = self.locals.len();
        self.locals.push((&part.iter_var, element));
        self.locals.extend(part.iter_var2.iter().map(|name| (name.as_str(), Type::Any)));
        self.locals.push((&part.accu_var, start));
        self.walk(&part.loop_cond);
        self.walk(&part.loop_step);
        let result = self.walk(&part.result);
        self.locals.truncate(kept);
        result
    }

    fn call(&mut self, call: &'s CallExpr) -> Type {
        let at = self.at;
        let mut types = Vec::with_capacity(call.args.len() + 1);
        types.extend(call.target.iter().map(|target| self.walk(target)));
        types.extend(call.args.iter().map(|arg| self.walk(arg)));
        self.at = at;
        match (call.func_name.as_str(), types.as_slice()) {
            ("@not_strictly_false", _) => Type::Bool,
            ("!_", [one]) => self.all_bool("!", std::slice::from_ref(one)),
            ("_&&_", [_, _]) => self.all_bool("&&", &types),
            ("_||_", [_, _]) => self.all_bool("||", &types),
            ("_?_:_", [question, yes, no]) => {
                self.all_bool("? :", std::slice::from_ref(question));
                if yes == no { yes.clone() } else { Type::Any }
            }
            ("_==_" | "_!=_", [left, right]) => {
                self.domains(&call.args);
                self.comparison(left, right, true)
            }
            ("_<_" | "_<=_" | "_>_" | "_>=_", [left, right]) => self.comparison(left, right, false),
            ("@in", [needle, hay]) => {
                self.domains(&call.args);
                self.membership(needle, hay)
            }
            ("_[_]", [from, index]) => self.index(from, index),
            ("-_", [number]) => self.arithmetic("-", number, number),
            ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [left, right]) => {
                self.arithmetic(&call.func_name[1..2], left, right)
            }
            (name, _) => self.function(name, call.target.is_some(), &types),
        }
    }

    /// Finds texts that `domain` is compared to and never is.
    fn domains(&mut self, args: &'s [IdedExpr]) {
        let is_domain = |arg: &IdedExpr| matches!(&arg.expr, Expr::Ident(name) if name == "domain");
        if self.locals.iter().any(|(local, _)| *local == "domain") || !args.iter().any(is_domain) {
            return;
        }
        let texts = args.iter().flat_map(|arg| match &arg.expr {
            Expr::List(list) => list.elements.as_slice(),
            _ => std::slice::from_ref(arg),
        });
        for text in texts {
            if let Expr::Literal(LiteralValue::String(text)) = &text.expr
                && !DOMAINS.contains(&text.inner())
            {
                let help = suggest(text.inner(), DOMAINS);
                self.flaw(format!("`domain` is never \"{}\"", text.inner()), help);
            }
        }
    }

    fn all_bool(&mut self, operator: &str, types: &[Type]) -> Type {
        for wrong in types.iter().filter(|found| !matches!(found, Type::Bool | Type::Any)) {
            self.flaw(format!("`{operator}` joins true or false, not {}", wrong.name()), None);
        }
        Type::Bool
    }

    fn comparison(&mut self, left: &Type, right: &Type, equality: bool) -> Type {
        let ordered = |found: &Type| found.is_number() || *found == Type::Text;
        if !left.meets(right) {
            let help = (*left == Type::Text || *right == Type::Text)
                .then(|| "text is written in quotes, numbers without".to_owned());
            self.flaw(format!("{} never compares to {}", left.name(), right.name()), help);
        } else if !(equality || ordered(left) && ordered(right)) {
            self.flaw(format!("{} has no order", left.name()), None);
        }
        Type::Bool
    }

    fn membership(&mut self, needle: &Type, hay: &Type) -> Type {
        let fits = match hay {
            Type::List(element) => needle.meets(element),
            Type::Tags => needle.meets(&Type::Text),
            Type::Any => true,
            _ => {
                let help = (*hay == Type::Text)
                    .then(|| "for a part of a text write whole.contains(part)".to_owned());
                self.flaw(format!("`in` needs a list or the tags, not {}", hay.name()), help);
                true
            }
        };
        if !fits {
            self.flaw(format!("{} is never in {} of other things", needle.name(), hay.name()), None);
        }
        Type::Bool
    }

    fn index(&mut self, from: &Type, index: &Type) -> Type {
        match (from, index) {
            (Type::Tags, Type::Text | Type::Any) => Type::Text,
            (Type::List(element), Type::Int | Type::Any) => (**element).clone(),
            (Type::Any, _) => Type::Any,
            _ => {
                self.flaw(format!("{} cannot be indexed by {}", from.name(), index.name()), None);
                Type::Any
            }
        }
    }

    fn arithmetic(&mut self, operator: &str, left: &Type, right: &Type) -> Type {
        match (left, right) {
            (Type::Any, other) | (other, Type::Any) => other.clone(),
            (Type::Int, Type::Int) | (Type::Double, Type::Double)
                if operator != "%" || *left == Type::Int =>
            {
                left.clone()
            }
            (Type::Text, Type::Text) | (Type::List(_), Type::List(_)) if operator == "+" => left.clone(),
            (Type::Int, Type::Double) | (Type::Double, Type::Int) => {
                let help = "write double(x) around the whole number, or 2.0 for 2".to_owned();
                self.flaw(format!("`{operator}` does not mix whole numbers with others"), Some(help));
                Type::Double
            }
            _ => {
                self.flaw(
                    format!("`{operator}` does not work on {} and {}", left.name(), right.name()),
                    None,
                );
                Type::Any
            }
        }
    }

    fn function(&mut self, name: &str, member: bool, types: &[Type]) -> Type {
        let text = |found: &Type| matches!(found, Type::Text | Type::Any);
        let (fits, form, answer) = match (name, types) {
            ("size", [of]) => (text(of) || matches!(of, Type::List(_)), "size(text or list)", Type::Int),
            ("size", _) => (false, "size(text or list)", Type::Int),
            ("contains" | "startsWith" | "endsWith", _) => {
                let fits = member && types.len() == 2 && types.iter().all(text);
                (fits, "text.contains(text), text.startsWith(text), text.endsWith(text)", Type::Bool)
            }
            ("double" | "int", _) => {
                let convertible = |found: &Type| found.is_number() || *found == Type::Text;
                let fits = !member && types.len() == 1 && types.iter().all(convertible);
                let answer = if name == "int" { Type::Int } else { Type::Double };
                (fits, "double(number or text), int(number or text)", answer)
            }
            ("string", _) => {
                let convertible = |found: &Type| !matches!(found, Type::Tags | Type::List(_));
                (!member && types.len() == 1 && types.iter().all(convertible), "string(value)", Type::Text)
            }
            _ => {
                let known = nearest(name, FUNCTIONS.iter().copied());
                let help = match (name, known) {
                    ("matches", _) => {
                        "there are no regular expressions; use contains, startsWith, endsWith or `in`"
                            .to_owned()
                    }
                    (_, Some(known)) => format!("did you mean `{known}`?"),
                    (_, None) => format!("the functions are {}", FUNCTIONS.join(", ")),
                };
                self.flaw(format!("unknown function `{name}`"), Some(help));
                return Type::Any;
            }
        };
        if !fits {
            self.flaw(format!("`{name}` is used as {form}"), None);
        }
        answer
    }
}
