//! Typed takes from one TOML table.
//!
//! `x(key)` requires the key, `opt_x(key)` does not; both answer `None` after recording what is wrong, so
//! readers take everything first and build their value at the end, once the document is sound.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml_edit::{Item, TableLike, Value};

use crate::diagnostic::suggest;
use crate::document::Document;
use crate::money::{ParseUsdError, Usd};
use crate::price::PerToken;

/// What sort of value a key holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text in quotes.
    String,
    /// A whole number.
    Integer,
    /// A number with a point or exponent.
    Float,
    /// `true` or `false`.
    Bool,
    /// A date or time.
    Datetime,
    /// `[…]` of values.
    Array,
    /// `{…}`, `[table]`, or several `[[table]]`.
    Table,
}

/// A table inside another, with its own place in the text.
type Spanned<'d> = (&'d dyn TableLike, Option<Range<usize>>);

/// One table being read. Remembers which keys were asked for.
#[derive(Clone)]
pub struct Table<'d> {
    document: &'d Document,
    items: &'d dyn TableLike,
    span: Range<usize>,
    name: String,
    asked: RefCell<Vec<String>>,
}

impl std::fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("name", &self.name).field("span", &self.span).finish_non_exhaustive()
    }
}

impl<'d> Table<'d> {
    pub(super) fn new(
        document: &'d Document,
        items: &'d dyn TableLike,
        span: Range<usize>,
        name: String,
    ) -> Table<'d> {
        Table { document, items, span, name, asked: RefCell::default() }
    }

    /// Where the table is: its header, or the whole of an inline table.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where the value of `key` is; the table itself when the key is missing.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.items.get(key).and_then(Item::span).unwrap_or_else(|| self.span())
    }

    /// Where an element of the array at `key` is; the whole value when there is no such element.
    pub fn span_of_element(&self, key: &str, index: usize) -> Range<usize> {
        let element = self.items.get(key).and_then(Item::as_array).and_then(|array| array.get(index));
        element.and_then(Value::span).unwrap_or_else(|| self.span_of(key))
    }

    /// Records a problem with the value of `key`.
    pub fn problem(&self, key: &str, message: impl Into<String>, help: Option<String>) {
        self.document.problem(self.span_of(key), message, help);
    }

    /// Records a problem with an element of the array at `key`.
    pub fn problem_in(&self, key: &str, index: usize, message: impl Into<String>, help: Option<String>) {
        self.document.problem(self.span_of_element(key, index), message, help);
    }

    /// The document the table belongs to.
    pub fn document(&self) -> &'d Document {
        self.document
    }

    /// Whether the key is there, whatever it holds. Counts as asking for it.
    pub fn has(&self, key: &str) -> bool {
        self.ask(key).is_some()
    }

    /// What sort of value the key holds, for keys that take more than one.
    pub fn kind(&self, key: &str) -> Option<Kind> {
        self.ask(key).and_then(kind)
    }

    /// The table's keys as written.
    pub fn keys(&self) -> impl Iterator<Item = &'d str> {
        self.items.iter().map(|(key, _)| key)
    }

    /// Text; missing is a problem.
    pub fn string(&self, key: &str) -> Option<String> {
        self.required(key, "a string in quotes", || self.opt_string(key))
    }

    /// Text, if the key is there.
    pub fn opt_string(&self, key: &str) -> Option<String> {
        self.take(key, "a string in quotes", |item| item.as_str().map(str::to_owned))
    }

    /// `true` or `false`, if the key is there.
    pub fn opt_bool(&self, key: &str) -> Option<bool> {
        self.take(key, "true or false", Item::as_bool)
    }

    /// A whole number within a range; missing is a problem.
    pub fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.required(key, "a whole number", || self.opt_integer(key, range))
    }

    /// A whole number within a range, if the key is there.
    pub fn opt_integer(&self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let number = self.take(key, "a whole number", Item::as_integer)?;
        self.within(key, number, &range)
    }

    /// A number within a range; missing is a problem.
    pub fn float(&self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        self.required(key, "a number", || self.opt_float(key, range))
    }

    /// A number within a range, if the key is there.
    pub fn opt_float(&self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let number = self.take(key, "a number", float)?;
        self.within(key, number, &range)
    }

    /// Numbers within a range, if the key is there.
    pub fn opt_floats(&self, key: &str, range: RangeInclusive<f64>) -> Option<Vec<f64>> {
        let read = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let numbers = self.elements(key, "numbers", read)?;
        for (index, number) in numbers.iter().enumerate().filter(|(_, number)| !range.contains(number)) {
            self.problem_in(key, index, out_of_range(&format!("a number in `{key}`"), number, &range), None);
        }
        Some(numbers)
    }

    /// An amount in dollars, not negative, read exactly from its digits; missing is a problem.
    pub fn usd(&self, key: &str) -> Option<Usd> {
        self.required(key, "an amount in dollars", || self.opt_usd(key))
    }

    /// An amount in dollars, not negative, read exactly from its digits, if the key is there.
    pub fn opt_usd(&self, key: &str) -> Option<Usd> {
        let amount = self.decimal::<Usd>(key, "an amount in dollars")?;
        if amount < Usd::ZERO {
            self.problem(key, format!("`{key}` must not be negative"), None);
            return None;
        }
        Some(amount)
    }

    /// A price in dollars per million tokens, read exactly from its digits; missing is a problem.
    pub fn per_token(&self, key: &str) -> Option<PerToken> {
        self.required(key, "a price in dollars per million tokens", || self.opt_per_token(key))
    }

    /// A price in dollars per million tokens, read exactly from its digits, if the key is there.
    pub fn opt_per_token(&self, key: &str) -> Option<PerToken> {
        self.decimal(key, "a price in dollars per million tokens")
    }

    /// Texts; missing is a problem.
    pub fn strings(&self, key: &str) -> Option<Vec<String>> {
        self.required(key, "a list of strings", || self.opt_strings(key))
    }

    /// Texts, if the key is there.
    pub fn opt_strings(&self, key: &str) -> Option<Vec<String>> {
        self.elements(key, "strings in quotes", |value| value.as_str().map(str::to_owned))
    }

    /// One of several words; missing is a problem.
    pub fn one_of<T: Clone>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.required(key, "one of its words", || self.opt_one_of(key, words))
    }

    /// One of several words, if the key is there.
    pub fn opt_one_of<T: Clone>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let word = self.opt_string(key)?;
        let found = words.iter().find(|(name, _)| *name == word).map(|(_, value)| value.clone());
        if found.is_none() {
            let help = suggest(&word, words.iter().map(|(name, _)| *name));
            self.problem(key, format!("`{key}` cannot be {word:?}"), help);
        }
        found
    }

    /// A table inside this one; missing is a problem.
    pub fn table(&self, key: &str) -> Option<Table<'d>> {
        self.required(key, "a table", || self.opt_table(key))
    }

    /// A table inside this one, if the key is there.
    pub fn opt_table(&self, key: &str) -> Option<Table<'d>> {
        let items = self.take(key, "a table", Item::as_table_like)?;
        Some(Table::new(self.document, items, self.span_of(key), self.path(key)))
    }

    /// The tables of `[[key]]`, or of an array of inline tables; none when the key is missing.
    pub fn tables(&self, key: &str) -> Vec<Table<'d>> {
        let read = |item: &'d Item| -> Option<Vec<Spanned<'d>>> {
            match item {
                Item::ArrayOfTables(tables) => {
                    Some(tables.iter().map(|table| (table as &dyn TableLike, table.span())).collect())
                }
                Item::Value(Value::Array(array)) => array
                    .iter()
                    .map(|value| Some((value.as_inline_table()? as &dyn TableLike, value.span())))
                    .collect(),
                _ => None,
            }
        };
        let found = self.take(key, &format!("tables, each headed [[{}]]", self.path(key)), read);
        let tables = found.unwrap_or_default().into_iter();
        tables
            .map(|(items, span)| {
                Table::new(self.document, items, span.unwrap_or_else(|| self.span_of(key)), self.path(key))
            })
            .collect()
    }

    /// Every key of the table with text as its value, for tables whose keys are the user's own names.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let keys: Vec<&str> = self.keys().collect();
        keys.into_iter().filter_map(|key| Some((key.to_owned(), self.opt_string(key)?))).collect()
    }

    /// Ends the reading of this table: every key nobody asked for is a problem.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for (key, item) in self.items.iter().filter(|(key, _)| !asked.iter().any(|known| known == key)) {
            let at = self.items.key(key).and_then(|key| key.span()).or_else(|| item.span());
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let help = suggest(key, asked.iter().map(String::as_str));
            self.document.problem(
                at.unwrap_or_else(|| self.span()),
                format!("unknown key `{key}`{place}"),
                help,
            );
        }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn ask(&self, key: &str) -> Option<&'d Item> {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|known| known == key) {
            asked.push(key.to_owned());
        }
        self.items.get(key).filter(|item| !item.is_none())
    }

    fn required<T>(&self, key: &str, wanted: &str, take: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.ask(key).is_none() {
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let message = format!("missing `{key}`{place}");
            self.document.problem(self.span(), message, Some(format!("it must be {wanted}")));
            return None;
        }
        take()
    }

    fn take<T>(&self, key: &str, wanted: &str, read: impl FnOnce(&'d Item) -> Option<T>) -> Option<T> {
        let item = self.ask(key)?;
        let value = read(item);
        if value.is_none() {
            let found = kind(item).map_or("nothing", Kind::name);
            self.problem(key, format!("`{key}` must be {wanted}, not {found}"), None);
        }
        value
    }

    fn elements<T>(&self, key: &str, wanted: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
        let array = self.take(key, &format!("a list of {wanted}"), Item::as_array)?;
        let mut all = Vec::with_capacity(array.len());
        for (index, value) in array.iter().enumerate() {
            match read(value) {
                Some(element) => all.push(element),
                None => self.problem_in(key, index, format!("`{key}` must hold {wanted} only"), None),
            }
        }
        (all.len() == array.len()).then_some(all)
    }

    /// Reads a number by its digits in the file, so that it never passes through a float.
    fn decimal<T: FromStr<Err = ParseUsdError>>(&self, key: &str, wanted: &str) -> Option<T> {
        self.take(key, &format!("{wanted}, a number without quotes"), float)?;
        let digits = self.document.text()[self.span_of(key)].replace('_', "");
        match digits.parse() {
            Ok(amount) => Some(amount),
            Err(error) => {
                self.problem(key, format!("`{key}` must be {wanted}: {error}"), None);
                None
            }
        }
    }

    fn within<T: PartialOrd + std::fmt::Display>(
        &self,
        key: &str,
        number: T,
        range: &RangeInclusive<T>,
    ) -> Option<T> {
        if range.contains(&number) {
            return Some(number);
        }
        self.problem(key, out_of_range(&format!("`{key}`"), &number, range), None);
        None
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::String => "a string",
            Kind::Integer => "a whole number",
            Kind::Float => "a number with a point",
            Kind::Bool => "true or false",
            Kind::Datetime => "a date or time",
            Kind::Array => "a list",
            Kind::Table => "a table",
        }
    }
}

fn kind(item: &Item) -> Option<Kind> {
    Some(match item {
        Item::None => return None,
        Item::Table(_) | Item::ArrayOfTables(_) | Item::Value(Value::InlineTable(_)) => Kind::Table,
        Item::Value(Value::String(_)) => Kind::String,
        Item::Value(Value::Integer(_)) => Kind::Integer,
        Item::Value(Value::Float(_)) => Kind::Float,
        Item::Value(Value::Boolean(_)) => Kind::Bool,
        Item::Value(Value::Datetime(_)) => Kind::Datetime,
        Item::Value(Value::Array(_)) => Kind::Array,
    })
}

fn float(item: &Item) -> Option<f64> {
    item.as_float().or_else(|| item.as_integer().map(|whole| whole as f64))
}

fn out_of_range<T: std::fmt::Display>(what: &str, number: &T, range: &RangeInclusive<T>) -> String {
    format!("{what} is {number}, but must be from {} to {}", range.start(), range.end())
}
