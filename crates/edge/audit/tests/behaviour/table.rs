//! The table of advisories and its age.

use jiff::civil::date;
use motte_audit::openssl::table::{OLD_AFTER_DAYS, Table};
use motte_audit::{Check, Severity};
use proptest::prelude::*;

use crate::root::{Root, table};

#[test]
fn a_table_says_that_it_is_old_after_its_days_and_not_before() {
    let root = Root::new();
    let made = table().date;
    let after = |days: i32| {
        let day = made.checked_add(jiff::Span::new().days(days)).unwrap();
        root.audit_on(day).findings
    };
    assert_eq!(after(OLD_AFTER_DAYS), []);
    let found = after(OLD_AFTER_DAYS + 1);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.check, finding.severity), (Check::TableOld, Severity::Warning));
    assert!(finding.what.contains(&made.to_string()) && finding.what.contains("91 days"), "{finding:?}");
}

#[test]
fn the_report_says_what_it_was_compared_with() {
    let report = Root::new().audit_on(date(2026, 11, 1));
    let fact = &report.facts[0];
    assert_eq!(fact.subject, "table of advisories");
    assert!(fact.value("until").is_some() && fact.value("source").is_some(), "{fact:?}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_of_tables_panic(at in 0..4_000_usize, with in "[ -~\n]{0,12}") {
        let mut text = include_str!("../../data/openssl.toml").to_owned();
        let at = text.char_indices().map(|(index, _)| index).take_while(|index| *index <= at).last().unwrap();
        text.insert_str(at, &with);
        if let Ok(table) = Table::parse(&text) {
            for cve in &table.cves {
                prop_assert!(cve.affected.iter().all(|(first, mended)| first < mended));
                prop_assert!(cve.published <= table.date);
            }
        }
    }
}
