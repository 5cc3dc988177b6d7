use super::*;
use crate::ledger::batch::{self, Change, End};
use crate::ledger::prune::{Forget, prune};
use crate::ledger::reader::Reader;
use crate::ledger::record::Receipt;
use crate::ledger::stretch::Stretch;
use crate::ledger::{Location, open, schema};

/// Settles requests with these ids, and says which were refused for having a receipt, by their places.
fn settle(db: &mut Connection, stretch: &mut Stretch, ids: &[String]) -> Vec<usize> {
    let end = |id: &String| {
        let receipt = Receipt { request_id: id.clone(), ..Receipt::default() };
        Change::Settle(End { held: false, receipt: Box::new(receipt), content: None })
    };
    let changes: Vec<Change> = ids.iter().map(end).collect();
    let head = batch::head(db).unwrap();
    batch::apply(db, head, stretch, &changes).unwrap().duplicates
}

fn ids(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("req_{number:04}")).collect()
}

#[test]
fn no_request_gets_two_receipts_wherever_the_first_one_is() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    let twice = ["a".to_owned(), "b".to_owned(), "a".to_owned()];
    assert_eq!(settle(&mut db, &mut stretch, &twice), [2], "in one batch");
    assert_eq!(settle(&mut db, &mut stretch, &twice), [0, 1, 2], "in the stretch that goes on");
    assert_eq!(settle(&mut db, &mut stretch, &ids(0..1500)), [0_usize; 0]);
    assert_eq!(settle(&mut db, &mut stretch, &twice), [0, 1, 2], "in one that has ended");
    assert_eq!(
        settle(&mut db, &mut stretch, &ids(1498..1502)),
        [0, 1],
        "the greatest that is known, and beyond"
    );
    drop(stretch);
    let mut stretch = Stretch::start(&mut db).unwrap();
    assert_eq!(settle(&mut db, &mut stretch, &ids(1501..1503)), [0], "after a start");
    let rows: i64 = db.query_row("SELECT count(*) FROM receipts", [], |row| row.get(0)).unwrap();
    assert_eq!((rows, astray(&db).unwrap()), (2 + 1503, None));
}

#[test]
fn a_batch_that_fails_leaves_its_requests_without_receipts() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    db.execute_batch("CREATE TRIGGER full BEFORE INSERT ON receipts WHEN new.request_id = 'req_0002' BEGIN SELECT raise(ABORT, 'full'); END")
        .unwrap();
    let end = |id: &String| {
        let receipt = Receipt { request_id: id.clone(), ..Receipt::default() };
        Change::Settle(End { held: false, receipt: Box::new(receipt), content: None })
    };
    let changes: Vec<Change> = ids(0..4).iter().map(end).collect();
    let head = batch::head(&db).unwrap();
    assert!(batch::apply(&mut db, head, &mut stretch, &changes).is_err());
    db.execute_batch("DROP TRIGGER full").unwrap();
    assert!(batch::apply(&mut db, head, &mut stretch, &changes).unwrap().duplicates.is_empty());
}

#[test]
fn an_older_file_s_index_becomes_a_table_and_its_pages_are_free() {
    let mut db = Connection::open_in_memory().unwrap();
    for sql in &schema::MIGRATIONS[..5] {
        db.execute_batch(sql).unwrap();
    }
    db.pragma_update(None, "user_version", 5).unwrap();
    for (seq, id) in (1..).zip(ids(0..500)) {
        db.execute(
            "INSERT INTO receipts VALUES (?1, ?2, 0, NULL, NULL, NULL, '{}', 'p', 'r', 'm', 'm', 'e', 'ok', 0, 0, 3, 0, 0, \
             '{\"cost\":\"0.1\",\"accounts\":[]}', x'00')",
            (seq, id),
        )
        .unwrap();
    }
    // A crash in the middle of a stretch.
    db.execute("INSERT INTO stretches VALUES (300, 0)", []).unwrap();
    schema::migrate(&mut db).unwrap();
    let count = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM requests"), 300);
    assert_eq!(count("SELECT count(*) FROM sqlite_schema WHERE tbl_name = 'receipts'"), 1, "the table alone");
    assert!(count("PRAGMA freelist_count") > 0);
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!((check.as_str(), astray(&db).unwrap()), ("ok", None));
    let mut stretch = Stretch::start(&mut db).unwrap();
    assert_eq!(settle(&mut db, &mut stretch, &ids(499..501)), [0]);
}

#[test]
fn a_second_receipt_that_another_program_wrote_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let location = Location::File(path.clone());
    let problems = || Reader::open(&location).unwrap().verify(None).unwrap().told;
    let mut db = open::writable(&path).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    settle(&mut db, &mut stretch, &ids(0..10));
    let double = |db: &Connection| {
        db.execute(
            "INSERT INTO receipts SELECT max(seq) + 1, request_id, at_ms, key, team, run, tags, policy, route, selected, model, \
             engine, status, prompt_tokens, completion_tokens, cost_nanos, baseline_nanos, saved_nanos, body, hash FROM receipts",
            [],
        )
        .unwrap();
    };
    assert!(problems().is_empty(), "{:?}", problems());
    double(&db);
    let tells =
        |of: &str| problems().iter().any(|told| told.starts_with(of) && told.contains("another receipt"));
    assert!(tells("receipt 11:"), "{:?}", problems());
    // And in a stretch that has ended; the start goes on.
    let mut stretch = Stretch::start(&mut db).unwrap();
    assert!(tells("receipt 11:"), "{:?}", problems());
    db.execute("DELETE FROM receipts WHERE seq = 11", []).unwrap();
    settle(&mut db, &mut stretch, &ids(10..11));
    db.execute("DELETE FROM requests WHERE request_id = 'req_0003'", []).unwrap();
    assert!(tells("receipt 4:"), "{:?}", problems());
}

#[test]
fn a_receipt_is_found_by_its_request_until_it_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let location = Location::File(path.clone());
    let found =
        |id: &str| Reader::open(&location).unwrap().receipt(id).unwrap().map(|receipt| receipt.request_id);
    let mut db = open::writable(&path).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    settle(&mut db, &mut stretch, &ids(0..1030));
    settle(&mut db, &mut stretch, &ids(1030..1040));
    for id in ["req_0007", "req_1029", "req_1035"] {
        assert_eq!(found(id).as_deref(), Some(id));
    }
    assert_eq!(found("req_2000"), None);
    assert_eq!(prune(&location, &Forget::Before(1), 5).unwrap().receipts, 1040);
    assert_eq!((found("req_0007"), found("req_1035")), (None, None));
    assert!(Reader::open(&location).unwrap().verify(None).unwrap().is_whole());
    let left: i64 = db
        .query_row("SELECT count(*) FROM requests WHERE request_id LIKE 'req%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0, "who asked is forgotten here too");
}
