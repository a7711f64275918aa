//! The bytes of a console, as they come: of a pipe or of a serial line. Called by `session`. A thread reads them at once, so that none is
//! lost while somebody prints: a serial line waits for nobody.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How often a quiet reader looks whether it is still wanted.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What was heard.
#[derive(Debug)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing, in this time.
    Quiet,
    /// Nothing, from now on; by this error if there was one.
    Closed(Option<io::Error>),
}

/// A console in use; who drops it lets go of what is read.
#[derive(Debug)]
pub struct Console {
    pieces: Receiver<Piece>,
    is_wanted: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Console {
    /// Returns the console that is read from `source`.
    #[must_use]
    pub fn of(source: impl Read + AsFd + Send + 'static) -> Self {
        let (sender, pieces) = channel();
        let is_wanted = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&is_wanted);
        Self { pieces, is_wanted, reader: Some(thread::spawn(move || read(source, &sender, &flag))) }
    }

    /// Returns what comes within `limit`.
    #[must_use]
    pub fn hear(&self, limit: Duration) -> Piece {
        match self.pieces.recv_timeout(limit) {
            Ok(piece) => piece,
            Err(RecvTimeoutError::Timeout) => Piece::Quiet,
            Err(RecvTimeoutError::Disconnected) => Piece::Closed(None),
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Relaxed: nothing else is read because of it.
        self.is_wanted.store(false, Ordering::Relaxed);
        // A reader that panicked has nothing to lose any more.
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

fn read(mut source: impl Read + AsFd, sender: &Sender<Piece>, is_wanted: &AtomicBool) {
    let mut bytes = [0; 4096];
    while is_wanted.load(Ordering::Relaxed) {
        let is_ready = poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&GLANCE));
        let piece = match is_ready.map_err(io::Error::from).and_then(|ready| match ready {
            0 => Err(ErrorKind::WouldBlock.into()),
            // A line that hung up is ready too: reading tells.
            _ => source.read(&mut bytes),
        }) {
            Ok(0) => Piece::Closed(None),
            Ok(count) => Piece::Bytes(bytes.iter().copied().take(count).collect()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            Err(error) => Piece::Closed(Some(error)),
        };
        let is_closed = matches!(piece, Piece::Closed(_));
        if sender.send(piece).is_err() || is_closed {
            return;
        }
    }
}
