use super::*;

fn problems(text: &str, read: impl FnOnce(&Table<'_>)) -> String {
    let document = Document::parse("x.toml", text).unwrap();
    let root = document.root();
    read(&root);
    root.finish();
    document.finish().map_or_else(|problems| problems.to_string(), |()| "sound".to_owned())
}

#[test]
fn amounts_are_read_from_their_digits() {
    let text = "a = 0.1\nb = 25\nc = 1_000.000000001\nd = 0.05\n";
    let document = Document::parse("x.toml", text).unwrap();
    let root = document.root();
    assert_eq!(root.usd("a").unwrap().nanos(), 100_000_000);
    assert_eq!(root.usd("b").unwrap().nanos(), 25_000_000_000);
    assert_eq!(root.usd("c").unwrap().nanos(), 1_000_000_000_001);
    assert_eq!(root.per_token("d").unwrap().picos(), 50_000);
    root.finish();
    assert!(document.finish().is_ok());
}

#[test]
fn every_wrong_amount_says_why() {
    let text = "a = 1e3\nb = -1\nc = \"5\"\nd = 0.0000000001\ne = inf\nf = 99999999999\ng = 0x10\n";
    let told = problems(text, |root| {
        "abcdefg".split("").filter(|key| !key.is_empty()).for_each(|key| {
            root.usd(key);
        })
    });
    insta::assert_snapshot!(told);
}

#[test]
fn types_ranges_and_words_are_checked_together() {
    let text = "\
s = 1
n = 1.5
small = 0
b = \"true\"
list = [\"a\", 2]
shares = [0.5, 7]
word = \"rejekt\"
other = \"zzz\"
[inner]
x = 1
[[many]]
[[many]]
unknown = 1
";
    let told = problems(text, |root| {
        root.string("s");
        root.integer("n", 0..=9);
        root.integer("small", 1..=9);
        root.opt_bool("b");
        root.opt_strings("list");
        root.opt_floats("shares", 0.0..=1.0);
        root.one_of("word", &[("reject", 1), ("queue", 2)]);
        root.one_of("other", &[("reject", 1), ("queue", 2)]);
        root.string("gone");
        let inner = root.table("inner").unwrap();
        inner.string("y");
        inner.finish();
        for table in root.tables("many") {
            table.opt_string("name");
            table.finish();
        }
        root.table("many_of_them");
        assert!(root.tables("inner").is_empty());
    });
    insta::assert_snapshot!(told);
}

#[test]
fn what_is_not_toml_is_one_problem_with_its_place() {
    let problems = Document::parse("x.toml", "a = 1\nb = = 2\n").unwrap_err();
    assert_eq!((problems.0[0].line, problems.0[0].column), (2, 5));
    assert!(Document::parse("x.toml", "a = 1\na = 2\n").is_err());
}

#[test]
fn columns_count_characters() {
    assert_eq!(position("ä = 1\nöö x", 6), (1, 6));
    assert_eq!(position("ä = 1\nöö x", "ä = 1\nöö".len()), (2, 3));
    assert_eq!(position("", 0), (1, 1));
    assert_eq!(position("a\n", 99), (2, 1));
}

#[test]
fn dotted_and_inline_tables_read_alike() {
    for text in ["t.a = \"x\"\n", "t = { a = \"x\" }\n", "[t]\na = \"x\"\n"] {
        let document = Document::parse("x.toml", text).unwrap();
        let root = document.root();
        assert_eq!(root.kind("t"), Some(Kind::Table));
        assert_eq!(root.table("t").unwrap().pairs(), [("a".to_owned(), "x".to_owned())]);
    }
    let document = Document::parse("x.toml", "t = [{ a = 1 }, { a = 2 }]\n").unwrap();
    let all: Vec<_> = document.root().tables("t").iter().map(|table| table.integer("a", 0..=9)).collect();
    assert_eq!(all, [Some(1), Some(2)]);
}
