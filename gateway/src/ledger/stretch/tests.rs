use super::*;
use crate::ledger::batch::{self, Change, End};
use crate::ledger::prune::{Forget, prune};
use crate::ledger::reader::Reader;
use crate::ledger::{Ledger, Location, open, recovery, schema};

fn receipt(number: u64, at_ms: u64) -> Receipt {
    let account = Account { budget: "b".to_owned(), subject: String::new(), window_start_ms: 0 };
    Receipt {
        request_id: format!("r{number}"),
        at_ms,
        cost: Usd::from_nanos(3),
        accounts: vec![account],
        ..Receipt::default()
    }
}

/// Writes receipts with these numbers, their times as `at` has it, and says what the file's window has.
fn write(
    db: &mut Connection,
    stretch: &mut Stretch,
    numbers: std::ops::Range<u64>,
    at: impl Fn(u64) -> u64,
) -> i64 {
    let end = |n| Change::Settle(End { held: false, receipt: Box::new(receipt(n, at(n))), content: None });
    let changes: Vec<Change> = numbers.map(end).collect();
    let head = batch::head(db).unwrap();
    assert!(batch::apply(db, head, stretch, &changes).unwrap().duplicates.is_empty());
    window(db)
}

fn window(db: &Connection) -> i64 {
    db.query_row("SELECT coalesce(sum(settled_nanos), 0) FROM windows", [], |row| row.get(0)).unwrap()
}

#[test]
fn sums_are_written_when_a_stretch_is_full_and_never_twice() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    assert_eq!(write(&mut db, &mut stretch, 0..1000, |n| n), 0);
    assert_eq!(write(&mut db, &mut stretch, 1000..1100, |n| n), 3300);
    assert_eq!(write(&mut db, &mut stretch, 1100..1110, |n| n), 3300);
    // What a crash leaves: the next start finds the rest in the receipts.
    let mut stretch = Stretch::start(&mut db).unwrap();
    assert_eq!(window(&db), 3330);
    assert_eq!(write(&mut db, &mut stretch, 1110..2300, |n| n), 6900);
    assert_eq!(astray(&db).unwrap(), None);
}

#[test]
fn another_process_may_end_a_stretch() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    write(&mut db, &mut stretch, 0..500, |n| n);
    book(&mut db).unwrap();
    assert_eq!(window(&db), 1500);
    write(&mut db, &mut stretch, 500..900, |n| n);
    assert_eq!(write(&mut db, &mut stretch, 900..1030, |n| n), 3090, "what was written is not added again");
    assert_eq!(write(&mut db, &mut stretch, 1030..2100, |n| n), 6300, "and the next stretch is its own");
}

#[test]
fn what_a_writer_wrote_it_does_not_need_to_read() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    let damage = |db: &Connection, seq: i64| {
        assert_eq!(db.execute("UPDATE receipts SET body = '{' WHERE seq = ?1", [seq]).unwrap(), 1);
    };
    let mut stretch = Stretch::start(&mut db).unwrap();
    write(&mut db, &mut stretch, 0..500, |n| n);
    book(&mut db).unwrap();
    write(&mut db, &mut stretch, 500..600, |n| n);
    damage(&db, 550);
    assert_eq!(damaged(&db).unwrap(), [550]);
    assert_eq!(write(&mut db, &mut stretch, 600..1100, |n| n), 3300, "a stretch ends");
    write(&mut db, &mut stretch, 1100..1200, |n| n);
    damage(&db, 1150);
    assert!(book(&mut db).is_err(), "another process does not know");
    stretch.close(&mut db).unwrap();
    assert_eq!(window(&db), 3600, "the last one, too");
    book(&mut db).unwrap();
    assert_eq!((window(&db), astray(&db).unwrap()), (3600, None));
}

#[test]
fn a_time_is_found_though_receipts_are_not_in_its_order() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    // Long requests end late, and once the clock was set back.
    let at = |n: u64| if n.is_multiple_of(100) { n / 2 } else { n % 4000 };
    for step in 0..6 {
        write(&mut db, &mut stretch, step * 1030..(step + 1) * 1030, at);
    }
    assert_eq!(astray(&db).unwrap(), None);
    for since in [0, 1, 999, 1030, 2500, 3999, 4000, 9000_i64] {
        for until in [0, 1, 7, 1000, 2400, 3999, 4001, i64::MAX] {
            let count = |condition: &str| -> i64 {
                let sql = format!("SELECT count(*) FROM receipts WHERE {condition}");
                db.query_row(&sql, [since, until], |row| row.get(0)).unwrap()
            };
            assert_eq!(count(SPAN), count("at_ms >= ?1 AND at_ms < ?2"), "from {since} to {until}");
        }
    }
    db.execute("UPDATE stretches SET latest_ms = 7 WHERE last < 1100", []).unwrap();
    assert!(astray(&db).unwrap().is_some_and(|seq| seq < 1100));
    db.execute("UPDATE stretches SET latest_ms = 9000, earliest_ms = iif(last > 5000, 5000, 0)", []).unwrap();
    assert!(astray(&db).unwrap().is_some_and(|seq| seq > 4000));
}

#[test]
fn a_look_for_a_time_reads_its_stretches_alone() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    for step in 0..8 {
        write(&mut db, &mut stretch, step * 1030..(step + 1) * 1030, |n| n);
    }
    // What lies beside must not be looked at: it would be found.
    db.execute("UPDATE receipts SET at_ms = 2500 WHERE seq < 1000 OR seq > 5000", []).unwrap();
    let found: i64 = db
        .query_row(&format!("SELECT count(*) FROM receipts WHERE {SPAN}"), [2400, 2600], |row| row.get(0))
        .unwrap();
    assert_eq!(found, 200);
}

#[test]
fn an_older_file_keeps_its_sums() {
    let mut db = Connection::open_in_memory().unwrap();
    for sql in &schema::MIGRATIONS[..4] {
        db.execute_batch(sql).unwrap();
    }
    db.pragma_update(None, "user_version", 4).unwrap();
    for n in 0..2000 {
        let body = receipt(n, n).canonical().unwrap();
        db.execute(
            "INSERT INTO receipts VALUES (?1 + 1, 'r' || ?1, ?1, NULL, NULL, NULL, '{}', 'p', 'r', 'm', 'm', 'e', 'ok', 0, 0, 3, 0, 0, ?2, x'00')",
            params![signed(n), body],
        )
        .unwrap();
    }
    db.execute("INSERT INTO windows VALUES ('b', '', 0, 6000, 0)", []).unwrap();
    schema::migrate(&mut db).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    assert_eq!((window(&db), astray(&db).unwrap()), (6000, None));
    write(&mut db, &mut stretch, 2000..2010, |n| n);
    recovery::recover(&mut db, 0).unwrap();
    assert_eq!(window(&db), 6030);
    let last: i64 = db.query_row("SELECT max(last) FROM stretches", [], |row| row.get(0)).unwrap();
    assert_eq!(last, 2010);
}

#[test]
fn a_ledger_verifies_in_the_middle_of_a_stretch_and_when_it_is_pruned_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let location = Location::File(path.clone());
    let is_whole = || Reader::open(&location).unwrap().verify(None).unwrap().is_whole();
    let mut db = open::writable(&path).unwrap();
    let mut stretch = Stretch::start(&mut db).unwrap();
    assert_eq!(write(&mut db, &mut stretch, 0..600, |n| n), 0);
    assert!(is_whole());
    assert_eq!(prune(&location, &Forget::Before(100), 5000).unwrap().receipts, 100);
    assert!(is_whole());
    write(&mut db, &mut stretch, 600..1200, |n| n);
    assert!(is_whole());
    drop((db, stretch));
    let (_ledger, _) = Ledger::open(&location).unwrap();
    assert_eq!(window(&open::readable(&path).unwrap()), 3600);
    assert!(is_whole());
}

#[test]
fn an_older_file_is_left_alone_while_its_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let version = || schema::version(&Connection::open(&path).unwrap()).unwrap();
    {
        let db = Connection::open(&path).unwrap();
        for sql in &schema::MIGRATIONS[..4] {
            db.execute_batch(sql).unwrap();
        }
        db.pragma_update(None, "user_version", 4).unwrap();
        db.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
    }
    let lock = open::Lock::take(&path).unwrap();
    let refused = open::readable(&path).unwrap_err();
    assert!(matches!(refused, crate::ledger::LedgerError::Older { .. }), "{refused}");
    assert_eq!(version(), 4);
    drop(open::owned(&path, &lock).unwrap());
    assert_eq!(version(), schema::NEWEST);
}

#[test]
fn an_absurd_amount_keeps_nobody_from_writing() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    let account = Account { budget: "b".to_owned(), subject: String::new(), window_start_ms: 0 };
    for amount in [i64::MAX, 3, i64::MAX] {
        let mut spent = Spent::default();
        spent.charge(&account, Usd::from_nanos(amount), 0);
        end(&db, 0, &spent).unwrap();
        assert_eq!(window(&db), i64::MAX);
    }
}
