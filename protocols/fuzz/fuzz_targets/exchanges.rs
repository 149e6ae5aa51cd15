//! What holds for the exchanges of every connection.

use regress_protocols::PairEvent;

/// Each begins once, in order, and is done once.
pub fn each_is_done_once(mut next: impl FnMut() -> Option<PairEvent>) {
    let (mut began, mut done) = (0, Vec::new());
    while let Some(event) = next() {
        match event {
            PairEvent::RequestBegan { number, .. } => {
                assert_eq!(number, began);
                began += 1;
            }
            PairEvent::Done(paired) => done.push(paired.number),
            _ => {}
        }
    }
    done.sort_unstable();
    assert!(done.iter().copied().eq(0..began));
}
