//! Sites are told which distributions are gone, so that they keep nothing of them. A row is a site that has not been told yet.

use std::collections::BTreeMap;

use schemas::{Control, StoreId};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::db::{Records, RecordsError};
use crate::sites::{ControlToSend, site};
use crate::{STEP_MAX, sql};

#[derive(FromQueryResult)]
struct ForgetRow {
    subscriber: String,
    store: String,
}

impl Records {
    /// One message for each site, whatever it is to forget.
    pub async fn forgets_to_send(&self) -> Result<Vec<ControlToSend>, RecordsError> {
        let text = format!("SELECT subscriber, store FROM tide_forgets ORDER BY subscriber, store LIMIT {STEP_MAX}");
        let mut by_site: BTreeMap<String, Vec<StoreId>> = BTreeMap::new();
        for row in sql::rows::<ForgetRow>(self.reader(), &text, vec![]).await? {
            let store = row.store.parse().map_err(|e| RecordsError::Corrupt(format!("store id: {e}")))?;
            by_site.entry(row.subscriber).or_default().push(store);
        }
        let told = |(name, stores): (String, Vec<StoreId>)| {
            Ok(ControlToSend { subscriber: site(&name)?, control: Control::Forget { stores } })
        };
        by_site.into_iter().map(told).collect()
    }
}

/// Before what is known of the distribution goes: all that may have something of it.
pub(crate) async fn of_store(c: &impl ConnectionTrait, distribution: &str, store: &str) -> Result<(), RecordsError> {
    let text = "INSERT INTO tide_forgets (subscriber, store)
        SELECT s.subscriber, $2 FROM (SELECT subscriber FROM tide_holdings WHERE distribution = $1
            UNION SELECT subscriber FROM tide_kept WHERE distribution = $1
            UNION SELECT subscriber FROM tide_targets WHERE distribution = $1) s
        WHERE true ON CONFLICT (subscriber, store) DO NOTHING";
    sql::exec(c, text, vec![distribution.into(), store.into()]).await?;
    Ok(())
}

/// The broker has the message.
pub(crate) async fn told(c: &impl ConnectionTrait, subscriber: &Value, stores: &[StoreId]) -> Result<(), RecordsError> {
    for store in stores {
        let text = "DELETE FROM tide_forgets WHERE subscriber = $1 AND store = $2";
        sql::exec(c, text, vec![subscriber.clone(), store.to_string().into()]).await?;
    }
    Ok(())
}

/// Messages were lost: of stores that are still being emptied everybody is told again.
pub(crate) async fn again(c: &impl ConnectionTrait) -> Result<(), RecordsError> {
    let text = "INSERT INTO tide_forgets (subscriber, store)
        SELECT o.name, s.store FROM tide_stores s, tide_objects o WHERE s.gone_ms IS NOT NULL AND o.kind = 'subscriber'
        ON CONFLICT (subscriber, store) DO NOTHING";
    sql::exec(c, text, vec![]).await?;
    Ok(())
}
