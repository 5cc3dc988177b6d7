//! Reads one project's page of a package index, in either form of the simple repository API.

use serde::Deserialize;

#[derive(Deserialize)]
struct Page {
    files: Vec<PageFile>,
}

#[derive(Deserialize)]
struct PageFile {
    filename: String,
    url: String,
}

/// The address of `file` on a JSON page, as written there (it may be relative).
pub(crate) fn href_in_json(page: &str, file: &str) -> Result<Option<String>, serde_json::Error> {
    let page: Page = serde_json::from_str(page)?;
    Ok(page.files.into_iter().find(|entry| entry.filename == file).map(|entry| entry.url))
}

/// The address of `file` on an HTML page: the `href` of the anchor whose text, or whose last path segment, is
/// the file's name.
pub(crate) fn href_in_html(page: &str, file: &str) -> Option<String> {
    page.split("<a").skip(1).find_map(|anchor| {
        let (attributes, rest) = anchor.split_once('>')?;
        let text = rest.split('<').next()?.trim();
        let href = unescape(attribute(attributes, "href")?);
        let path = href.split(['#', '?']).next()?;
        (text == file || path.rsplit('/').next() == Some(file)).then_some(href)
    })
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let after = attributes.split_once(&format!("{name}="))?.1;
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    after[1..].split(quote).next()
}

fn unescape(text: &str) -> String {
    text.replace("&amp;", "&").replace("&#38;", "&").replace("&quot;", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_file_in_html() {
        let page = "<!DOCTYPE html><body>\n<a href=\"../../packages/aa/a_b-1.0-py3-none-any.whl#sha256=12\" \
                    data-requires-python=\"&gt;=3.8\">a_b-1.0-py3-none-any.whl</a><br/>\n\
                    <a href='https://files.example/x?a=1&amp;b=2'>a_b-2.0-py3-none-any.whl</a>";
        let first = href_in_html(page, "a_b-1.0-py3-none-any.whl").unwrap();
        assert_eq!(first, "../../packages/aa/a_b-1.0-py3-none-any.whl#sha256=12");
        assert_eq!(
            href_in_html(page, "a_b-2.0-py3-none-any.whl").unwrap(),
            "https://files.example/x?a=1&b=2"
        );
        assert_eq!(href_in_html(page, "a_b-3.0-py3-none-any.whl"), None);
        assert_eq!(href_in_html("<a", "x"), None);
    }

    #[test]
    fn finds_a_file_in_json() {
        let page =
            r#"{"meta":{"api-version":"1.1"},"files":[{"filename":"a.whl","url":"/f/a.whl","hashes":{}}]}"#;
        assert_eq!(href_in_json(page, "a.whl").unwrap().unwrap(), "/f/a.whl");
        assert_eq!(href_in_json(page, "b.whl").unwrap(), None);
        assert!(href_in_json("<html>", "a.whl").is_err());
    }
}
