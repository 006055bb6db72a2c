//! The end of what `first_steps` begins. Tests run in the order of their names, so this is among
//! the last.

#[test]
fn first_steps_work_with_pauses_between_them() {
    crate::install::first_steps::slow::finish();
}
