//! Who of several queues that bring one table does what: every combination, against upstream.

use pgq_tests::Tree;
use postgres::Client;

use crate::londiste::{add_node, database_on};
use pgq_tests::query::{rows, run};

/// States of a table on a queue; with `+` something was dropped of it, `-` is not on this node.
const STATES: [&str; 9] = [
    "null",
    "in-copy",
    "in-copy+",
    "catching-up",
    "catching-up+",
    "wanna-sync:1",
    "do-sync:1",
    "ok",
    "-",
];

/// What the copies of three merged tables are to do, in all combinations of their states.
fn all_roles(client: &mut Client) -> Vec<String> {
    add_node(client, "c", "root", None);
    for part in ["p1", "p2", "p3"] {
        add_node(client, part, "leaf", Some("c"));
        run(client, &format!("select londiste.global_add_table('{part}', 't')"));
    }
    let mut found = Vec::new();
    for states in 0..STATES.len().pow(3) {
        let states = [1, 9, 81].map(|place| STATES[states / place % 9]);
        let values = ["p1", "p2", "p3"].iter().zip(states).map(|(part, state)| {
            let has = if state.ends_with('+') { "'x'" } else { "null" };
            let merge_state = match state {
                "null" | "-" => "null".to_owned(),
                state => format!("'{}'", state.trim_end_matches('+')),
            };
            format!("('{part}', {}, {merge_state}, {has})", state != "-")
        });
        let values = values.collect::<Vec<_>>().join(", ");
        run(
            client,
            &format!(
                "update londiste.table_info i set local = v.l, merge_state = v.s, dropped_ddl = v.d
                   from (values {values}) v (q, l, s, d) where i.queue_name = v.q"
            ),
        );
        let roles = rows(
            client,
            "select q, c.*, l.copy_role, l.copy_pos
               from unnest(array['p1', 'p2', 'p3']) q, londiste._coordinate_copy(q, 'public.t') c,
                    londiste.get_table_list(q) l order by q",
        );
        found.push(format!("{states:?}: {roles:?}"));
    }
    found
}

#[test]
fn copies_of_a_merged_table_are_coordinated_as_upstream_does() {
    let [expected, found] = [Tree::Peer, Tree::Ours].map(|tree| {
        let (_database, mut client) = database_on(tree);
        all_roles(&mut client)
    });
    assert_eq!(found.len(), 729);
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(found, expected);
    }
}

/// Which queue restores a foreign key, when the queues of the list have both its tables.
fn restorers(client: &mut Client) -> Vec<String> {
    let nodes = [
        ("a", "root", None),
        ("c", "root", None),
        ("zc", "root", None),
        ("ab", "branch", None),
        ("br", "branch", None),
        ("cb", "branch", None),
        ("l", "leaf", None),
        ("b1", "leaf", Some("ab")),
        ("d1", "leaf", Some("cb")),
        ("p1", "leaf", Some("c")),
        ("p2", "leaf", Some("c")),
        ("z1", "leaf", Some("zc")),
    ];
    for (queue, kind, combined) in nodes {
        add_node(client, queue, kind, combined);
    }
    run(
        client,
        "insert into londiste.table_info (queue_name, table_name)
         select queue_name, t from pgq_node.node_info, unnest(array['public.f', 'public.t']) t;
         insert into londiste.pending_fkeys values ('public.f', 'public.t', 'x', 'y')",
    );
    let sets = [
        "l",
        "p1",
        "p2",
        "p1 p2",
        "p1 p2 c",
        "p2 c",
        "cb",
        "d1 cb",
        "a",
        "br",
        "br l",
        "l p1 c",
        "p1 p2 c d1 cb",
        "l p1",
        "cb l",
        "br cb",
        "br cb d1",
        "l cb d1",
        "a p1",
        "p1 d1 cb",
        "p1 d1",
        "p1 z1",
        "z1 d1 cb",
        "z1 cb",
        "ab z1",
        "ab b1 z1 zc",
        "ab b1 l",
        "ab l",
        "ab cb d1",
        "a zc z1",
        "zc c",
        "zc a",
        "z1 a",
        "c",
        "d1",
    ];
    let mut found = Vec::new();
    for set in sets {
        for also in ["true", "table_name = 'public.f'", "custom_snapshot is not null"] {
            run(
                client,
                &format!(
                    "update londiste.table_info
                        set local = queue_name = any (string_to_array('{set}', ' ')) and {also},
                            merge_state = 'ok'"
                ),
            );
            let who = rows(
                client,
                "select n.queue_name from pgq_node.node_info n, londiste.get_valid_pending_fkeys(n.queue_name)
                  order by 1",
            );
            found.push(format!("{set}, {also}: {who:?}"));
        }
    }
    // Each side by another queue; then one of them is not in sync.
    for (from, to) in [("l", "p1"), ("p1", "l"), ("p1", "p2"), ("d1", "p2"), ("d1", "cb")] {
        for state in ["'ok'", "null", "'catching-up'"] {
            run(
                client,
                &format!(
                    "update londiste.table_info
                        set local = (queue_name, table_name) in (('{from}', 'public.f'), ('{to}',
                            'public.t')),
                            merge_state = case queue_name when '{to}' then {state} else 'ok' end"
                ),
            );
            let who = rows(
                client,
                "select n.queue_name from pgq_node.node_info n, londiste.get_valid_pending_fkeys(n.queue_name)",
            );
            found.push(format!("{from} {to} {state}: {who:?}"));
        }
    }
    found
}

#[test]
fn one_queue_restores_a_foreign_key_and_it_is_the_one_of_upstream() {
    let [expected, found] = [Tree::Peer, Tree::Ours].map(|tree| {
        let (_database, mut client) = database_on(tree);
        restorers(&mut client)
    });
    assert!(found.iter().any(|line| line.ends_with(": [\"p1\"]")), "{found:?}");
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(found, expected);
    }
}
