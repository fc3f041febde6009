//! One scheduler leads, by a lease in SQL on the database's clock. Its term fences it: what a leader writes counts only while
//! its term is the current one.

use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::{Records, RecordsError};
use crate::sql;

/// Proof of leadership, until it runs out or another takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub name: &'static str,
    pub holder: String,
    pub term: i64,
    pub until_ms: i64,
}

/// A lease as it stands, in force or run out.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Lease {
    pub holder: String,
    pub term: i64,
    pub until_ms: i64,
}

#[derive(FromQueryResult)]
struct Row {
    holder: String,
    term: i64,
    until_ms: i64,
}

impl Records {
    /// Takes or renews the lease for `ttl_ms`; `None` while somebody else holds it. A new holder gets a new term.
    pub async fn lead(&self, name: &'static str, holder: &str, ttl_ms: i64) -> Result<Option<Term>, RecordsError> {
        let text = "INSERT INTO tide_leases (name, holder, term, until_ms) VALUES ($1, $2, 1, {now_ms} + $3)
            ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms,
                term = CASE WHEN tide_leases.holder = excluded.holder AND tide_leases.until_ms > {now_ms}
                    THEN tide_leases.term ELSE tide_leases.term + 1 END
            WHERE tide_leases.holder = excluded.holder OR tide_leases.until_ms <= {now_ms}
            RETURNING holder, term, until_ms";
        let row: Option<Row> = sql::row(self.writer(), text, vec![name.into(), holder.into(), ttl_ms.into()]).await?;
        Ok(row.map(|r| Term { name, holder: r.holder, term: r.term, until_ms: r.until_ms }))
    }

    /// As anybody holds it; `None` if nobody ever did.
    pub async fn lease(&self, name: &'static str) -> Result<Option<Lease>, RecordsError> {
        let text = "SELECT holder, term, until_ms FROM tide_leases WHERE name = $1";
        Ok(sql::row(self.reader(), text, vec![name.into()]).await?)
    }

    /// Gives the lease up, so that another need not wait for its end.
    pub async fn resign(&self, term: &Term) -> Result<(), RecordsError> {
        let text = "UPDATE tide_leases SET until_ms = 0 WHERE name = $1 AND holder = $2 AND term = $3";
        sql::exec(self.writer(), text, vec![term.name.into(), term.holder.clone().into(), term.term.into()]).await?;
        Ok(())
    }
}

/// Fails unless the term is current; keeps it so until the transaction ends. A leader that is stopped within the transaction would keep
/// it so for ever: the database ends a transaction that says nothing for what is left of the lease.
pub(crate) async fn fence(c: &impl ConnectionTrait, term: &Term) -> Result<(), RecordsError> {
    let text = "SELECT term{silent_until:until_ms} FROM tide_leases WHERE name = $1 AND holder = $2 AND term = $3 AND until_ms > {now_ms} {for_update}";
    let values = vec![term.name.into(), term.holder.clone().into(), term.term.into()];
    match sql::number(c, text, values).await? {
        Some(_) => Ok(()),
        None => Err(RecordsError::Fenced),
    }
}
