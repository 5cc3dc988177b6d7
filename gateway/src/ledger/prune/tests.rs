use std::collections::BTreeMap;
use std::path::Path;

use tollgate_policies::run_subject;

use super::*;
use crate::ledger::batch::{Change, End, apply, head};
use crate::ledger::reader::Reader;
use crate::ledger::stretch::Stretch;

const DAY: u64 = 86_400_000;

struct File {
    _folder: tempfile::TempDir,
    location: Location,
}

impl File {
    fn new() -> File {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::File(folder.path().join("tollgate.db"));
        File { _folder: folder, location }
    }

    fn path(&self) -> &Path {
        let Location::File(path) = &self.location else { unreachable!() };
        path
    }

    /// Books receipts of 3 µUSD each, as a gateway does.
    fn book(&self, receipts: Vec<Receipt>) {
        let mut db = open::writable(self.path()).unwrap();
        let (head, mut stretch) = (head(&db).unwrap(), Stretch::start(&mut db).unwrap());
        let end = |receipt| Change::Settle(End { held: false, receipt: Box::new(receipt), content: None });
        let changes: Vec<Change> = receipts.into_iter().map(end).collect();
        assert!(apply(&mut db, head, &mut stretch, &changes).unwrap().duplicates.is_empty());
        stretch::book(&mut db).unwrap();
    }

    fn key(&self, id: &str, name: &str, revoked: bool) {
        open::writable(self.path())
            .unwrap()
            .execute(
                "INSERT INTO keys (id, hash, name, tags, created_ms, revoked_ms) VALUES (?1, CAST(?1 AS BLOB), ?2, '{}', 0, ?3)",
                params![id, name, revoked.then_some(1)],
            )
            .unwrap();
    }

    fn prune(&self, forget: &Forget) -> u64 {
        let pruned = prune(&self.location, forget, 100 * DAY).unwrap();
        let verdict = Reader::open(&self.location).unwrap().verify(None).unwrap();
        assert!(verdict.is_whole(), "{:?}", verdict.told);
        pruned.receipts
    }

    /// Nanodollars of a budget by subject; other names are all `pruned`.
    fn windows(&self, budget: &str) -> BTreeMap<String, i64> {
        let db = open::readable(self.path()).unwrap();
        let mut query = db.prepare("SELECT subject, settled_nanos FROM windows WHERE budget = ?1").unwrap();
        let mut windows = BTreeMap::new();
        let rows = query.query_map([budget], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
        for (subject, nanos) in rows.unwrap().map(Result::unwrap) {
            let subject = if subject.starts_with("pruned-") { "pruned".to_owned() } else { subject };
            *windows.entry(subject).or_default() += nanos;
        }
        windows
    }

    fn says(&self, word: &str) -> bool {
        let db = open::readable(self.path()).unwrap();
        let found = db.query_row("SELECT count(*) FROM receipts WHERE instr(body, ?1) > 0", [word], |row| {
            row.get::<_, i64>(0)
        });
        found.unwrap() > 0
    }
}

/// A receipt of a run, counted in the budgets given with their subjects.
fn receipt(id: &str, day: u64, run: &str, accounts: &[(&str, &str)]) -> Receipt {
    let account = |(budget, subject): &(&str, &str)| Account {
        budget: (*budget).to_owned(),
        subject: (*subject).to_owned(),
        window_start_ms: 0,
    };
    Receipt {
        request_id: id.to_owned(),
        at_ms: day * DAY,
        run: Some(run.to_owned()),
        cost: Usd::from_nanos(3_000),
        accounts: accounts.iter().map(account).collect(),
        ..Receipt::default()
    }
}

fn sums(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(subject, nanos)| ((*subject).to_owned(), *nanos)).collect()
}

#[test]
fn a_name_that_is_another_s_as_well_keeps_its_counter() {
    let file = File::new();
    let of_team = |id: &str, run: &str| Receipt {
        team: Some("search".to_owned()),
        ..receipt(id, 1, run, &[("runs", run), ("teams", "search")])
    };
    file.key("k1", "bob", false);
    let of_key = |id: &str, run: &str| Receipt {
        key: Some("k1".to_owned()),
        ..receipt(id, 1, run, &[("runs", run), ("keys", "bob")])
    };
    let tagged = Receipt {
        tags: [("app".to_owned(), "chat".to_owned())].into(),
        ..receipt("t", 1, "chat", &[("runs", "chat"), ("apps", "chat")])
    };
    file.book(vec![
        of_team("a", "search"),
        of_team("b", "other"),
        of_key("c", "bob"),
        of_key("d", "e"),
        tagged,
    ]);
    for (run, receipts) in [("search", 1), ("bob", 1), ("chat", 1), ("other", 1), ("other", 0)] {
        assert_eq!(file.prune(&Forget::Run(run.to_owned())), receipts, "{run}");
    }
    assert_eq!(file.windows("teams"), sums(&[("search", 6_000)]));
    assert_eq!(file.windows("keys"), sums(&[("bob", 6_000)]));
    assert_eq!(file.windows("apps"), sums(&[("chat", 3_000)]));
    assert_eq!(file.windows("runs")["pruned"], 3_000, "the one whose name is its own");
    assert!(!file.says("other"));
}

#[test]
fn a_run_that_goes_on_is_forgotten_when_its_last_request_is_old() {
    let file = File::new();
    let many = (0..3 * STEP).map(|n| receipt(&format!("old-{n}"), 1, "long", &[("runs", "long")]));
    let uncounted = receipt("free", 1, "uncounted", &[("all", "")]);
    let recent = [receipt("new", 50, "long", &[("runs", "long")]), receipt("too", 50, "uncounted", &[])];
    file.book(many.chain([uncounted]).chain(recent).collect());
    let all = (3 * STEP + 1) * 3_000;
    assert_eq!(file.prune(&Forget::Before(40 * DAY)), 1, "the run that no budget counts");
    assert_eq!(file.windows("runs"), sums(&[("long", all)]));
    assert_eq!(file.prune(&Forget::Before(60 * DAY)), 3 * STEP.unsigned_abs() + 2);
    assert_eq!(file.windows("runs"), sums(&[("pruned", all)]));
    assert_eq!(file.windows("all"), sums(&[("", 3_000)]));
    assert!(!file.says("long") && !file.says("uncounted"));
    assert_eq!(file.prune(&Forget::Before(60 * DAY)), 0);
}

#[test]
fn what_cannot_be_read_is_named_and_keeps_nothing_else() {
    let file = File::new();
    file.book((0..3 * STEP).map(|n| receipt(&format!("r-{n}"), 1, "long", &[("runs", "long")])).collect());
    let mut db = open::writable(file.path()).unwrap();
    db.execute_batch("UPDATE receipts SET body = '{' WHERE seq IN (7, 400)").unwrap();
    let run = Forget::Run("long".to_owned());
    let pruned = prune(&file.location, &run, 100 * DAY).unwrap();
    assert_eq!(
        (pruned.receipts, pruned.unreadable, pruned.first_unreadable),
        (3 * STEP.unsigned_abs() - 2, 2, Some(7))
    );
    let said = pruned.damage(&file.location).unwrap();
    let path = file.path().display().to_string();
    for part in ["receipt 7 of", path.as_str(), "so were 1 further", "restore a backup"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(file.windows("runs"), sums(&[("long", 6_000), ("pruned", (3 * STEP - 2) * 3_000)]));
    // A gateway that runs: what its open stretch comes to it alone knows.
    let (head, mut stretch) = (head(&db).unwrap(), Stretch::start(&mut db).unwrap());
    let more = |n: i64| receipt(&format!("m-{n}"), 1, "more", &[("runs", "more")]);
    let end = |receipt| Change::Settle(End { held: false, receipt: Box::new(receipt), content: None });
    let changes: Vec<Change> = (0..3).map(more).map(end).collect();
    let head = apply(&mut db, head, &mut stretch, &changes).unwrap().head;
    db.execute_batch("UPDATE receipts SET body = '{' WHERE request_id = 'm-1'").unwrap();
    let more_of = || prune(&file.location, &Forget::Run("more".to_owned()), 100 * DAY).unwrap();
    let pruned = more_of();
    assert_eq!(
        (pruned.receipts, pruned.first_unreadable, pruned.until),
        (0, Some(3 * STEP + 2), Some(3 * STEP))
    );
    assert!(pruned.damage(&file.location).unwrap().contains("run this again later"));
    apply(&mut db, head, &mut stretch, &[end(receipt("after", 1, "r", &[("runs", "r")]))]).unwrap();
    stretch.close(&mut db).unwrap();
    let pruned = more_of();
    assert_eq!((pruned.receipts, pruned.unreadable, pruned.until), (2, 1, None));
}

#[test]
fn a_key_and_the_runs_that_only_it_made_are_forgotten() {
    let file = File::new();
    file.key("k1", "bob", true);
    file.key("k2", "bob", false);
    file.key("k3", "eve", true);
    let by = |key: &str, name: &str, id: &str, run: &str| Receipt {
        key: Some(key.to_owned()),
        ..receipt(id, 1, run, &[("runs", run), ("keys", name)])
    };
    file.book(vec![by("k1", "bob", "a", "r"), by("k2", "bob", "b", "both"), by("k3", "eve", "c", "own")]);
    file.book(vec![by("k3", "eve", "d", "both")]);
    assert_eq!(file.prune(&Forget::Key("k1".to_owned())), 1);
    assert_eq!(file.windows("keys"), sums(&[("bob", 6_000), ("eve", 6_000)]), "bob is a live key's name too");
    assert_eq!(file.prune(&Forget::Key("eve".to_owned())), 2);
    assert_eq!(file.windows("keys"), sums(&[("bob", 6_000), ("pruned", 6_000)]));
    assert_eq!(file.windows("runs"), sums(&[("both", 6_000), ("pruned", 6_000)]), "k2's run goes on");
    assert!(!file.says("eve") && !file.says("own"));
}

#[test]
fn a_run_is_forgotten_under_whoever_it_was() {
    let file = File::new();
    file.key("k1", "eve", true);
    let of = |id: &str, day: u64, key: Option<&str>, team: Option<&str>| Receipt {
        key: key.map(|_| "k1".to_owned()),
        ..receipt(id, day, "r", &[("runs", &run_subject(key, team, "r"))])
    };
    let book = || {
        file.book(vec![
            of(&rand::random::<u64>().to_string(), 1, Some("eve"), None),
            of(&rand::random::<u64>().to_string(), 1, Some("bob"), Some("search")),
            of(&rand::random::<u64>().to_string(), 50, None, None),
        ]);
    };
    book();
    assert_eq!(file.prune(&Forget::Before(40 * DAY)), 0, "a run of this id goes on");
    assert_eq!(file.prune(&Forget::Key("eve".to_owned())), 2);
    let left = [("pruned", 3_000), ("r", 3_000), ("team search \u{203a} r", 3_000)];
    assert_eq!(file.windows("runs"), sums(&left), "the team's run may go on, the key's does not");
    assert!(!file.says("eve"));
    book();
    assert_eq!(file.prune(&Forget::Run("r".to_owned())), 4);
    assert_eq!(file.windows("runs"), sums(&[("pruned", 15_000), ("team search \u{203a} r", 3_000)]));
}

#[test]
fn a_pruning_that_is_cut_short_leaves_no_name_whose_receipts_are_gone() {
    let file = File::new();
    let of = |n: i64, window_start_ms: u64, cost: i64| {
        let mut receipt = receipt(&format!("r-{n}"), 1, "long", &[("runs", "long")]);
        receipt.accounts[0].window_start_ms = window_start_ms;
        Receipt { cost: Usd::from_nanos(cost), ..receipt }
    };
    let first = (0..STEP).map(|n| of(n, 0, 3_000));
    file.book(first.chain([of(STEP, DAY, 3_000), of(STEP + 1, DAY, 0), of(STEP + 2, 2 * DAY, 0)]).collect());
    let db = open::writable(file.path()).unwrap();
    db.execute_batch(&format!(
        "CREATE TRIGGER cut BEFORE UPDATE ON receipts WHEN old.seq = {STEP} + 2 BEGIN SELECT raise(ABORT, 'cut'); END"
    ))
    .unwrap();
    let run = Forget::Run("long".to_owned());
    assert!(prune(&file.location, &run, 100 * DAY).is_err());
    let starts = || -> Vec<i64> {
        let sql = "SELECT window_start_ms FROM windows WHERE subject = 'long' ORDER BY 1";
        db.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(
        starts(),
        [signed(DAY), signed(2 * DAY)],
        "the first day's receipts are gone, and so is its window"
    );
    assert!(Reader::open(&file.location).unwrap().verify(None).unwrap().is_whole());
    db.execute_batch("DROP TRIGGER cut").unwrap();
    assert_eq!(file.prune(&run), 3);
    assert!(starts().is_empty() && !file.says("long"));
    assert_eq!(file.windows("runs"), sums(&[("pruned", (STEP + 1) * 3_000)]));
}
