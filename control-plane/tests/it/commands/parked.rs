//! `parked list|replay|drop`: what could not be stored comes back, or is declared lost.

use crate::harness::{SHARDS, TestApp, TestSpool};
use control_plane::commands::{Outcome, parked};
use control_plane::config::ParkedAction;
use control_plane::workers::drainer::Drainer;

async fn run(app: &TestApp, action: ParkedAction) -> Outcome {
    parked::run(&mut app.app.db_worker().acquire().await.unwrap(), &action).await.unwrap()
}

/// A spool with 30 clicks of which the middle ten are parked, since their country is refused.
async fn with_parked(app: &TestApp) -> TestSpool {
    sqlx::query("ALTER TABLE clicks ADD CONSTRAINT clicks_no_nauru CHECK (country <> 20050)")
        .execute(app.app.db())
        .await
        .unwrap();
    let spool = app.spool(7);
    let refused: Vec<_> = (10..20).map(|seq| shared::Click { country: *b"NR", ..spool.click(seq) }).collect();
    // It overlaps what came before: two of its clicks are stored already.
    let mut overlapping = vec![spool.click(8), spool.click(9)];
    overlapping.extend(refused);
    for frame in
        [&spool.frame(0, 10), &spool.frame_of(spool.header(8, 0), &overlapping), &spool.frame(20, 10)]
    {
        spool.ship(frame).await;
    }
    let done = Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    assert_eq!((done.applied.clicks, done.applied.parked), (20, 1));
    spool
}

#[tokio::test]
async fn a_frame_is_replayed_when_what_refused_it_is_mended() {
    let app = TestApp::start().await;
    assert_eq!(run(&app, ParkedAction::List).await.text, "No frames are parked.");
    let spool = with_parked(&app).await;
    let list = run(&app, ParkedAction::List).await.text;
    assert!(list.contains("refused") && list.contains(&spool.id.simple().to_string()), "{list}");
    let refused = run(&app, ParkedAction::Replay { ids: vec![] }).await;
    assert!(!refused.well && refused.text.contains("clicks_no_nauru"), "{}", refused.text);
    app.drained(20).await;
    sqlx::query("ALTER TABLE clicks DROP CONSTRAINT clicks_no_nauru").execute(app.app.db()).await.unwrap();
    let replayed = run(&app, ParkedAction::Replay { ids: vec![] }).await;
    assert!(replayed.well && replayed.text.ends_with("10 clicks stored"), "{}", replayed.text);
    app.drained(30).await;
    assert_eq!(app.count("SELECT count(DISTINCT seq) FROM clicks").await, 30);
    assert_eq!(
        run(&app, ParkedAction::Replay { ids: vec![] }).await.text,
        "No parked frame stands for a click."
    );
    assert_eq!(app.count("SELECT count(*) FROM parked_frames").await, 0);
}

#[tokio::test]
async fn a_frame_that_is_dropped_is_declared_loss() {
    let app = TestApp::start().await;
    with_parked(&app).await;
    let id = app.count("SELECT id FROM parked_frames").await;
    let dropped = run(&app, ParkedAction::Drop { ids: vec![id, 999] }).await;
    assert_eq!(
        dropped.text,
        format!("{id}: dropped; 10 clicks are declared lost\n999: there is no parked frame 999")
    );
    assert!(!dropped.well);
    app.drained(20).await;
    assert_eq!(app.count("SELECT declared_loss FROM spools").await, 10);
    assert_eq!(app.count("SELECT parked FROM spools").await, 0);
}

#[tokio::test]
async fn what_stands_for_no_click_is_not_replayed() {
    let app = TestApp::start().await;
    let spool = app.spool(7);
    spool.ship(b"nonsense").await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    let id = app.count("SELECT id FROM parked_frames").await;
    let outcome = run(&app, ParkedAction::Replay { ids: vec![id] }).await;
    assert!(!outcome.well && outcome.text.contains("stands for no click"), "{}", outcome.text);
}

#[tokio::test]
async fn two_replays_at_once_store_a_frame_once() {
    let app = TestApp::start().await;
    with_parked(&app).await;
    sqlx::query("ALTER TABLE clicks DROP CONSTRAINT clicks_no_nauru").execute(app.app.db()).await.unwrap();
    let all = ParkedAction::Replay { ids: vec![app.count("SELECT id FROM parked_frames").await] };
    let (first, second) = tokio::join!(run(&app, all.clone()), run(&app, all));
    assert!(first.well != second.well, "{} / {}", first.text, second.text);
    app.drained(30).await;
}
