//! A report as one self-contained HTML page: figures, a chart of spend by day and model, and tables. No script, nothing fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tollgate::ledger::{Line, Report};
use tollgate_policies::Usd;

/// Size of the chart, in pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 240.0;
/// Widest bar: a page of one day is not one block.
const WIDEST: f64 = 80.0;
/// One colour for each model; more models share the last.
const COLOURS: [&str; 8] =
    ["#2563eb", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#14b8a6", "#ec4899", "#6b7280"];
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#1f2937;max-width:1000px;margin:2rem auto;padding:0 1rem}\
    h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}.figures{display:flex;gap:1rem;flex-wrap:wrap}\
    .figures div{border:1px solid #e5e7eb;border-radius:8px;padding:.6rem 1rem;min-width:9rem}.figures b{display:block;font-size:1.3rem}\
    table{border-collapse:collapse;width:100%}th,td{padding:.3rem .6rem;border-bottom:1px solid #e5e7eb;text-align:right}\
    th:first-child,td:first-child{text-align:left}.key{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin:0 .3rem 0 1rem}\
    svg text{font-size:11px;fill:#6b7280}";

/// The page: what was asked for as `span`, the sums by day and model, and tables by other dimensions.
pub(super) fn page(span: &str, by_day: &Report, tables: &[(String, Report)]) -> String {
    let total = &by_day.total;
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tollgate: spend {0}</title><style>{STYLE}</style>\
         <h1>Spend {0}</h1><div class=\"figures\">",
        escaped(span)
    );
    let share = if total.baseline_usd > Usd::ZERO {
        format!("{:.1} % of the baseline", 100.0 * total.saved_usd.as_f64() / total.baseline_usd.as_f64())
    } else {
        "of the baseline".to_owned()
    };
    for (what, figure, note) in [
        ("spent", format!("{} USD", shown(total.cost_usd)), "by all requests".to_owned()),
        ("saved", format!("{} USD", shown(total.saved_usd)), share),
        ("requests", total.requests.to_string(), "with a receipt".to_owned()),
        (
            "tokens",
            (total.prompt_tokens + total.completion_tokens).to_string(),
            "prompt and answer".to_owned(),
        ),
    ] {
        let _ = write!(html, "<div>{what}<b>{}</b>{note}</div>", escaped(&figure));
    }
    html.push_str("</div><h2>By day and model</h2>");
    html.push_str(&chart(&by_day.lines));
    for (heading, report) in tables {
        html.push_str(&table(heading, report));
    }
    html.push_str("</html>\n");
    html
}

/// Stacked bars, a day each.
fn chart(lines: &[Line]) -> String {
    let mut days: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for line in lines {
        if let [Some(day), Some(model)] = line.group.as_slice() {
            *days.entry(day).or_default().entry(model).or_default() += line.cost_usd.as_f64();
        }
    }
    let models: BTreeSet<&str> = days.values().flat_map(BTreeMap::keys).copied().collect();
    let colour = |model: &str| {
        let place = models.iter().position(|known| *known == model).unwrap_or(0);
        COLOURS[place.min(COLOURS.len() - 1)]
    };
    let most = days.values().map(|day| day.values().sum::<f64>()).fold(0.0, f64::max);
    if most <= 0.0 {
        return "<p>Nothing was spent.</p>".to_owned();
    }
    let step = WIDTH / days.len() as f64;
    let every = days.len().div_ceil(12);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Spend by day and model\">",
        HEIGHT + 24.0
    );
    let _ = write!(svg, "<text x=\"0\" y=\"11\">{} USD</text>", shown(Usd::from_nanos((most * 1e9) as i64)));
    for (place, (day, spent)) in days.iter().enumerate() {
        let width = (step * 0.8).min(WIDEST);
        let left = place as f64 * step + (step - width) / 2.0;
        let mut top = HEIGHT;
        for (model, usd) in spent {
            let height = usd / most * (HEIGHT - 18.0);
            top -= height;
            let _ = write!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{}\"><title>{} {}: {usd:.6} USD</title></rect>",
                width,
                colour(model),
                escaped(day),
                escaped(model)
            );
        }
        if place.is_multiple_of(every) {
            let _ = write!(svg, "<text x=\"{left:.1}\" y=\"{}\">{}</text>", HEIGHT + 16.0, escaped(day));
        }
    }
    svg.push_str("</svg><p>");
    for model in &models {
        let _ = write!(
            svg,
            "<span class=\"key\" style=\"background:{}\"></span>{}",
            colour(model),
            escaped(model)
        );
    }
    svg.push_str("</p>");
    svg
}

fn table(heading: &str, report: &Report) -> String {
    let mut html = format!(
        "<h2>By {0}</h2><table><tr><th>{0}</th><th>requests</th><th>prompt tokens</th><th>completion tokens</th><th>spent USD</th>\
         <th>baseline USD</th><th>saved USD</th></tr>",
        escaped(heading)
    );
    for line in &report.lines {
        let group: Vec<&str> = line.group.iter().map(|value| value.as_deref().unwrap_or("-")).collect();
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&group.join(", ")),
            line.requests,
            line.prompt_tokens,
            line.completion_tokens,
            shown(line.cost_usd),
            shown(line.baseline_usd),
            shown(line.saved_usd)
        );
    }
    html.push_str("</table>");
    html
}

/// Cents where there are many, everything where there are few.
fn shown(amount: Usd) -> String {
    if amount.as_f64().abs() >= 100.0 { format!("{:.2}", amount.as_f64()) } else { amount.to_string() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(group: &[&str], nanos: i64) -> Line {
        let group = group.iter().map(|text| Some((*text).to_owned())).collect();
        Line { group, requests: 1, cost_usd: Usd::from_nanos(nanos), ..Line::default() }
    }

    #[test]
    fn a_page_holds_what_it_shows_and_nothing_foreign() {
        let days =
            vec![line(&["2026-11-25", "small"], 1_000_000), line(&["2026-11-26", "<b>large</b>"], 3_000_000)];
        let by_day = Report { lines: days, total: line(&[], 4_000_000) };
        let tables = [(
            "team".to_owned(),
            Report { lines: vec![line(&["a & b"], 4_000_000)], total: Line::default() },
        )];
        let html = page("since yesterday", &by_day, &tables);
        assert_eq!(html.matches("<rect").count(), 2);
        assert!(html.contains("&lt;b&gt;large") && !html.contains("<b>large") && html.contains("a &amp; b"));
        assert!(!html.contains("http") && !html.contains("<script"));
        assert!(page("ever", &Report::default(), &[]).contains("Nothing was spent"));
    }
}
