//! Calls written as Python: `weather(city="Rome", days=2)`, alone or as `[first(…), second(…)]`.
//!
//! Llama 3.2 and Gemma write so. Keywords with literals are read; anything else is no call.

use super::head::Head;
use serde_json::{Map, Value};

/// A call of a known function at the beginning of `text`.
pub(super) fn call(text: &str, known: &[String]) -> Head {
    let length = text.find(|c: char| !c.is_alphanumeric() && !"_-.".contains(c));
    let Some(length) = length else {
        let begun = known.iter().any(|name| name.starts_with(text));
        return if begun && !text.is_empty() { Head::Wait } else { Head::No };
    };
    let (name, rest) = text.split_at(length);
    if !rest.starts_with('(') || !known.iter().any(|tool| tool == name) {
        return Head::No;
    }
    let mut reader = Reader { text: rest, at: 1 };
    match reader.keywords() {
        Ok(arguments) => Head::Whole {
            name: name.to_owned(),
            arguments: Value::Object(arguments).to_string(),
            end: length + reader.at,
        },
        Err(Stop::Unfinished) => Head::Wait,
        Err(Stop::Foreign) => Head::No,
    }
}

/// Why reading stopped.
enum Stop {
    /// The text ends here.
    Unfinished,
    /// This is no literal.
    Foreign,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    /// The next character after white space.
    fn next(&mut self) -> Result<char, Stop> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next().ok_or(Stop::Unfinished)
    }

    fn expect(&mut self, wanted: char) -> Result<(), Stop> {
        if self.next()? != wanted {
            return Err(Stop::Foreign);
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    fn word(&mut self) -> Result<&str, Stop> {
        self.next()?;
        let rest = &self.text[self.at..];
        let length =
            rest.find(|c: char| !c.is_alphanumeric() && !"_.+-".contains(c)).ok_or(Stop::Unfinished)?;
        self.at += length;
        if length == 0 { Err(Stop::Foreign) } else { Ok(&rest[..length]) }
    }

    /// `key=value, …)`
    fn keywords(&mut self) -> Result<Map<String, Value>, Stop> {
        let mut read = Map::new();
        while self.next()? != ')' {
            let key = self.word()?.to_owned();
            self.expect('=')?;
            let value = self.value(0)?;
            read.insert(key, value);
            if self.next()? != ')' {
                self.expect(',')?;
            }
        }
        self.at += 1;
        Ok(read)
    }

    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        match self.next()? {
            _ if depth > 32 => Err(Stop::Foreign),
            '"' | '\'' => self.string().map(Value::from),
            '[' => self.list(depth),
            '{' => self.dict(depth),
            _ => match self.word()? {
                "True" | "true" => Ok(true.into()),
                "False" | "false" => Ok(false.into()),
                "None" | "null" => Ok(Value::Null),
                number => serde_json::from_str(number).map_err(|_| Stop::Foreign),
            },
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        self.at += 1;
        let mut read = Vec::new();
        while self.next()? != ']' {
            read.push(self.value(depth + 1)?);
            if self.next()? != ']' {
                self.expect(',')?;
            }
        }
        self.at += 1;
        Ok(read.into())
    }

    fn dict(&mut self, depth: usize) -> Result<Value, Stop> {
        self.at += 1;
        let mut read = Map::new();
        while self.next()? != '}' {
            let key = self.string()?;
            self.expect(':')?;
            let value = self.value(depth + 1)?;
            read.insert(key, value);
            if self.next()? != '}' {
                self.expect(',')?;
            }
        }
        self.at += 1;
        Ok(read.into())
    }

    fn string(&mut self) -> Result<String, Stop> {
        let quote = self.next()?;
        if quote != '"' && quote != '\'' {
            return Err(Stop::Foreign);
        }
        let (mut read, mut escaped) = (String::new(), false);
        for (at, c) in self.text[self.at..].char_indices().skip(1) {
            match c {
                'n' if escaped => read.push('\n'),
                't' if escaped => read.push('\t'),
                c if escaped => read.push(c),
                '\\' => {
                    escaped = true;
                    continue;
                }
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(read);
                }
                c => read.push(c),
            }
            escaped = false;
        }
        Err(Stop::Unfinished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Head {
        call(text, &["weather".to_owned()])
    }

    #[test]
    fn keywords_and_literals() {
        let text = r#"weather(city='Rome', days=2, opts={"a": [True, None, -1.5]})"#;
        let arguments = r#"{"city":"Rome","days":2,"opts":{"a":[true,null,-1.5]}}"#.to_owned();
        let whole = Head::Whole { name: "weather".to_owned(), arguments, end: text.len() };
        assert_eq!(read(text), whole);
        for end in 1..text.len() {
            assert_eq!(read(&text[..end]), Head::Wait, "{}", &text[..end]);
        }
    }

    #[test]
    fn other_text_is_no_call() {
        for text in
            ["weather is fine", "weather(city)", "time(a=1)", "weather(a=b+1)", "(", "weather(\"Rome\")"]
        {
            assert_eq!(read(text), Head::No, "{text}");
        }
    }
}
