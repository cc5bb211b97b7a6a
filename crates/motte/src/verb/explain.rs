//! `motte explain`: the page of an event.

use crate::cli::ExplainArgs;
use crate::verb::Fault;

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Fault> {
    let Some(key) = &args.event else {
        for spec in motte_event::all() {
            println!("{}  {:<8}  {}", spec.id, spec.severity.name(), spec.name);
        }
        return Ok(());
    };
    match motte_event::explain(key) {
        Some(page) => {
            print!("{page}");
            Ok(())
        }
        None => {
            let near = motte_event::nearest(key).map_or("", |spec| spec.name);
            let what = format!("there is no event `{key}`; did you mean {near}?");
            Err(Fault::with_remedy(what, "`motte explain` lists all events"))
        }
    }
}
