//! Prometheus text as a scraper reads it: series with their labels and values.
//!
//! Enough of the format for assertions; escapes inside label values are kept as written.

use std::collections::BTreeMap;

/// One sample line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The full name, with `_bucket`, `_sum` or `_count` where the series is a histogram's.
    pub name: String,
    /// Label names and values.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// A whole `/metrics` answer.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// All samples, in order.
    pub samples: Vec<Sample>,
    /// `# TYPE` lines: name to type.
    pub types: BTreeMap<String, String>,
}

impl Exposition {
    /// Reads the text; fails the test on a line that is neither comment nor sample.
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a TYPE line has a name and a type");
                out.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                out.samples.push(sample(line));
            }
        }
        out
    }

    /// Sum over all series of this name whose labels include `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// Whether a series of this name with these labels is there.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    fn matching<'s>(&'s self, name: &'s str, labels: &'s [(&str, &str)]) -> impl Iterator<Item = &'s Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value))
        })
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a sample line has a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels end with a brace")),
        None => (series, ""),
    };
    Sample {
        name: name.to_owned(),
        labels: split_labels(labels),
        value: value.parse().expect("a sample's value is a number"),
    }
}

fn split_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let end = closing_quote(after).expect("a label's value ends with a quote");
        labels.insert(name.trim_start_matches(',').to_owned(), after[..end].to_owned());
        rest = &after[end + 1..];
    }
    labels
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_with_commas_and_quotes() {
        let text = "# TYPE a counter\na{x=\"1,2\",y=\"say \\\"hi\\\"\"} 3\na{x=\"b\"} 4\nb_sum 0.5\n";
        let exposition = Exposition::parse(text);
        assert!((exposition.sum("a", &[]) - 7.0).abs() < 1e-9);
        assert!(exposition.has("a", &[("x", "1,2")]));
        assert!(!exposition.has("a", &[("x", "c")]));
        assert_eq!(exposition.types["a"], "counter");
        assert_eq!(exposition.samples[0].labels["y"], "say \\\"hi\\\"");
    }
}
