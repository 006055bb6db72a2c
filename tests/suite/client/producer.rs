//! The library's producer, on both servers.

use pgq_client::{Consumer, NewEvent, Producer};
use pgq_tests::Tree;

use pgq_tests::programs::{connector, create_queue, database_on, dsn, tick, value};

fn events_commit_and_roll_back_with_the_caller(tree: Tree) {
    let scratch = database_on(tree);
    let mut client = connector(&scratch).connect().unwrap();
    create_queue(&mut client, "q", "c");
    let mut producer = Producer::new("q");

    let mut transaction = client.transaction().unwrap();
    producer.insert_event(&mut transaction, &NewEvent::new("t", "rolled back")).unwrap();
    producer.insert_events(&mut transaction, &[NewEvent::new("t", "too")]).unwrap();
    transaction.rollback().unwrap();

    let mut transaction = client.transaction().unwrap();
    let whole = NewEvent {
        ev_type: Some("t'\"\\".to_owned()),
        ev_data: Some(String::new()),
        ev_extra1: None,
        ev_extra2: Some("ä\n".to_owned()),
        ev_extra3: None,
        ev_extra4: Some("4".to_owned()),
    };
    producer.insert_event(&mut transaction, &whole).unwrap();
    let many: Vec<_> = (0..7).map(|n| NewEvent::json("j", &[n, n]).unwrap()).collect();
    assert_eq!(producer.insert_events(&mut transaction, &many).unwrap(), 7);
    let sparse = [whole.clone(), NewEvent::default(), NewEvent::new("a", "b").extra1("x")];
    assert_eq!(producer.insert_events(&mut transaction, &sparse).unwrap(), 3);
    assert_eq!(producer.insert_events(&mut transaction, &[]).unwrap(), 0);
    transaction.commit().unwrap();
    tick(&mut client, "q");

    let mut got = Vec::new();
    let mut consumer =
        Consumer::builder("q", "c").stop_when_empty(true).connect(&dsn(&scratch)).unwrap();
    consumer
        .run(|_, event| {
            got.push(event.clone());
            Ok(())
        })
        .unwrap();
    let mut expected = vec![whole];
    expected.extend(many);
    expected.extend(sparse);
    assert_eq!(got.iter().cloned().map(NewEvent::from).collect::<Vec<_>>(), expected);
    let pair: [i32; 2] = got.get(3).unwrap().payload().unwrap();
    assert_eq!(pair, [2, 2]);
    assert!(got.first().unwrap().payload::<i32>().is_err());
}

#[test]
fn events_commit_and_roll_back_with_the_caller_on_ours() {
    events_commit_and_roll_back_with_the_caller(Tree::Ours);
}

#[test]
fn events_commit_and_roll_back_with_the_caller_on_upstream() {
    events_commit_and_roll_back_with_the_caller(Tree::Peer);
}

#[test]
fn missing_queue_keeps_its_sqlstate_and_inserts_nothing() {
    let scratch = database_on(Tree::Ours);
    let mut client = connector(&scratch).connect().unwrap();
    let mut producer = Producer::new("nowhere");
    let error = producer.insert_event(&mut client, &NewEvent::new("t", "d")).unwrap_err();
    assert_eq!(error.sqlstate(), Some("42704"), "{error}");
    let error = producer.insert_events(&mut client, &[NewEvent::new("t", "d")]).unwrap_err();
    assert_eq!(error.sqlstate(), Some("42704"), "{error}");
    assert!(!error.is_transient());
    assert_eq!(value(&mut client, "select count(*) from pgq.event_template"), "0");
}
