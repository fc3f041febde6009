//! Reads a message of a channel's queue and says whether this site may work on it. It knows no journal.

use schemas::{ChannelName, Fault, JobMessage, Lane, SubscriberName, Task};

/// The message, or why it can never be worked on here.
pub fn read(body: &[u8], site: &SubscriberName, channel: &ChannelName) -> Result<JobMessage, Fault> {
    let message = worker::decode::job(body)?;
    belongs(&message, site, channel)?;
    numbers_fit(&message)?;
    Ok(message)
}

fn belongs(message: &JobMessage, site: &SubscriberName, channel: &ChannelName) -> Result<(), Fault> {
    let lane = Lane::site(site.clone(), channel.clone());
    if message.lane != lane {
        let what = format!("job {} belongs to lane {}, and came by the queue of {lane}", message.job, message.lane);
        return Err(Fault::permanent("wrong-lane", what));
    }
    let addressee = match &message.task {
        Task::Build(_) | Task::Collect(_) => {
            return Err(Fault::permanent("wrong-task", format!("job {}: a site builds nothing", message.job)));
        }
        Task::Send(send) => &send.subscriber,
        Task::Extract(extract) => &extract.subscriber,
    };
    let strangers = message.then.iter().map(|f| &f.task.subscriber).chain([addressee]).find(|name| *name != site);
    match strangers {
        Some(name) => {
            Err(Fault::permanent("wrong-subscriber", format!("job {} is for {name}, not for {site}", message.job)))
        }
        None => Ok(()),
    }
}

/// The journal's numbers are signed.
fn numbers_fit(message: &JobMessage) -> Result<(), Fault> {
    let settings_version = message.settings.as_ref().map_or(0, |s| s.version);
    let largest = message.seq.epoch.max(message.seq.n).max(settings_version);
    if i64::try_from(largest).is_ok() && message.attempt >= 1 {
        return Ok(());
    }
    Err(Fault::permanent("number-out-of-range", format!("job {}: attempt, seq or settings version", message.job)))
}
