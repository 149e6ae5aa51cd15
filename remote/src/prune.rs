//! Recordings that are not kept any more.

use std::time::Duration;

use object_store::ObjectStoreExt as _;

use crate::{
    Error, Location,
    location::{Contents, Object},
};

/// What is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// What was sent within this time.
    pub younger_than: Option<Duration>,
    /// As many as this, the newest ones, however old they are.
    pub newest: Option<usize>,
}

/// A recording that was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Its URL.
    pub at: String,
    /// Its bytes.
    pub bytes: u64,
}

impl Retention {
    /// Which of some things are not kept, by their ages.
    pub fn outdated(&self, ages: &[Duration]) -> Vec<bool> {
        let mut order: Vec<usize> = (0..ages.len()).collect();
        order.sort_by_key(|one| ages[*one]);
        let mut outdated = vec![false; ages.len()];
        for (rank, one) in order.into_iter().enumerate() {
            let is_young = self.younger_than.is_some_and(|limit| ages[one] < limit);
            let is_new = self.newest.is_some_and(|newest| rank < newest);
            outdated[one] = (self.younger_than.is_some() || self.newest.is_some()) && !is_young && !is_new;
        }
        outdated
    }
}

impl Location {
    /// Remove the recordings at or below it that are not kept, and the marks of such as have not ended and are as old. With
    /// `dry_run` nothing is removed.
    ///
    /// # Errors
    /// When the store fails; what was removed by then is gone.
    pub async fn prune(&self, retention: Retention, dry_run: bool) -> Result<Vec<Pruned>, Error> {
        let now = jiff::Timestamp::now().as_second();
        let age = |modified: i64| Duration::from_secs(u64::try_from(now - modified).unwrap_or(0));
        let Contents { recordings, begun } = self.contents().await?;
        let ages =
            |objects: &[Object]| objects.iter().map(|one| age(one.meta.last_modified.timestamp())).collect::<Vec<_>>();
        let outdated = retention.outdated(&ages(&recordings)).into_iter();
        // Of marks none is one of the newest recordings.
        let forgotten = Retention { newest: None, ..retention }.outdated(&ages(&begun));
        let gone =
            recordings.iter().chain(&begun).zip(outdated.chain(forgotten)).filter(|(_, is_outdated)| *is_outdated);
        let mut pruned = Vec::new();
        for (object, _) in gone {
            self.remove(object, dry_run).await?;
            pruned.push(Pruned { at: self.url_of(&object.name), bytes: object.meta.size });
        }
        Ok(pruned)
    }

    async fn remove(&self, object: &Object, dry_run: bool) -> Result<(), Error> {
        if dry_run {
            return Ok(());
        }
        match self.store().delete(&object.meta.location).await {
            // Somebody else was sooner.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", &object.name)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_young_or_among_the_newest_is_kept() {
        let ages = [5, 1, 9, 3].map(Duration::from_secs);
        let outdated = |younger_than: Option<u64>, newest| {
            Retention { younger_than: younger_than.map(Duration::from_secs), newest }.outdated(&ages)
        };
        assert_eq!(outdated(None, None), [false; 4], "nothing was said");
        assert_eq!(outdated(Some(4), None), [true, false, true, false]);
        assert_eq!(outdated(None, Some(1)), [true, false, true, true]);
        assert_eq!(outdated(Some(4), Some(3)), [false, false, true, false]);
        assert_eq!(outdated(Some(0), Some(0)), [true; 4]);
    }
}
