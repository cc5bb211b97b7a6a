//! A pair of sockets between two processes: frames with their length before them, and descriptors that travel with one.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};
use zeroize::Zeroizing;

use crate::cursor::Malformed;
use crate::message::{Hello, Message, Role, VERSION};

/// Room for an encoded message before it has to grow; growing would leave a copy behind that is not wiped.
const ROOM_BYTES: usize = 8 * 1_024;

/// Why nothing can be said or heard.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other process is gone.
    #[error("the other process closed the connection")]
    Closed,
    /// The system says why not.
    #[error("the connection between the processes failed: {0}")]
    Io(#[from] io::Error),
    /// A frame above the bound of its direction.
    #[error("a message of {0} bytes is more than this direction permits")]
    TooLong(usize),
    /// Bytes that are no message.
    #[error("the other process sent {0}")]
    Malformed(#[from] Malformed),
    /// Not who was expected, or of another version.
    #[error("the other process is {found:?} with version {version}, not {expected:?} with version {VERSION}")]
    Stranger {
        /// What it says it is.
        found: Role,
        /// What it should be.
        expected: Role,
        /// Its version.
        version: u16,
    },
}

impl LinkError {
    /// Whether the other process is there and does not take or say anything.
    pub fn is_timeout(&self) -> bool {
        let kind = if let Self::Io(error) = self { Some(error.kind()) } else { None };
        matches!(kind, Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

/// How often a long wait looks whether it is to go on.
const LOOK: Duration = Duration::from_millis(100);

/// One end of a link.
#[derive(Debug)]
pub struct Link {
    socket: UnixStream,
}

impl Link {
    /// Over a socket; nothing is said yet.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket }
    }

    /// Says who is here and hears that it is the other.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn greet(&self, own: Role, expected: Role) -> Result<(), LinkError> {
        self.send(&Hello { version: VERSION, role: own })?;
        let (Hello { version, role: found }, _) = self.receive()?;
        if (found, version) == (expected, VERSION) {
            Ok(())
        } else {
            Err(LinkError::Stranger { found, expected, version })
        }
    }

    /// Another handle to the same end.
    ///
    /// # Errors
    /// As the system says.
    pub fn another(&self) -> io::Result<Self> {
        self.socket.try_clone().map(Self::new)
    }

    /// The socket.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn send<M: Message>(&self, message: &M) -> Result<(), LinkError> {
        (&self.socket).write_all(&frame(message)?).map_err(LinkError::Io)
    }

    /// Sends a message with a descriptor.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn send_with<M: Message>(&self, message: &M, descriptor: BorrowedFd<'_>) -> Result<(), LinkError> {
        let frame = frame(message)?;
        let descriptors = [descriptor];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent = sendmsg(&self.socket, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)
            .map_err(io::Error::from)?;
        (&self.socket).write_all(frame.get(sent..).unwrap_or_default()).map_err(LinkError::Io)
    }

    /// Waits until something comes, at most until `until` and for as long as `goes_on` says so. Nothing of it is taken.
    ///
    /// # Errors
    /// [`LinkError::Io`] with `TimedOut` when nothing came.
    pub fn wait(&self, until: Instant, goes_on: &dyn Fn() -> bool) -> Result<(), LinkError> {
        self.socket.set_read_timeout(Some(LOOK))?;
        let came = loop {
            match recv(&self.socket, &mut [0; 1], RecvFlags::PEEK) {
                Ok(_) => break Ok(()),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < until && goes_on() => {}
                Err(Errno::WOULDBLOCK | Errno::INTR) => break Err(io::ErrorKind::TimedOut.into()),
                Err(error) => break Err(error.into()),
            }
        };
        self.socket.set_read_timeout(Some(until.saturating_duration_since(Instant::now()).max(LOOK)))?;
        came.map_err(LinkError::Io)
    }

    /// Waits for a message, and the descriptor that came with it.
    ///
    /// # Errors
    /// [`LinkError`]; after one the link is of no more use.
    pub fn receive<M: Message>(&self) -> Result<(M, Option<OwnedFd>), LinkError> {
        self.receive_until(None)
    }

    /// As [`Link::receive`], but the whole message is there by `until`, however slowly it is sent.
    ///
    /// # Errors
    /// [`LinkError`]; after one the link is of no more use.
    pub fn receive_by<M: Message>(&self, until: Instant) -> Result<M, LinkError> {
        self.receive_until(Some(until)).map(|(message, _)| message)
    }

    /// As [`Link::send`], but the whole message is taken by `until`, however slowly it is read.
    ///
    /// # Errors
    /// [`LinkError`]; after one the link is of no more use.
    pub fn send_by<M: Message>(&self, message: &M, until: Instant) -> Result<(), LinkError> {
        let frame = frame(message)?;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            self.socket.set_write_timeout(Some(left(until)?))?;
            match (&self.socket).write(rest) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LinkError::Io(error)),
            }
        }
        Ok(())
    }

    fn receive_until<M: Message>(&self, until: Option<Instant>) -> Result<(M, Option<OwnedFd>), LinkError> {
        let mut descriptor = None;
        let mut header = [0; 4];
        self.fill(&mut header, &mut descriptor, until)?;
        let length = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
        if length > M::BYTES_MAX {
            return Err(LinkError::TooLong(length));
        }
        let mut body = Zeroizing::new(vec![0; length]);
        self.fill(&mut body, &mut descriptor, until)?;
        Ok((M::decode(&body)?, descriptor))
    }

    /// Reads exactly as much; the first descriptor on the way is kept, others are closed.
    fn fill(
        &self,
        mut room: &mut [u8],
        descriptor: &mut Option<OwnedFd>,
        until: Option<Instant>,
    ) -> Result<(), LinkError> {
        while !room.is_empty() {
            if let Some(until) = until {
                self.socket.set_read_timeout(Some(left(until)?))?;
            }
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(
                self.socket.as_fd(),
                &mut [IoSliceMut::new(room)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            let count = match received {
                Ok(received) => received.bytes,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(LinkError::Io(error.into())),
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    for one in descriptors {
                        descriptor.get_or_insert(one);
                    }
                }
            }
            if count == 0 {
                return Err(LinkError::Closed);
            }
            room = std::mem::take(&mut room).get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }
}

/// What is left of the time.
fn left(until: Instant) -> Result<Duration, LinkError> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(LinkError::Io(io::ErrorKind::TimedOut.into())) } else { Ok(left) }
}

/// A message with its length before it, in memory that is wiped: it may hold a passphrase.
fn frame<M: Message>(message: &M) -> Result<Zeroizing<Vec<u8>>, LinkError> {
    let mut frame = Zeroizing::new(Vec::with_capacity(ROOM_BYTES));
    frame.extend_from_slice(&[0; 4]);
    message.encode(&mut frame);
    let length = frame.len() - 4;
    if length > M::BYTES_MAX {
        return Err(LinkError::TooLong(length));
    }
    let header = u32::try_from(length).map_err(|_| LinkError::TooLong(length))?.to_le_bytes();
    for (to, from) in frame.iter_mut().zip(header) {
        *to = from;
    }
    Ok(frame)
}
