//! What the ledger tells people and cost tools: a page, and charges in FOCUS's columns.

use crate::stage::{Stage, ask};

const PLACE: [&str; 4] = ["--config", "tollgate.toml", "--data-dir", "data"];

#[tokio::test]
async fn a_page_and_charges_say_what_was_spent() {
    let stage = Stage::new().await;
    for (model, team) in [("small", "search"), ("large", "search"), ("small", "ads"), ("small", "ads")] {
        let client = stage.client().with("x-tollgate-tags", &format!("team={team}"));
        assert_eq!(client.chat(&ask(model)).await.status, 200);
    }
    let run = |args: &'static [&'static str]| {
        let (home, args) = (&stage.home, args.iter().chain(&PLACE).copied().collect::<Vec<_>>());
        async move { home.run(&args).await.success() }
    };
    let page = run(&["ledger", "report", "--html"]).await;
    // 3 × 12.5 + 125 µUSD.
    assert!(page.starts_with("<!doctype html>") && page.contains("0.0001625 USD"), "{page}");
    for part in ["<svg", "By model", "By team", "<td>search</td>", "<td>large</td>"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let charges = run(&["ledger", "export", "--focus"]).await;
    let mut lines = charges.lines();
    let columns: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let at = |line: &str, name: &str| {
        let place = columns.iter().position(|column| *column == name).expect("the column is there");
        line.split(',').nth(place).expect("every column").to_owned()
    };
    let (mut billed, mut rows) = (0.0, 0);
    for line in lines {
        rows += 1;
        billed += at(line, "BilledCost").parse::<f64>().expect("a number");
        assert_eq!(
            (at(line, "ChargeCategory").as_str(), at(line, "BillingCurrency").as_str()),
            ("Usage", "USD")
        );
        assert!(["search", "ads"].contains(&at(line, "SubAccountName").as_str()), "{line}");
    }
    // A test that runs over the full hour has a row more.
    assert!((3..=4).contains(&rows) && (billed - 0.000_162_5).abs() < 1e-12, "{charges}");
}
