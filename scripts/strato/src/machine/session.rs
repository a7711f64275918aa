//! One run of a machine: its console, line by line, under a time limit. Called by the commands. Owns the clock.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::console::Piece;
use super::lines::{Item, Lines};
use super::signals::is_interrupted;
use super::{Cause, End, Machine};

/// Most bytes of a transcript; a system that prints more is stopped.
const TRANSCRIPT_MAX: usize = 16 << 20;

/// How often a quiet run looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);

/// How long it is quiet behind the last line: a panic says more than the line that ends it, and a serial line is slow.
const PARTING: Duration = Duration::from_millis(300);

/// How long a board is heard that began a second time: it may say again what it said last before it was reset.
const AGAIN: Duration = Duration::from_secs(5);

/// What is heard of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'l> {
    /// A line from before it.
    Before(&'l str),
    /// It begins: what was heard so far is of none, or of another.
    Begins,
    /// A line of it.
    Line(&'l str),
}

/// Hands each line of `machine` to `hear`, and ends the run when that breaks, or `limit` after it began.
///
/// # Errors
/// The machine cannot be started, or it cannot be told how it ended.
pub fn run(
    machine: &mut impl Machine,
    limit: Duration,
    mut hear: impl FnMut(Heard<'_>) -> ControlFlow<()>,
) -> anyhow::Result<End> {
    let beginning = machine.beginning();
    let mut run = Run {
        lines: Lines::new(beginning.map(|beginning| beginning.text)),
        since: Instant::now(),
        limit: beginning.map_or(limit, |beginning| beginning.patience),
        run_limit: limit,
        has_begun: beginning.is_none(),
        has_begun_again: false,
        last: None,
        length: 0,
    };
    let cause = loop {
        if let ControlFlow::Break(cause) = run.step(machine, &mut hear)? {
            break cause;
        }
    };
    if let Some(item) = run.lines.rest() {
        run.last = Some(text(&item).to_owned());
        // The run is over, whatever this asks for.
        let _ = hear(heard(&item));
    }
    let cause = match cause {
        Cause::Early(End::Silent { seconds, .. }) => Cause::Early(End::Silent { seconds, last: run.last }),
        Cause::Early(_) | Cause::Closed(_) | Cause::Last => cause,
    };
    machine.end(cause)
}

/// Where a run stands.
struct Run {
    lines: Lines,
    /// When this part of it began: waiting, or running.
    since: Instant,
    /// How long this part may take.
    limit: Duration,
    /// How long the run itself may take.
    run_limit: Duration,
    has_begun: bool,
    has_begun_again: bool,
    /// The last line of what is no run yet.
    last: Option<String>,
    length: usize,
}

impl Run {
    /// Hears one piece, or nothing for a moment.
    fn step(
        &mut self,
        machine: &mut impl Machine,
        hear: &mut impl FnMut(Heard<'_>) -> ControlFlow<()>,
    ) -> anyhow::Result<ControlFlow<Cause>> {
        if is_interrupted() {
            return Ok(ControlFlow::Break(Cause::Early(End::Interrupted)));
        }
        let is_starting = machine.tend()?;
        let left = self.limit.saturating_sub(self.since.elapsed());
        Ok(match machine.console().hear(left.min(GLANCE)) {
            Piece::Bytes(bytes) => self.bytes(machine, &bytes, is_starting, hear),
            Piece::Quiet if left > GLANCE => ControlFlow::Continue(()),
            Piece::Quiet if self.has_begun_again => ControlFlow::Break(Cause::Early(End::BeganAgain)),
            Piece::Quiet if self.has_begun => ControlFlow::Break(Cause::Early(End::TimedOut)),
            Piece::Quiet => ControlFlow::Break(Cause::Early(End::Silent { seconds: self.limit.as_secs(), last: None })),
            Piece::Closed(error) => ControlFlow::Break(Cause::Closed(error)),
        })
    }

    fn bytes(
        &mut self,
        machine: &mut impl Machine,
        bytes: &[u8],
        is_starting: bool,
        hear: &mut impl FnMut(Heard<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<Cause> {
        self.length = self.length.saturating_add(bytes.len());
        if self.length > TRANSCRIPT_MAX {
            return ControlFlow::Break(Cause::Early(End::TooLong));
        }
        let mut is_over = false;
        for item in self.lines.take(bytes) {
            if item == Item::Begins {
                if self.has_begun && !is_starting {
                    if self.has_begun_again {
                        return ControlFlow::Break(Cause::Early(End::BeganAgain));
                    }
                    (self.has_begun_again, self.since, self.limit) = (true, Instant::now(), AGAIN);
                    continue;
                }
                (self.has_begun, self.since, self.limit) = (true, Instant::now(), self.run_limit);
            }
            self.last = Some(text(&item).to_owned());
            if hear(heard(&item)).is_break() {
                return ControlFlow::Break(Cause::Early(End::Told));
            }
            is_over |= matches!(&item, Item::Line(line) if machine.is_last(line));
        }
        if is_over && self.has_begun_again {
            return ControlFlow::Break(Cause::Early(End::BeganAgain));
        }
        if is_over {
            self.part(machine, hear);
            return ControlFlow::Break(Cause::Last);
        }
        ControlFlow::Continue(())
    }

    /// Hears what is still on its way behind the last line.
    fn part(&mut self, machine: &mut impl Machine, hear: &mut impl FnMut(Heard<'_>) -> ControlFlow<()>) {
        while let Piece::Bytes(bytes) = machine.console().hear(PARTING) {
            for item in self.lines.take(&bytes) {
                if item == Item::Begins || hear(heard(&item)).is_break() {
                    return;
                }
            }
        }
    }
}

fn heard(item: &Item) -> Heard<'_> {
    match item {
        Item::Before(line) => Heard::Before(line),
        Item::Begins => Heard::Begins,
        Item::Line(line) => Heard::Line(line),
    }
}

fn text(item: &Item) -> &str {
    match item {
        Item::Before(line) | Item::Line(line) => line,
        Item::Begins => "",
    }
}
