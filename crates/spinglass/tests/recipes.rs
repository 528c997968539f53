//! The examples of the table are run, and check themselves what they show; the SQL that
//! docs/recipes.md shows is read.

#![expect(clippy::duplicate_mod, reason = "each example is a program, with its own copy")]

#[path = "../examples/barrier.rs"]
mod barrier;
#[path = "../examples/find_resource.rs"]
mod find_resource;
#[path = "../examples/lock.rs"]
mod lock;
#[path = "../examples/send_where.rs"]
mod send_where;
#[path = "../examples/vote.rs"]
mod vote;

use spinglass_core::table::{Function, Query};

#[test]
fn a_resource_is_found_by_descending() {
    find_resource::main().unwrap();
}

#[test]
fn nobody_passes_a_barrier_before_all_have_come() {
    barrier::main().unwrap();
}

#[test]
fn one_at_a_time_holds_the_lock() {
    lock::main().unwrap();
}

#[test]
fn a_vote_has_one_outcome() {
    vote::main().unwrap();
}

#[test]
fn an_order_reaches_those_who_are_meant() {
    send_where::main().unwrap();
}

#[test]
fn the_statements_of_the_page_are_sql() {
    let page = include_str!("../../../docs/recipes.md");
    let blocks = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut read = 0;
    for sql in blocks {
        let is_query = sql.contains("FROM hosts");
        let error = if is_query { Query::parse(sql).err() } else { Function::parse(sql).err() };
        assert_eq!(error, None, "{sql}");
        read += 1;
    }
    assert_eq!(read, 7);
}
