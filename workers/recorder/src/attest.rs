//! Who may report what: a site's own broker user speaks for that site's lanes and for no other.

use schemas::{Fault, Lane, Report};

/// A broker user of this form belongs to one site. Any other user is one of the control side's or a builder's own, as the
/// broker's permissions say.
const SITE_USER: &str = "site-";

/// `user` is the broker's proof; without one (in process, or where the publisher did not have it attested) nothing is claimed.
pub fn check(report: &Report, user: Option<&str>) -> Result<(), Fault> {
    let Some(site) = user.and_then(|user| user.strip_prefix(SITE_USER)) else { return Ok(()) };
    match &report.lane {
        Lane::Site(lane) if lane.subscriber.as_str() == site => Ok(()),
        lane => Err(Fault::permanent(
            "report-forged",
            format!("the broker's user of site {site} reported a job of lane {lane}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{Event, JobId};

    fn report(lane: &str) -> Report {
        Report {
            job: JobId(uuid::Uuid::nil()),
            attempt: 1,
            lane: lane.parse().unwrap(),
            at_ms: 0,
            worker: "paris".into(),
            event: Event::Started {},
        }
    }

    #[test]
    fn a_site_reports_for_its_own_lanes_only() {
        assert!(check(&report("site/paris/protect"), Some("site-paris")).is_ok());
        assert!(check(&report("site/paris/protect"), Some("tidegate")).is_ok());
        assert!(check(&report("site/paris/protect"), None).is_ok());
        for (lane, user) in [
            ("site/paris/protect", "site-lyon"),
            ("site/paris-2/protect", "site-paris"),
            ("build/antivirus", "site-paris"),
        ] {
            assert_eq!(check(&report(lane), Some(user)).unwrap_err().code, "report-forged", "{lane} {user}");
        }
    }
}
