//! Configurations: any text is refused with places inside it, or is a configuration that prints as itself.

/// Runs the text as a configuration file.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let today = jiff::civil::date(2026, 1, 1);
    match motte_config::parse(&text, "motte.toml", today) {
        Err(errors) => {
            assert!(!errors.0.is_empty(), "a refusal without a fault");
            let lines = text.split('\n').count();
            for error in &errors.0 {
                assert!(!error.what.is_empty() && !error.remedy.is_empty(), "a fault without words: {error}");
                let inside = (1..=lines).contains(&error.line) && error.column >= 1;
                assert!(inside, "a place outside the file: {error}");
            }
        }
        Ok(config) => {
            let printed = config.to_toml();
            match motte_config::parse(&printed, "printed.toml", today) {
                Ok(again) => assert!(again == config, "printed as something else:\n{printed}"),
                Err(errors) => super::fail(format!("printed as something bad: {errors}\n{printed}")),
            }
        }
    }
    if let Err(errors) = motte_config::parse_development(&text, "dev.toml") {
        assert!(!errors.0.is_empty(), "a refusal without a fault");
    }
}
