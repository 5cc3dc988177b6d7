//! Promotions are those of one router, also in files from before routers were told apart.

use super::*;
use crate::ledger::{Ledger, Location, schema};

fn router(nth: u8) -> RouterId {
    format!("{nth:016x}").parse().unwrap()
}

fn promotion(at_ms: u64, router: RouterId, ability: f64) -> Promotion {
    let abilities = |ability: f64| Abilities::from([("small".to_owned(), ability.into())]);
    Promotion {
        at_ms,
        router,
        configured: abilities(0.0),
        abilities: abilities(ability),
        trial: "{}".to_owned(),
    }
}

#[tokio::test]
async fn a_promotion_is_found_under_its_own_router_only() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("ledger.db"));
    let (ledger, _) = Ledger::open(&location).unwrap();
    let written = [promotion(1, router(1), 0.1), promotion(2, router(2), 0.2), promotion(3, router(1), 0.3)];
    for promotion in &written {
        ledger.promote(promotion.clone()).await.unwrap();
    }
    let reader = Reader::open(&location).unwrap();
    assert_eq!(reader.promotion(router(1)).unwrap(), Some(written[2].clone()), "the newest of its own");
    assert_eq!(reader.promotion(router(2)).unwrap(), Some(written[1].clone()));
    assert_eq!(reader.promotion(router(3)).unwrap(), None);
    let besides = |nth| reader.promotions_besides(router(nth)).unwrap();
    assert_eq!([besides(1), besides(2), besides(3)], [1, 2, 3]);
    ledger.close().await.unwrap();
}

#[test]
fn promotions_of_an_older_file_are_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let db = Connection::open(&path).unwrap();
    for sql in &schema::MIGRATIONS[..7] {
        db.execute_batch(sql).unwrap();
    }
    db.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
    db.pragma_update(None, "user_version", 7).unwrap();
    db.execute(
        "INSERT INTO promotions (at_ms, configured, abilities, trial) VALUES (1, '{\"small\":0.0}', '{\"small\":0.9}', '{}')",
        [],
    )
    .unwrap();
    drop(db);
    let reader = Reader::open(&Location::File(path)).unwrap();
    assert_eq!(
        (reader.promotion(router(1)).unwrap(), reader.promotions_besides(router(1)).unwrap()),
        (None, 1)
    );
}
