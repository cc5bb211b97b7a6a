//! Giving up capabilities. See capabilities(7).

use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::error::ConfineError;

const STEP: &str = "capabilities";

/// Leaves at most `kept` in the bounding, permitted and effective sets, and nothing in the inheritable and ambient ones.
///
/// Without CAP_SETPCAP the bounding set stays as it is. That costs nothing as long as no new privileges can be had, for
/// the bounding set limits only what an execve could bring.
///
/// # Errors
/// [`ConfineError::Step`] when the kernel refuses to take something away.
pub(crate) fn give_up(kept: CapabilitySet) -> Result<(), ConfineError> {
    let failed = |error| ConfineError::step(STEP, error);
    let now = thread::capabilities(None).map_err(failed)?;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        shrink_bounding_set(kept).map_err(failed)?;
    }
    thread::clear_ambient_capability_set().map_err(failed)?;
    let left = now.permitted & kept;
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    if now == sets {
        // Nothing to give up, and a service manager may have taken the call for it as well.
        return Ok(());
    }
    thread::set_capabilities(None, sets).map_err(failed)
}

fn shrink_bounding_set(kept: CapabilitySet) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match thread::capability_is_in_bounding_set(one) {
            // Beyond the last capability this kernel knows.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
            Ok(true) if !kept.contains(one) => thread::remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
        }
    }
    Ok(())
}
