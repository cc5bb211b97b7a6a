//! The metrics of a running server: their socket, and the page.

use motte_broker::Exchange;
use motte_config::Config;

use crate::clock::Clock;
use crate::door::Doors;
use crate::metrics::{ProcessFacts, Reports, exposition};
use crate::scrape::{BoundScrape, Scrape};
use crate::server::StartError;

/// The listener of the metrics, if there is one.
pub(crate) fn scrape_of(config: &Config, doors: &mut Doors) -> Result<Option<BoundScrape>, StartError> {
    let metrics = config.metrics.as_ref().zip(doors.take_metrics());
    let scrape = metrics.map(|(endpoint, listening)| BoundScrape::new(listening, endpoint)).transpose();
    scrape.map_err(StartError::system("a socket"))
}

/// Serves the metrics, if they are to be.
pub(crate) fn serve_scrape(
    scrape: Option<BoundScrape>,
    page: impl Fn() -> String + Send + 'static,
) -> Result<Option<Scrape>, StartError> {
    scrape.map(|bound| bound.serve(page)).transpose().map_err(StartError::system("a thread"))
}

/// The page of metrics.
pub(crate) fn page(
    reports: Reports,
    exchange: Exchange,
    clock: Clock,
) -> impl Fn() -> String + Send + 'static {
    move || {
        let (retained_messages, retained_bytes) = {
            let retained = exchange.retained();
            (retained.len() as u64, retained.bytes() as u64)
        };
        let facts = ProcessFacts {
            uptime_s: clock.now().mono_ms / 1_000,
            memory_used: exchange.memory().used(),
            retained_messages,
            retained_bytes,
        };
        exposition(&reports.sum(), &facts)
    }
}
