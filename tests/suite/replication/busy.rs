//! Somebody uses the tables of a copy, and does not stop.

use pgq_tests::query::{row, run};
use pgq_tests::{PATIENCE, Tree, wait_until};

use super::in_server::{awaits, pid};
use super::set::{Driver, Set};

by_both! {
    a_copy_that_cannot_begin_holds_up_nothing_else,
}

/// A root and a leaf with tables `parent`, `child` and `other`; the root's are in sync.
fn set(driver: Driver) -> Set {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create table parent (id int primary key);
             create table child (id int primary key, parent int references parent);
             create table other (id int primary key)",
        );
    }
    run(&mut set.connect("root"), "insert into parent select generate_series(1, 100)");
    for table in ["public.parent", "public.child", "public.other"] {
        set.attach("root", table, "expect_sync");
    }
    for table in ["public.child", "public.other"] {
        set.attach("leaf", table, "expect_sync");
    }
    set
}

fn a_copy_that_cannot_begin_holds_up_nothing_else(driver: Driver) {
    let set = set(driver);
    let (mut root, mut reader) = (set.connect("root"), set.connect("leaf"));
    run(&mut reader, "begin; select from child");
    set.attach("leaf", "public.parent", "");
    let _worker = set.start("leaf", None);
    if driver == Driver::Server {
        pid(&mut set.connect("leaf"));
    }
    let told = "table \"public.parent\" is not copied yet: somebody uses tables";
    let ticked = wait_until(PATIENCE, || {
        run(&mut root, "select pgq.ticker('q')");
        set.said("leaf").contains(told)
    });
    assert!(ticked, "{}", set.said("leaf"));
    run(&mut root, "insert into other values (1)");
    set.await_answer("root", "leaf", "select count(*) from other", "1");
    assert_eq!(row(&mut set.connect("leaf"), "select count(*) from parent"), "0");
    run(&mut reader, "commit");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from parent order by id");
    let key = "select count(*) from pg_constraint where conrelid = 'child'::regclass
                                                    and contype = 'f' and convalidated";
    set.await_answer("root", "leaf", key, "1");
}

#[test]
fn a_copy_that_cannot_empty_its_table_says_so_and_lets_others_read() {
    let set = set(Driver::Server);
    let (mut leaf, mut reader) = (set.connect("leaf"), set.connect("leaf"));
    run(&mut leaf, "alter table child drop constraint child_parent_fkey");
    run(&mut reader, "begin; select from parent");
    set.attach("leaf", "public.parent", "");
    let _worker = set.start("leaf", None);
    let told = "select consumer_name, sqlstate from londiste.worker_status('q')
                 where sqlstate is not null";
    awaits(&mut leaf, told, "leaf_worker.copy.public.parent|55P03");
    assert_eq!(row(&mut leaf, "select count(*) from parent"), "0");
    run(&mut reader, "commit");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from parent order by id");
}
