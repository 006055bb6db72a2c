//! Commands take nothing of a schema that comes first in a database's path.

use pgq_tests::query::{outcome, row, run};

use super::{Node, Program, server, set_of};

const TRAP: &str = include_str!("../../security/trap.sql");

/// Have a node's commands look for names among the doubles first, here and elsewhere.
fn lead_astray(node: &Node<'_>) {
    let options = "options='-c search_path=trap,public,pg_catalog'";
    let text = std::fs::read_to_string(node.ini()).unwrap();
    let astray = text.replacen("\nqueue_name", &format!(" {options}\nqueue_name"), 1);
    std::fs::write(node.ini(), format!("{astray}remote_extra_connstr = {options}\n")).unwrap();
}

#[test]
fn no_double_is_taken() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("leaf", "leaf"), ("other", "branch")]);
    let new = Node::new(&cluster, "new", Program::Ours);
    run(
        &mut nodes[0].connect(),
        "create table t (id serial primary key, v text, p int references t);
         create index on t (v); insert into t (v) values ('a')",
    );
    nodes.push(new);
    for extension in ["pgq", "pgq_node", "londiste"] {
        run(&mut nodes[3].connect(), &format!("create extension {extension}"));
    }
    for node in &nodes {
        run(&mut node.connect(), TRAP);
        lead_astray(node);
    }
    let [root, leaf, other, new] = &nodes[..] else { panic!("four nodes") };
    let provider = format!("--provider={}", root.location());
    for (node, commands) in [
        (new, vec![vec!["create-leaf", "new", &new.location(), &provider]]),
        (root, vec![vec!["add-table", "t"], vec!["add-seq", "t_id_seq"], vec!["missing"]]),
        (
            leaf,
            vec![
                vec!["add-seq", "t_id_seq", "--create"],
                vec!["add-table", "t", "--create-full"],
                vec!["--timeout", "60", "wait-sync"],
                vec!["wait-root"],
                vec!["pause"],
                vec!["resume"],
                vec!["check"],
                vec!["compare"],
                vec!["tables"],
                vec!["seqs"],
                vec!["fkeys"],
                vec!["node-info"],
                vec!["node-status"],
                vec!["members"],
                vec!["status"],
                vec!["resync", "t"],
                vec!["--timeout", "60", "wait-sync"],
                vec!["remove-table", "t"],
                vec!["remove-seq", "t_id_seq"],
            ],
        ),
        (other, vec![vec!["wait-provider"], vec!["drop-node", "new"]]),
    ] {
        for command in commands {
            node.londiste(&command);
            for site in &nodes {
                let caught = row(&mut site.connect(), "select is_called from trap.caught");
                assert_eq!(caught, "f", "{command:?}");
            }
        }
    }
    // The doubles are there, and would be taken.
    let mut bait = leaf.connect();
    run(&mut bait, "set search_path = trap, public, pg_catalog");
    assert!(outcome(&mut bait, "select 1 = 2").contains("trapped"));
}
