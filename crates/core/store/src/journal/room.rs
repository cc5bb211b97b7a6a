//! Room behind the end of the active segment: zeros that are overwritten by what comes, so that small commits change no
//! length. A file system that has to keep a new length, too, writes more for a sync than a small commit has bytes.

use crate::disk::{Disk, DiskFile};

use super::Journal;

/// The part of a segment that is written with zeros before it is used.
const AHEAD_PART: u32 = 64;
/// A commit of more bytes is written as it is: the zeros would cost more than they save.
const SMALL_BYTES_MAX: usize = 64 * 1024;

impl<D: Disk> Journal<D> {
    /// Writes zeros behind a commit that has this many bytes, if there are none. That it fails is no fault.
    pub(super) fn write_room_ahead(&mut self, file: &D::File, bytes: usize) {
        let left = self.options.segment_bytes.saturating_sub(self.offset);
        let ahead = self.options.segment_bytes / AHEAD_PART;
        if self.offset <= self.room || left == 0 || bytes > SMALL_BYTES_MAX {
            return;
        }
        let zeros = vec![0; ahead.min(left) as usize];
        self.room = match file.write_at(u64::from(self.offset), &zeros) {
            Ok(()) => self.offset + ahead.min(left),
            Err(_) => self.offset,
        };
    }
}
